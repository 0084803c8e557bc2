"""Reproducible zip archives: members stored uncompressed, in the order of the calls, under a fixed date."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic

#: Exceptions raised when reading damaged members.
DAMAGE = (KeyError, ValueError, EOFError, OSError, RuntimeError, zlib.error, zipfile.BadZipFile)
_PLAIN_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")


class ArchiveWriter:
    """Adds members to an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, content: bytes | str) -> None:
        """Add one member."""
        info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o644 << 16
        self._archive.writestr(info, content)


@contextmanager
def write_archive(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive, atomically; members are written in the order of the calls."""
    with atomic(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        yield ArchiveWriter(archive)


class ArchiveReader:
    """Reads members of an archive one at a time. Raises ClaireError, naming file and member, if it is damaged."""

    def __init__(self, path: Path, remedy: str) -> None:
        self.path, self.remedy = path, remedy
        try:
            self._archive = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise ClaireError(f"{path.name} is not a complete archive ({error})", remedy) from error

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def names(self) -> list[str]:
        """Return the names of the members in stored order."""
        return self._archive.namelist()

    def require_plain(self) -> None:
        """Raise ClaireError unless every member is stored as it is, once, under a relative name without `..`."""
        names = [info.filename for info in self._archive.infolist()]
        for info in self._archive.infolist():
            plain = _PLAIN_NAME.fullmatch(info.filename) and ".." not in info.filename
            if not plain or info.compress_type != zipfile.ZIP_STORED or names.count(info.filename) > 1:
                raise ClaireError(f"{self.path.name} has a member that the pipeline does not write", self.remedy)

    def read(self, name: str) -> bytes:
        """Return the content of one member."""
        try:
            return self._archive.read(name)
        except DAMAGE as error:
            problem = f"{self.path.name} is damaged: {name} cannot be read ({type(error).__name__})"
            raise ClaireError(problem, self.remedy) from error


def stem_of(path: Path) -> str:
    """Return the stem of a file: `0007.scans.zip` gives `0007`."""
    return path.name.split(".", 1)[0]
