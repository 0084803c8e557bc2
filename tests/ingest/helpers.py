"""Index and ingest of made-up series, and what they left."""

from __future__ import annotations

import csv
import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.core.contracts.scans import ScanFacts, ScansReader
from claire.core.imaging.volume import Volume

from tests.support.command import claire
from tests.support.dicom_maker import SeriesMaker

KEY = "0123456789abcdef-a-secret"
LABELS = "patient_id,label\n4711,positive\n"


@dataclass
class Done:
    """What a run of index and ingest left."""

    out: Path
    code: int

    @property
    def rejects(self) -> list[dict[str, str]]:
        with (self.out / "0000.ingest.rejects.csv").open() as stream:
            return [*csv.DictReader(stream)]

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.rejects]

    def scans(self) -> list[tuple[Volume, ScanFacts]]:
        with ScansReader(self.out / "0000.scans.zip") as shard:
            return [(shard.volume(name), shard.facts(name)) for name in shard.scans()]

    def scan(self) -> tuple[Volume, ScanFacts]:
        assert self.rejects == []
        (only,) = self.scans()
        return only


def go(folder: Path, *flags: str, labels: str | None = LABELS, key: str = KEY, out: str = "out") -> Done:
    """Index `folder`/in and ingest it as one shard."""
    done = Done(folder / out, 0)
    if labels is not None:
        (folder / "labels.csv").write_text(labels)
    (folder / "key").write_text(key)
    source = ["--source", str(folder / "in"), "--out", str(done.out)]
    assert claire("index", [*source, "--shards", "1", "--log-level", "warning"]) == 0
    given = ["--shard", str(done.out / "0000.shard.jsonl")]
    given += ["--labels", str(folder / "labels.csv")] if labels is not None else []
    done.code = claire("ingest", [*source, *given, "--key", str(folder / "key"), *flags])
    return done


def make(folder: Path, *, name: str = "a", keep: list[int] | None = None, **maker: Any) -> SeriesMaker:
    made = SeriesMaker(**maker)
    made.write(folder / "in" / name, keep)
    return made


def everything(folder: Path) -> str:
    """Return all bytes under `folder`, members of zip and gzip unpacked, as lower-case text."""
    parts = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        parts.append(path.name.encode() + path.read_bytes())
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    content = archive.read(name)
                    parts.append(name.encode() + (gzip.decompress(content) if name.endswith(".gz") else content))
    return b"\n".join(parts).decode("latin-1").lower()
