"""`scans.csv`: one row per scan of the cohort, for people and for subgroups."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from claire.core.command.tables import Row, read_rows, write_rows

REMEDY = "Run `claire cohort` again."


class ScanRow(Row):
    """A scan: pseudonyms, label, scanner, lungs. `pixel_hash` is keyed: equal for equal voxels under one key."""

    scan: str
    patient: str
    label: str
    split: Literal["", "train", "validation", "test", "external"]
    site: str
    vendor: str
    model: str
    kernel: str
    thickness_mm: float | None
    slice_spacing_mm: float | None
    slices_kept: int
    slices: int
    right_ml: float | None
    left_ml: float | None
    sex: str
    age_band: str
    reference_standard: str
    phantom: bool
    pixel_hash: Annotated[str, Field(min_length=1)]


def write_scan_table(path: Path, rows: Iterable[ScanRow]) -> Path:
    """Write `scans.csv`."""
    return write_rows(path, ScanRow, rows)


def read_scan_table(path: Path) -> dict[str, ScanRow]:
    """Read `scans.csv` by pseudonym of the scan. Raises ClaireError."""
    return {row.scan: row for row in read_rows(path, ScanRow, REMEDY)}
