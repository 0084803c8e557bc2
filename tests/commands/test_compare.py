"""Comparing the results of two runs of the pipeline."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claire.core.command.files import write_json, write_text
from claire.core.command.record import Host, read_record, write_record
from claire.core.contracts.archive import write_archive
from claire.core.contracts.scan_table import write_scan_table

from tests.support.command import claire
from tests.support.runs import World, told_apart, variants

OVERLAYS = "v1-f0.overlays.zip"
#: Files of an evaluation that are compared with something else than presence.
COMPARED = (
    "cohort.json", "comparisons.csv", "curves.csv", "evaluate.run.json", "leaderboard.csv", "metrics.json",
    "scans.csv", "winner.json", *(f"{variants(1)[0].id}-f{fold}.run.zip" for fold in range(3)),
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an evaluation, an archive of pictures, a report and foreign files."""
    folder = tmp_path_factory.mktemp("results")
    world = World(folder, patients=12)
    world.train_all(variants(1), told_apart(1))
    assert claire("evaluate", [*world.tables(), "--out", str(folder), "--bootstrap", "100"]) == 0
    write_overlays(folder / OVERLAYS, "S1.map.png")
    write_text(folder / "report.html", "made at 10:15")
    write_text(folder / "cwltool.log", "foreign")
    return folder


@pytest.fixture
def left(results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(results, tmp_path / "left"))


@pytest.fixture
def right(results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(results, tmp_path / "right"))


def write_overlays(path: Path, *names: str) -> None:
    with write_archive(path) as archive:
        for name in names:
            archive.add(name, "a picture")


def change_document(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    write_json(path, document)


def change_auc(folder: Path, value: float) -> None:
    """Change the AUC of the winner in metrics.json and in the leaderboard."""

    def change(document: dict[str, Any]) -> None:
        document["winner"]["auc"]["value"] = value

    change_document(folder / "metrics.json", change)
    change_cell(folder / "leaderboard.csv", "auc", value)


def change_cell(path: Path, column: str, cell: object) -> None:
    with path.open(newline="") as stream:
        header, row = csv.reader(stream)
    row[header.index(column)] = str(cell)
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, row])


def auc(folder: Path) -> float:
    return float(json.loads((folder / "metrics.json").read_text())["winner"]["auc"]["value"])


def compared(left: Path, right: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, str]]:
    """Return the exit code and the verdict with its detail by file name."""
    code = claire("compare", ["--left", str(left), "--right", str(right), *flags, "--out", str(left.parent)])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[:-1]]
    return code, {name: " ".join(verdict.split()) for name, verdict in lines}


def test_a_copy_is_the_same(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, verdicts = compared(left, right, capsys)
    assert code == 0
    assert verdicts == {
        **dict.fromkeys(COMPARED, "same"),
        "report.html": "present in both folders, content not compared",
        OVERLAYS: "same names of the members",
    }


def test_files_are_found_wherever_an_engine_puts_them(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (right / "deep").mkdir()
    (right / "scans.csv").rename(right / "deep" / "scans.csv")
    (right / "metrics.json").rename(right / "metrics-1.json")
    (right / "leaderboard.csv").rename(right / "leaderboard.csv_2")
    (right / "report.html").write_text("made at another time")
    assert compared(left, right, capsys)[0] == 0


def test_tables_of_the_data_steps_agree_to_the_byte(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (right / "scans.csv").read_text()
    write_text(right / "scans.csv", text.replace(",2600.0,", ",2600.00,"))
    code, verdicts = compared(left, right, capsys)
    assert code == 1
    assert verdicts["scans.csv"] == "differs different bytes"


@pytest.mark.parametrize(("change", "tolerance", "code"), [(5e-7, "1e-6", 0), (0.01, "1e-6", 1), (0.01, "0.1", 0)])
def test_figures_may_differ_by_the_tolerance(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], change: float, tolerance: str, code: int
) -> None:
    change_auc(right, auc(left) - change)
    assert compared(left, right, capsys, "--tolerance", tolerance)[0] == code


def test_the_first_and_the_largest_difference_are_named(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    area = auc(left)
    change_auc(left, 0.9)
    change_auc(right, 0.8)
    change_document(right / "metrics.json", lambda document: document["n"].update(folds=[0, 1, 4]))
    change_document(left / "metrics.json", lambda document: document["n"].update(folds=[0, 1, 2]))
    _, verdicts = compared(left, right, capsys)
    assert verdicts["metrics.json"] == "differs n.folds[2]: 2 against 4; largest difference 0.5"
    assert "row 1, auc: 0.9 against 0.8" in verdicts["leaderboard.csv"]
    assert area not in (0.8, 0.9)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["winner"]["auc"].update(value=None),
        lambda document: document["winner"]["auc"].update(value=str(document["winner"]["auc"]["value"])),
        lambda document: document["winner"]["auc_corrected"].update(method="wilson"),
        lambda document: document["winner"]["auc_corrected"].pop("method"),
        lambda document: document["n"].update(folds=[0, 1]),
        lambda document: document["n"].update(folds=[False, True, 2]),
    ],
    ids=["null", "text", "method", "missing key", "shorter", "boolean"],
)
def test_another_shape_or_kind_differs(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], None]
) -> None:
    change_document(right / "metrics.json", change)
    assert compared(left, right, capsys)[1]["metrics.json"].startswith("differs")


@pytest.mark.parametrize(
    "change",
    [
        lambda header, row: [header.replace(",auc,", ",AUC,"), row],
        lambda header, row: [header, row, row],
        lambda header, row: [header, row.replace(variants(1)[0].id, "v2")],
        lambda header, row: [header, row.replace(",yes,", ",,", 1)],
    ],
    ids=["column", "row", "name", "empty cell"],
)
def test_other_rows_columns_or_names_differ(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], change: Callable[[str, str], list[str]]
) -> None:
    lines = change(*(right / "leaderboard.csv").read_text().splitlines())
    write_text(right / "leaderboard.csv", "\n".join(lines) + "\n")
    assert compared(left, right, capsys)[1]["leaderboard.csv"].startswith("differs")


def test_records_agree_whatever_the_time_and_the_machine(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_record(right / "evaluate.run.json")
    elsewhere = Host(system="other", machine="other", python="3.12.0")
    parameters = record.parameters | {"device": "cuda"}
    later = {"seconds": 99.0, "host": elsewhere, "parameters": parameters, "inputs": dict.fromkeys(record.inputs, "bb")}
    write_record(right, record.model_copy(update=later))
    assert compared(left, right, capsys)[0] == 0
    write_record(right, record.model_copy(update={"counts": record.counts | {"runs": 2}}))
    assert "counts.runs: 3 against 2" in compared(left, right, capsys)[1]["evaluate.run.json"]


def test_records_with_other_parameters_or_outputs_differ(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_document(right / "evaluate.run.json", lambda record: record["parameters"].update(seed=1))
    assert "parameters.seed: 0 against 1" in compared(left, right, capsys)[1]["evaluate.run.json"]
    change_document(right / "evaluate.run.json", lambda record: record["outputs"].pop("winner.json"))
    assert compared(left, right, capsys)[1]["evaluate.run.json"].startswith("differs")


def test_a_file_on_one_side_only_is_a_difference(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (right / "scans.csv").unlink()
    (left / "report.html").unlink()
    code, verdicts = compared(left, right, capsys)
    assert code == 1
    assert (verdicts["scans.csv"], verdicts["report.html"]) == ("left only", "right only")


def test_a_second_file_of_a_name_is_a_difference(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (right / "deep").mkdir()
    write_scan_table(right / "deep" / "scans.csv", [])
    assert compared(left, right, capsys)[1]["scans.csv"] == "differs 1 files of this name against 2"


def test_archives_hold_the_same_members(left: Path, right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_overlays(right / OVERLAYS, "S1.map.png", "S2.map.png")
    assert "member S2.map.png is in one archive only" in compared(left, right, capsys)[1][OVERLAYS]


def test_predictions_are_compared_inside_their_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        World(tmp_path / name, patients=6).train(variants(1)[0], 0, told_apart(1), seed=seed)
    assert compared(tmp_path / "a", tmp_path / "b", capsys)[0] == 0
    assert compared(tmp_path / "a", tmp_path / "c", capsys)[0] == 1


@pytest.mark.parametrize(
    ("name", "fault"),
    [("metrics.json", "metrics.json is not a JSON document"), (OVERLAYS, f"{OVERLAYS} is not a complete archive")],
)
def test_a_damaged_file_is_named(
    left: Path, right: Path, capsys: pytest.CaptureFixture[str], name: str, fault: str
) -> None:
    (right / name).write_text("{")
    assert claire("compare", ["--left", str(left), "--right", str(right), "--out", str(left)]) == 1
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize("right", ["empty", "nowhere"])
def test_folders_without_results_are_a_usage_error(tmp_path: Path, right: str) -> None:
    (tmp_path / "empty").mkdir()
    argv = ["--left", str(tmp_path / "empty"), "--right", str(tmp_path / right), "--out", str(tmp_path)]
    assert claire("compare", argv) == 2
