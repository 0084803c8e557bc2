"""What the report is made of, read from files and checked."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError
from claire.core.command.files import sha256_file
from claire.core.command.record import SCHEMA_VERSION
from claire.core.command.tables import REJECT_COLUMNS, read_csv
from claire.core.contracts.folds import COLUMNS as FOLD_COLUMNS

Row = dict[str, str]
Document = dict[str, Any]
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Inputs:
    """All inputs of a report, read. `scans` is keyed by pseudonym, `pictures` by run; `hashes` by name of the file."""

    title: str
    images: str
    leaderboard: Sequence[Row]
    metrics: Document
    comparisons: Sequence[Row]
    curves: Sequence[Row]
    cohort: Document
    scans: Mapping[str, Row]
    folds: Sequence[Row]
    rejects: Sequence[Row]
    explained: Sequence[Document] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    records: Sequence[Document] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Class names in order; the first is the negative class."""
        return list(self.cohort.get("classes") or sorted({row.get("label", "") for row in self.scans.values()}))

    @property
    def phantom(self) -> bool:
        """Whether all scans are phantoms: then nothing here is personal."""
        return bool(self.cohort.get("phantom"))

    def may_show(self, scan: str) -> bool:
        """Return whether the policy lets pictures of this scan into the report; an unknown scan is a patient's."""
        is_phantom = self.scans.get(scan, {}).get("phantom", "").lower() in ("true", "1", "yes")
        return self.images == "all" or (self.images == "phantom" and is_phantom)


def read_inputs(
    title: str,
    images: str,
    tables: Mapping[str, Path],
    lesions: Sequence[Path],
    overlays: Sequence[Path],
    records: Sequence[Path],
) -> Inputs:
    """Read all inputs; `tables` maps the flags of single files to their paths.

    Raises UsageError on a table without the columns that are needed, ClaireError on a document of another schema.
    """
    return Inputs(
        title=title,
        images=images,
        leaderboard=read_csv(tables["leaderboard"], ("variant", "rank"), "leaderboard"),
        metrics=read_document(tables["metrics"]),
        comparisons=read_csv(tables["comparisons"], (), "table of comparisons"),
        curves=read_csv(tables["curves"], ("variant", "curve", "x", "y"), "table of curves"),
        cohort=read_document(tables["cohort_summary"]),
        scans=read_scans(tables["scans"]),
        folds=read_csv(tables["folds"], FOLD_COLUMNS, "folds table"),
        rejects=read_csv(tables["rejects"], REJECT_COLUMNS, "table of rejects"),
        explained=read_explained(lesions),
        pictures=pictures_by_run(overlays),
        records=read_records(records),
        hashes=hash_files([*tables.values(), *lesions, *overlays, *records]),
    )


def read_document(path: Path) -> Document:
    """Read a JSON document of this schema version. Raises ClaireError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ClaireError(
            f"{path.name} is no JSON document ({type(error).__name__})", "Run the step that wrote it again."
        ) from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        version = document.get("schema_version") if isinstance(document, dict) else None
        raise ClaireError(
            f"{path.name} has schema version {version}, not {SCHEMA_VERSION}", "Run the step that wrote it again."
        )
    return document


def read_scans(path: Path) -> dict[str, Row]:
    """Read `scans.csv` by pseudonym."""
    return {row["scan"]: row for row in read_csv(path, ("scan", "patient", "label"), "table of scans")}


def read_records(paths: Sequence[Path]) -> list[Document]:
    """Read records in the order of their names; one that stands twice counts once."""
    records: dict[tuple[str, str], Document] = {}
    for path in sorted(paths, key=lambda path: path.name):
        document = read_document(path)
        missing = [name for name in ("step", "stem", "version", "source", "inputs", "outputs") if name not in document]
        if missing:
            raise ClaireError(f"{path.name} is no record: it lacks {', '.join(missing)}", "Give `*.run.json` files.")
        document.setdefault("parameters", {})
        records[document["stem"], document["step"]] = document
    return list(records.values())


def read_explained(paths: Sequence[Path]) -> list[Document]:
    """Read the lesion documents by run."""
    return sorted(map(read_document, paths), key=lambda document: (document.get("fold", 0), str(document.get("run"))))


def pictures_by_run(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the archives of pictures by run: the stem of their names."""
    return {path.name.split(".")[0]: path for path in paths}


def read_pictures(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read PNG pictures of an archive by name; names that are not in it, or are no PNG, are left out."""
    try:
        with zipfile.ZipFile(archive) as opened:
            there = set(opened.namelist())
            found = {name: opened.read(name) for name in names if name in there}
    except (zipfile.BadZipFile, OSError) as error:
        raise ClaireError(f"{archive.name} is no zip archive", "Run `claire explain` again.") from error
    return {name: content for name, content in found.items() if content.startswith(PNG)}


def hash_files(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by name."""
    return {path.name: sha256_file(path) for path in paths}
