"""`NNNN.private.csv`: which series of the site each pseudonym stands for. It stays at the data site."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from claire.core.command.errors import UsageError
from claire.core.command.tables import Row, read_rows, write_rows
from claire.core.contracts.labels import Names

REMEDY = "Give the directory that `claire ingest --private` wrote."
END = ".private.csv"


class PrivateRow(Row):
    """A series under its pseudonyms and under its names at the site; `patient` is empty where it was rejected.

    `path`: of DICOM its folders, of other formats its files, relative to the source, joined by semicolons.
    """

    scan: str
    patient: str
    path: str
    series_uid: str
    study_uid: str
    patient_id: str
    shard: str
    line: int
    reason: str

    @property
    def names(self) -> Names:
        """The names of the series at the site, as a table of labels may use them."""
        return Names(self.patient_id, self.study_uid, self.series_uid, tuple(self.path.split(";")))


def write_private_table(folder: Path, stem: str, rows: Iterable[PrivateRow]) -> Path:
    """Write `<stem>.private.csv`; return its path."""
    return write_rows(folder / f"{stem}{END}", PrivateRow, rows)


def private_tables(folder: Path) -> list[Path]:
    """Return the tables of a directory in the order of their shards. Raises UsageError where there is none."""
    tables = sorted(folder.glob(f"*{END}"))
    if not tables:
        raise UsageError(f"--private {folder.name} holds no table NNNN{END}", REMEDY)
    return tables


def read_private(tables: Iterable[Path]) -> dict[str, PrivateRow]:
    """Read private tables; return their rows by the scan's pseudonym. Raises ClaireError, naming file and line."""
    return {row.scan: row for table in tables for row in read_rows(table, PrivateRow, REMEDY)}
