"""Files that do not belong together are refused with what was expected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from claire.core.contracts.cohort_summary import read_cohort_summary, write_cohort_summary
from claire.core.contracts.folds import read_fold_rows, write_folds
from claire.core.contracts.lesions import write_lesions
from claire.core.contracts.metrics import read_metrics, write_metrics
from claire.core.contracts.scan_table import read_scan_table, write_scan_table
from claire.core.contracts.weights import read_weights, write_weights
from claire.core.contracts.winner import read_winner, write_winner

from tests.support.bundling import Winner
from tests.support.command import claire
from tests.support.damage import flip_a_voxel, require_told
from tests.support.report_inputs import explained
from tests.support.synthetic import CLASSES


def refused(files: Winner, capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str, **changes: object) -> None:
    assert claire("bundle", [*files.argv(**changes), "--out", str(tmp_path / "out")]) == 2
    require_told(capsys.readouterr().err, "bundle", *words)
    assert list((tmp_path / "out").glob("*")) == []


def test_another_cohort_is_refused(winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = read_cohort_summary(winner.folder / "cohort.json").model_copy(update={"sha256": "d" * 64})
    other = write_cohort_summary(tmp_path / "cohort.json", summary)
    refused(winner, capsys, tmp_path, "metrics.json is of another cohort than cohort.json", cohort_summary=other)


def test_a_cohort_with_a_flipped_voxel_is_named(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = flip_a_voxel(Path(shutil.copy(winner.trained[0].files.cohort, tmp_path)))
    assert claire("bundle", [*winner.argv(cohort=damaged), "--out", str(tmp_path / "out")]) == 1
    require_told(capsys.readouterr().err, "bundle", "cohort.h5 is damaged, its checksum does not match")
    assert list((tmp_path / "out").glob("*")) == []


def test_metrics_of_another_winner_are_refused(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_winner(
        tmp_path / "winner.json", read_winner(winner.folder / "winner.json").model_copy(update={"variant": "v0"})
    )
    refused(winner, capsys, tmp_path, "winner.json and metrics.json name different variants", winner=other)
    metrics = read_metrics(winner.folder / "metrics.json")
    named = metrics.model_copy(update={"winner": metrics.winner.model_copy(update={"variant": "v0"})})
    both = {"winner": other, "metrics": write_metrics(tmp_path / "metrics.json", named)}
    refused(winner, capsys, tmp_path, "is not of the winner v0", **both)


def test_every_fold_is_wanted_once(winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tuple(winner.files["runs"])
    refused(winner, capsys, tmp_path, "--runs has the folds 0, 1: expected", runs=runs[:2])
    refused(winner, capsys, tmp_path, "--runs has the folds 0, 0, 1", runs=(runs[0], *runs[:2]))
    refused(winner, capsys, tmp_path, "--weights has the runs", weights=tuple(winner.files["weights"])[1:])


def test_weights_that_explain_refined_are_refused(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = winner.files["weights"]
    state, facts = read_weights(first)
    refined = write_weights(tmp_path / first.name, state, facts.model_copy(update={"refined": True}))
    refused(winner, capsys, tmp_path, "holds other weights than those of its run", weights=(refined, *others))


def test_folds_that_the_runs_were_not_trained_with_are_refused(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_fold_rows(winner.trained[0].files.folds)
    moved = [row.model_copy(update={"fold": ((row.fold or 0) + 1) % 3}) for row in rows]
    other = write_folds(tmp_path / "folds.csv", moved)
    refused(winner, capsys, tmp_path, "validated other patients than folds.csv says", folds=other)


def test_a_table_of_other_scans_is_refused(winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*read_scan_table(winner.folder / "scans.csv").values()][1:]
    other = write_scan_table(tmp_path / "scans.csv", rows)
    refused(winner, capsys, tmp_path, "is in one of cohort.h5 and scans.csv only", scans=other)


def test_lesions_of_another_run_are_refused(winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_lesions(tmp_path / "v0-f0.lesions.json", explained("v0-f0", "v0", 0, CLASSES, True, []))
    refused(winner, capsys, tmp_path, "lesions of v0-f0 were given", lesions=(other,))
