"""Comparing the results of two runs of the pipeline."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from claire.core.command.files import write_json, write_text
from claire.core.command.record import Record

from tests.support.command import claire
from tests.support.runs import World, told_apart, variants


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder with a bit of everything that a pipeline leaves."""
    folder = tmp_path / "left"
    folder.mkdir()
    write_text(folder / "scans.csv", "scan,right_ml\nS1,1000.0\n")
    write_text(folder / "leaderboard.csv", "variant,auc\nv1,0.9\n")
    write_json(folder / "metrics.json", {"headline": {"auc": 0.9, "method": None}, "folds": [0, 1]})
    with Record("cohort", "", folder, {"folds": 5, "threads": 2}, {"runs": "aa"}) as record:
        record.counts["scans"] = 7
    with zipfile.ZipFile(folder / "v1-f0.overlays.zip", "w") as archive:
        archive.writestr("S1.map.png", b"a picture")
    write_text(folder / "report.html", "made at 10:15")
    write_text(folder / "cwltool.log", "noise")
    return folder


@pytest.fixture
def right(left: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(left, tmp_path / "right"))


def result(left: Path, right: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, str]]:
    code = claire("compare", ["--left", str(left), "--right", str(right), *flags, "--out", str(left.parent)])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[:-1]]
    return code, {name: " ".join(verdict.split()) for name, verdict in lines}


def test_a_copy_is_the_same(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, verdicts = result(left, right, capsys)
    assert code == 0
    assert verdicts == {
        **dict.fromkeys(["cohort.run.json", "leaderboard.csv", "metrics.json", "scans.csv"], "same"),
        "report.html": "there on both sides, not looked into",
        "v1-f0.overlays.zip": "same names of the members",
    }


def test_files_are_found_wherever_an_engine_puts_them(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (right / "deep").mkdir()
    (right / "scans.csv").rename(right / "deep" / "scans.csv")
    (right / "metrics.json").rename(right / "metrics-1.json")
    (right / "leaderboard.csv").rename(right / "leaderboard.csv_2")
    (right / "report.html").write_text("made at another time")
    assert result(left, right, capsys)[0] == 0


def test_tables_of_the_data_steps_agree_to_the_byte(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(right / "scans.csv", "scan,right_ml\nS1,1000.00\n")
    code, verdicts = result(left, right, capsys)
    assert code == 1
    assert verdicts["scans.csv"] == "differs other bytes"


@pytest.mark.parametrize(("value", "tolerance", "code"), [(0.9000005, "1e-6", 0), (0.91, "1e-6", 1), (0.91, "0.1", 0)])
def test_figures_may_differ_by_the_tolerance(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], value: float, tolerance: str, code: int
) -> None:
    write_json(right / "metrics.json", {"headline": {"auc": value, "method": None}, "folds": [0, 1]})
    write_text(right / "leaderboard.csv", f"variant,auc\nv1,{value}\n")
    assert result(left, right, capsys, "--tolerance", tolerance)[0] == code


def test_the_first_place_and_the_largest_difference_are_named(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(right / "metrics.json", {"headline": {"auc": 0.8, "method": None}, "folds": [0, 2]})
    write_text(right / "leaderboard.csv", "variant,auc\nv1,0.8\n")
    _, verdicts = result(left, right, capsys)
    assert "headline.auc: 0.9 against 0.8; largest difference 0.5" in verdicts["metrics.json"]
    assert "line 1, auc: 0.9 against 0.8" in verdicts["leaderboard.csv"]


@pytest.mark.parametrize(
    "document",
    [
        {"headline": {"auc": None, "method": None}, "folds": [0, 1]},
        {"headline": {"auc": "0.9", "method": None}, "folds": [0, 1]},
        {"headline": {"auc": 0.9, "method": "wilson"}, "folds": [0, 1]},
        {"headline": {"auc": 0.9}, "folds": [0, 1]},
        {"headline": {"auc": 0.9, "method": None}, "folds": [0]},
        {"headline": {"auc": 0.9, "method": None}, "folds": [False, True]},
    ],
)
def test_another_shape_or_kind_differs(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], document: dict
) -> None:
    write_json(right / "metrics.json", document)
    assert result(left, right, capsys)[1]["metrics.json"].startswith("differs")


@pytest.mark.parametrize(
    "text",
    [
        "variant,AUC\nv1,0.9\n",
        "variant,auc\nv1,0.9\nv2,0.8\n",
        "variant,auc\nv2,0.9\n",
        "variant,auc\nv1,\n",
    ],
)
def test_other_lines_columns_or_names_differ(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    write_text(right / "leaderboard.csv", text)
    assert result(left, right, capsys)[1]["leaderboard.csv"].startswith("differs")


def test_records_agree_whatever_the_time_and_the_machine(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((right / "cohort.run.json").read_text())
    record |= {"seconds": 99, "host": {"system": "other"}, "parameters": {"folds": 5, "threads": 8}}
    write_json(right / "cohort.run.json", record | {"inputs": {"runs": "bb"}})
    assert result(left, right, capsys)[0] == 0
    write_json(right / "cohort.run.json", record | {"counts": {"scans": 6}})
    assert "counts.scans: 7 against 6" in result(left, right, capsys)[1]["cohort.run.json"]


def test_a_file_on_one_side_only_is_a_difference(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (right / "scans.csv").unlink()
    (left / "report.html").unlink()
    code, verdicts = result(left, right, capsys)
    assert code == 1
    assert (verdicts["scans.csv"], verdicts["report.html"]) == ("left only", "right only")


def test_archives_hold_the_same_members(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(right / "v1-f0.overlays.zip", "a") as archive:
        archive.writestr("S2.map.png", b"another")
    assert "member S2.map.png is in one archive only" in result(left, right, capsys)[1]["v1-f0.overlays.zip"]


def test_predictions_are_compared_inside_their_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        World(tmp_path / name, patients=6).train(variants(1)[0], 0, told_apart(1), seed=seed)
    assert result(tmp_path / "a", tmp_path / "b", capsys)[0] == 0
    assert result(tmp_path / "a", tmp_path / "c", capsys)[0] == 1


def test_a_damaged_document_is_named(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (right / "metrics.json").write_text("{")
    assert claire("compare", ["--left", str(left), "--right", str(right), "--out", str(left)]) == 1
    assert "metrics.json is no JSON document" in capsys.readouterr().err


@pytest.mark.parametrize("right", ["empty", "nowhere"])
def test_folders_without_results_are_a_usage_error(tmp_path: Path, right: str) -> None:
    (tmp_path / "empty").mkdir()
    argv = ["--left", str(tmp_path / "empty"), "--right", str(tmp_path / right), "--out", str(tmp_path)]
    assert claire("compare", argv) == 2
