"""`scans.csv`: one row per scan, read by pseudonym as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.scan_table import ScanRow, read_scan_table, write_scan_table
from pydantic import ValidationError

from tests.support.runs import World


@pytest.fixture
def rows(tmp_path: Path) -> list[ScanRow]:
    return World(tmp_path / "world", patients=4, scans_each=2).rows()


def test_rows_are_read_by_pseudonym_in_their_order(tmp_path: Path, rows: list[ScanRow]) -> None:
    table = read_scan_table(write_scan_table(tmp_path / "scans.csv", rows))
    assert [*table] == [row.scan for row in rows]
    assert [*table.values()] == rows


def test_what_is_not_known_of_a_scan_is_empty(tmp_path: Path, rows: list[ScanRow]) -> None:
    unknown = dict.fromkeys(("thickness_mm", "slice_spacing_mm", "right_ml", "left_ml"))
    bare = rows[0].model_copy(update={**unknown, **dict.fromkeys(("site", "vendor", "sex", "age_band"), "")})
    assert read_scan_table(write_scan_table(tmp_path / "scans.csv", [bare]))[bare.scan] == bare


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("split", "dev"), ("thickness_mm", "thin"), ("right_ml", "inf"), ("slices", "9.5"), ("phantom", "perhaps"),
        ("pixel_hash", ""), ("slices_kept", ""),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_named(tmp_path: Path, rows: list[ScanRow], column: str, cell: str) -> None:
    path = write_scan_table(tmp_path / "scans.csv", rows)
    header, *lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[header.split(",").index(column)] = cell
    lines[2] = ",".join(cells)
    path.write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(ClaireError, match=rf"line 4 of scans\.csv is not valid: {column}") as caught:
        read_scan_table(path)
    assert "claire cohort" in caught.value.remedy


def test_a_row_without_a_hash_of_its_voxels_is_not_built(rows: list[ScanRow]) -> None:
    with pytest.raises(ValidationError, match="pixel_hash"):
        ScanRow.model_validate(rows[0].model_dump() | {"pixel_hash": ""})
