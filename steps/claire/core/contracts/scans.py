"""Scans packed one file a shard: a stored zip with fixed dates and order, so that its bytes repeat."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic
from claire.core.imaging.volume import Volume, from_nifti_gz, to_nifti_gz

STEM = re.compile(r"[\w-]+")
_AGAIN = "Run the step before this one again."


class ShardWriter:
    """Adds members to a packed shard, in the order of the calls."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, content: bytes) -> None:
        """Add one member under a fixed date, uncompressed."""
        info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o644 << 16
        self._archive.writestr(info, content)

    def add_volume(self, stem: str, volume: Volume, facts: dict[str, Any]) -> None:
        """Add `<stem>.nii.gz` and `<stem>.json`."""
        self.add(f"{stem}.nii.gz", to_nifti_gz(volume))
        self.add_facts(stem, facts)

    def add_facts(self, stem: str, facts: dict[str, Any]) -> None:
        """Add `<stem>.json` alone: what is known of a scan that has no voxels here."""
        self.add(f"{stem}.json", (json.dumps(facts, sort_keys=True, allow_nan=False) + "\n").encode())


@contextmanager
def write_shard(path: Path) -> Iterator[ShardWriter]:
    """Write a packed shard, whole or not at all; members are written as they come, one scan in memory at a time."""
    with atomic(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        yield ShardWriter(archive)


class ShardReader:
    """Reads a packed shard one scan at a time. Raises ClaireError where the file is none."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ClaireError(f"{path.name} is not a packed shard ({error})", _AGAIN) from error
        self.path = path

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def names(self) -> list[str]:
        """Return the stems (scan ids) in stored order."""
        stems = [name.removesuffix(".nii.gz") for name in self._archive.namelist() if name.endswith(".nii.gz")]
        if not all(STEM.fullmatch(stem) for stem in stems):
            raise ClaireError(f"{self.path.name} has a member whose name is no scan's", _AGAIN)
        return stems

    def facts(self, stem: str) -> dict[str, Any]:
        """Return the JSON sidecar of a scan."""
        with self._telling(stem):
            return json.loads(self._archive.read(f"{stem}.json"))

    def volume(self, stem: str) -> Volume:
        """Return the voxels of a scan."""
        with self._telling(stem):
            return from_nifti_gz(self._archive.read(f"{stem}.nii.gz"))

    @contextmanager
    def _telling(self, stem: str) -> Iterator[None]:
        try:
            yield
        except (KeyError, ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
            raise ClaireError(
                f"{self.path.name} is damaged: scan {stem} cannot be read ({type(error).__name__})", _AGAIN
            ) from error


def shard_stem(path: Path) -> str:
    """Return the stem of a shard's file: `0007.scans.zip` gives `0007`."""
    return path.name.split(".", 1)[0]
