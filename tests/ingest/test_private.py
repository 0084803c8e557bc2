"""The table from pseudonyms back to series: for its owner alone, and no spreadsheet runs what a header holds."""

from __future__ import annotations

import csv
import os
import stat
from pathlib import Path

import pytest
from claire.core.command.errors import UsageError
from claire.core.contracts.private import PrivateRow
from claire.ingest.private import Outcome, make_private, write_private

from tests.ingest.helpers import go, make
from tests.support.dicom_maker import chest
from tests.support.documents import listed_series


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return [*csv.DictReader(stream)]


def test_the_table_is_for_its_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private(tmp_path / "a/private")
        write_private(tmp_path / "a/private", "0003", [], {})
        assert stat.S_IMODE((tmp_path / "a/private").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "a/private/0003.private.csv").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_directory_that_is_there_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o750)
    make_private(tmp_path / "private")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o750


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("")
    with pytest.raises(UsageError, match=r"--private .* cannot be created: a file is in the way"):
        make_private(tmp_path / "private")


def test_folders_of_dicom_and_files_of_others_lead_back(tmp_path: Path) -> None:
    series = [
        listed_series(0, files=("b/2.dcm", "a/1.dcm", "b/3.dcm")),
        listed_series(1, files=("top.dcm",)),
        listed_series(2, kind="nifti", files=("sub-1/ct.nii.gz",)),
        listed_series(3, files=("x/broken.dcm",), problem="damaged header"),
    ]
    write_private(tmp_path, "0003", [Outcome(each, "S1", "P1", "") for each in series], {})
    rows = read(tmp_path / "0003.private.csv")
    assert [row["path"] for row in rows] == ["a;b", ".", "sub-1/ct.nii.gz", "x/broken.dcm"]
    assert [(row["shard"], row["line"]) for row in rows] == [("0003", str(line)) for line in range(4)]
    assert tuple(rows[0]) == PrivateRow.columns()


@pytest.mark.parametrize("patient", ["=1+cmd|' /C calc'!A0", "+49 170", "-1-2", "@SUM(A1)"])
def test_no_patient_id_is_a_formula(tmp_path: Path, patient: str) -> None:
    make(tmp_path, name="@folder", patient=patient, hu=chest(20))
    go(tmp_path, "--private", str(tmp_path / "private"), labels="path,label\n@folder,x\n")
    (row,) = read(tmp_path / "private/0000.private.csv")
    assert (row["patient_id"], row["path"]) == (f"'{patient}", "'@folder")
    assert row["reason"] == ""


def test_a_series_whose_header_cannot_be_read_has_a_row(tmp_path: Path) -> None:
    make(tmp_path, hu=chest(20))
    (tmp_path / "in/broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    go(tmp_path, "--private", str(tmp_path / "private"))
    rows = {row["path"]: row for row in read(tmp_path / "private/0000.private.csv")}
    assert (rows["broken.dcm"]["reason"], rows["broken.dcm"]["patient_id"]) == ("unreadable", "")
    assert rows["a"]["patient"].startswith("P")
