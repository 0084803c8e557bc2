"""The tables of labels: what they may hold and how series find their row."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from claire.core.command.errors import RejectedScan, UsageError
from claire.core.contracts.labels import Names, age_band, age_years, read_labels, read_slice_labels

NAMES = Names("p1", "1.1", "2.2", ("a/b/ct.nii.gz",))


def table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text)
    return folder / "labels.csv"


def test_a_row_is_read_whole(tmp_path: Path) -> None:
    text = "patient_id,label,patient,label_date,split,sex,age\np1,pos,x,20200131,test,female,61.5\n"
    row = read_labels(table(tmp_path, text)).find(NAMES)
    assert row is not None
    assert (row.label, row.patient, row.label_date, row.split) == ("pos", "x", date(2020, 1, 31), "test")
    assert (row.sex, row.age) == ("F", 61.5)


@pytest.mark.parametrize("path", ["a/b/ct.nii.gz", "./a/b/ct.nii.gz", "a/b", "a/"])
def test_a_path_names_a_file_or_a_folder_of_it(tmp_path: Path, path: str) -> None:
    assert read_labels(table(tmp_path, f"path,label\n{path},x\n")).find(NAMES) is not None


def test_the_nearest_folder_counts(tmp_path: Path) -> None:
    row = read_labels(table(tmp_path, "path,label\na,far\na/b,near\n")).find(NAMES)
    assert row is not None
    assert row.label == "near"


def test_a_line_said_twice_is_said_once(tmp_path: Path) -> None:
    assert len(read_labels(table(tmp_path, "patient_id,label\np1,x\np1,x\n")).rows) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("patient_id\np1\n", "no column label"),
        ("patient_id,study_uid,label\np1,1,x\n", "2 key columns"),
        ("label\nx\n", "0 key columns"),
        ("patient_id,label,lable\np1,x,y\n", "unknown columns: lable"),
        ("patient_id,label\np1,x\np1,y\n", "line 3 .*contradicts"),
        ("patient_id,label\n,x\n", "no patient_id"),
        ("patient_id,label,split\np1,x,tset\n", "split is not understood"),
        ("patient_id,label,label_date\np1,x,31.1.2020\n", "label_date"),
        ("patient_id,label,age\np1,x,old\n", "age"),
        ("patient_id,label,sex\np1,x,?\n", "sex"),
        ("patient_id,label\n", "no rows"),
        ("patient_id,label,label\np1,x,y\n", "two columns named 'label'"),
        ('patient_id,label\np0,"x\np1,y\n', "no(t a)? CSV table"),
        ('patient_id,label\np0,"x\np1,y"\np2,z\n', "line 3 .*line break"),
        ("patient_id,label\np1,x,y\n", "line 2 .*3 cells, the header 2"),
        ("patient_id,label\np1,x\0\n", "line 2 .*NUL"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_without_naming_a_patient(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        read_labels(table(tmp_path, text))
    assert "p1" not in str(caught.value)


def test_slices_are_named_by_position_or_uid(tmp_path: Path) -> None:
    by_place = read_slice_labels(table(tmp_path, "patient_id,slice,label\np1,0,x\np1,2,y\n"))
    assert by_place.find(NAMES, (), 3) == ["x", None, "y"]
    by_uid = read_slice_labels(table(tmp_path, "series_uid,sop_uid,label\n2.2,9.1,x\n"))
    assert by_uid.find(NAMES, ("9.0", "9.1"), 2) == [None, "x"]
    with pytest.raises(RejectedScan):
        by_uid.find(NAMES, ("9.0",), 1)


def test_a_series_without_slice_labels_has_none(tmp_path: Path) -> None:
    assert read_slice_labels(table(tmp_path, "patient_id,slice,label\np2,0,x\n")).find(NAMES, (), 3) is None


@pytest.mark.parametrize(
    "text",
    ["patient_id,slice,label\np1,-1,x\n", "patient_id,label\np1,x\n", "patient_id,slice,sop_uid,label\np1,1,1,x\n"],
)
def test_slice_tables_that_cannot_be_right_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read_slice_labels(table(tmp_path, text))


@pytest.mark.parametrize(
    ("age", "birth", "years"),
    [("045Y", "", 45), ("018M", "", 1.5), ("", "19500315", 70), ("", "", None), ("old", "2020", None)],
)
def test_the_age_comes_from_the_header(age: str, birth: str, years: float | None) -> None:
    assert age_years(age, birth, "20200315") == (pytest.approx(years, abs=0.01) if years is not None else None)


def test_ages_are_told_in_bands() -> None:
    assert [age_band(years) for years in (None, 0.5, 69.9, 70, 90, 113)] == ["", "0-9", "60-69", "70-79", "90+", "90+"]
