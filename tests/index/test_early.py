"""Labels checked against the headers: refused before any voxel is read, with nothing written and nobody named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pydicom
import pytest
import yaml
from claire.core.contracts.labels import Label, LabelTable
from claire.index.choice import Rule, choose
from claire.index.early import Request, foretell
from claire.index.series import find_series
from claire.index.tree import Passed

from tests.support.command import claire
from tests.support.damage import require_told
from tests.support.dicom_maker import SeriesMaker, chest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six patients, one series each, whose voxels cannot be read: only their headers are whole."""
    for number in range(6):
        made = SeriesMaker(chest(20, 8), patient=f"Meier-{number}", study=f"1.5.{number}", series=f"1.6.{number}")
        for path in made.write(tmp_path / f"in/p{number}").iterdir():
            data = pydicom.dcmread(path)
            data.PixelData = b"\0\0"
            data.save_as(path)
    return tmp_path / "in"


def index(source: Path, out: Path, table: str, *flags: str) -> int:
    (source.parent / "labels.csv").write_text(table)
    labels = ["--labels", str(source.parent / "labels.csv")]
    return claire("index", ["--source", str(source), "--out", str(out), *labels, *flags])


def table(*labels: str, column: str = "label") -> str:
    """Return a table that gives the patients these labels, one after the other."""
    return f"patient_id,{column}\n" + "".join(f"Meier-{number},{label}\n" for number, label in enumerate(labels))


def refused(source: Path, out: Path, capsys: pytest.CaptureFixture[str], labels: str, *flags: str) -> str:
    """Return the error of a table that must be refused as wrong usage."""
    assert index(source, out, labels, *flags) == 2
    error = capsys.readouterr().err
    require_told(error, "index")
    assert [*out.iterdir()] == []
    assert "Meier" not in error
    return error.split("claire index: ")[-1]


def test_a_good_table_is_taken_and_counted(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = table("normal", "covid", "normal", "covid", "normal", "covid")
    assert index(source, out, labels, "--fold-count", "3", "--shards", "2") == 0
    assert "6 of 6 chosen series have a label" in capsys.readouterr().err
    assert set(json.loads((out / "index.run.json").read_text())["inputs"]) == {"labels"}
    assert len([*out.glob("*.shard.jsonl")]) == 2


def test_a_table_that_matches_no_series_is_refused(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(source, out, capsys, "patient_id,label\n0007,covid\n0008,normal\n")
    assert "none of the 6 chosen series has a label" in error
    assert "leading zeros" in error


def test_empty_labels_are_no_labels(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(source, out, capsys, table("", "", "", "", "", ""))
    assert "none of the 6 chosen series has a label: 6 have a row in the labels table, with an empty label" in error


def test_no_known_negative_class_asks_for_classes(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = table("covid", "flu", "covid", "flu", "covid", "flu")
    error = refused(source, out, capsys, labels)
    assert "the classes are covid, flu: none of them is known to mean negative" in error
    assert "--classes 'covid,flu'" in error
    assert index(source, out, labels, "--classes", "flu,covid", "--fold-count", "3") == 0


def test_classes_that_are_not_the_labels_are_refused(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = table("normal", "covid", "normal", "covid", "normal", "covid")
    error = refused(source, out, capsys, labels, "--classes", "normal,Covid")
    assert "--classes names normal, Covid: expected the labels of the scans, covid, normal" in error


@pytest.mark.parametrize(
    ("labels", "folds", "problem", "remedy"),
    [
        (
            "normal covid normal covid normal covid",
            "5",
            "class 'covid' has 3 patients to draw into 5 folds",
            "--fold-count 3 at most",
        ),
        (
            "normal normal normal normal covid covid",
            "3",
            "class 'covid' has 2 patients to draw into 3 folds",
            "3 are the least",
        ),
        (
            "normal normal normal normal covid covid",
            "1",
            "class 'covid' has 2 patients to draw into 3 folds",
            "3 are the least",
        ),
    ],
)
def test_a_class_with_fewer_patients_than_folds_is_refused(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str], labels: str, folds: str, problem: str, remedy: str
) -> None:
    error = refused(source, out, capsys, table(*labels.split()), "--fold-count", folds)
    assert problem in error
    assert remedy in error


def test_scans_of_one_patient_of_the_table_count_once(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"Meier-{number},{('normal', 'covid')[number % 2]},one{number % 2}\n" for number in range(6)]
    error = refused(source, out, capsys, "patient_id,label,patient\n" + "".join(rows), "--fold-count", "3")
    assert "class 'covid' has 1 patients to draw into 3 folds" in error


def test_patients_with_a_fixed_split_are_not_drawn(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = ("train", "validation", "test")
    rows = [f"Meier-{number},{('normal', 'covid')[number % 2]},{splits[number // 2]}\n" for number in range(6)]
    labels = "patient_id,label,split\n" + "".join(rows)
    assert "fixes the split of every patient" in refused(source, out, capsys, labels, "--fold-count", "3")
    without_test = refused(source, out, capsys, labels.replace("test", "train"), "--fold-count", "1")
    assert "2 faults" in without_test
    assert "no patient of class 'covid' has the split test" in without_test
    assert index(source, out, labels, "--fold-count", "1") == 0


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ("patient_id,lable\nMeier-1,covid\n", "has no column label"),
        ("patient,label\nMeier-1,covid\n", "has 0 key columns (none)"),
        ("patient_id,study_uid,label\nMeier-1,1,covid\n", "has 2 key columns"),
        ("patient_id,label,name\nMeier-1,covid,Meier\n", "has unknown columns: name"),
        ("patient_id,label\n", "has no rows"),
        ("patient_id,label\n,covid\n", "line 2 of the table of labels labels.csv has no patient_id"),
        ("patient_id,label\nMeier-1,a\nMeier-1,b\n", "line 3 of the table of labels labels.csv contradicts"),
        ("patient_id,label,split\nMeier-1,a,Meier\n", "line 2 of the table of labels labels.csv: split is not"),
        ("patient_id,label,sex\nMeier-1,a,Meier\n", "sex is not understood"),
        ("patient_id,label,age\nMeier-1,a,Meier\n", "age is not understood"),
        ("patient_id,label,age\nMeier-1,a,131\n", "age is not understood"),
        ("patient_id,label,label_date\nMeier-1,a,1.2.2020\n", "label_date is not understood"),
        ("patient_id,label,label_date\nMeier-1,a,2020-02-31\n", "label_date is not understood"),
    ],
)
def test_a_faulty_table_is_refused_by_line_and_column(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str], labels: str, fault: str
) -> None:
    assert fault in refused(source, out, capsys, labels)


def test_the_workflow_gives_the_table_to_index() -> None:
    step = yaml.safe_load((ROOT / "cwl/data.cwl").read_text())["steps"]["index"]["in"]
    assert {step[name] for name in ("labels", "classes", "fold_count")} == {"labels", "classes", "fold_count"}


def test_the_list_for_people_shows_the_labels(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert index(source, out, table("normal", "covid"), "--list") == 0
    header, *rows, _, passed = capsys.readouterr().out.splitlines()
    assert passed == "passed over: nothing"
    start, end = header.index("label"), header.index("chosen")
    assert [row[start:end].strip() for row in rows] == ["normal", "covid", "", "", "", ""]
    assert claire("index", ["--source", str(source), "--out", str(out), "--list"]) == 0
    assert "label" not in capsys.readouterr().out.splitlines()[0]


def test_a_file_whose_header_is_damaged_has_no_label(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    labels = table("normal", "covid", "normal", "covid", "normal", "covid")
    assert index(source, out, labels, "--fold-count", "3") == 0
    assert "6 of 6 chosen series have a label" in capsys.readouterr().err
    assert index(source, out, labels, "--list") == 0
    assert "broken.dcm" in capsys.readouterr().out


def test_all_faults_are_told_at_once(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"Meier-{number},{('covid', 'flu')[number % 2]},{number // 4}\n" for number in range(6))
    error = refused(source, out, capsys, f"patient_id,label,patient\n{rows}", "--fold-count", "4")
    for words in (
        "labels, patients, classes and folds have 3 faults:",
        "2 patients have scans with different labels (lines 2, 3, 4, 5, 6 and 1 more of the labels table)",
        "all patients have the label 'covid': there is nothing to distinguish",
        "class 'covid' has 2 patients to draw into 4 folds",
    ):
        assert words in error, error


def test_slice_labels_are_checked_with_the_labels(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    labels = table("normal", "covid", "normal", "covid", "normal", "covid")
    slices = tmp_path / "slices.csv"
    slices.write_text("patient_id,slice,label\nMeier-0,1,cavity\n")
    error = refused(source, out, capsys, labels, "--slice-labels", str(slices))
    assert "slices are labelled 'cavity', but the classes are covid, normal" in error
    slices.write_text("patient_id,slice,label\nMeier-0,1,normal\n")
    assert index(source, out, labels, "--slice-labels", str(slices)) == 0
    assert set(json.loads((out / "index.run.json").read_text())["inputs"]) == {"labels", "slice_labels"}
    assert "slice_labels" in yaml.safe_load((ROOT / "cwl/data.cwl").read_text())["steps"]["index"]["in"]
    slices.write_text("patient_id,label\nMeier-0,normal\n")
    both = refused(source, tmp_path / "other", capsys, labels.replace("label", "lable"), "--slice-labels", str(slices))
    assert "has no column label" in both
    assert "needs one column of slice and sop_uid" in both


def test_the_way_in_which_cohort_draws_is_foretold(source: Path) -> None:
    series = find_series(source, 1, Passed())
    labels = LabelTable("patient_id", {f"Meier-{n}": Label(("normal", "covid")[n % 2]) for n in range(6)}, {})
    outlook = foretell(series, choose(series, Rule()), Request(labels, fold_count=3))
    assert outlook.findings.faults == []
    assert outlook.folds is not None
    assert Counter(outlook.folds.fold.values()) == {0: 2, 1: 2, 2: 2}
    assert outlook.classes == ("normal", "covid")
