"""Runs, scans and patients that do not belong together, or leak, are refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from claire.core.contracts.result_tables import read_comparisons, read_leaderboard
from claire.core.contracts.run import PredictionRow
from claire.core.contracts.winner import read_winner

from tests.evaluate.helpers import evaluated, experiment_of, refused
from tests.support.runs import World, told_apart, variants


def test_an_incomplete_variant_is_listed_and_cannot_win(world: World, out: Path) -> None:
    whole, partial = variants(2)
    for fold in range(3):
        world.train(whole, fold, told_apart(0.5))
    world.train(partial, 0, told_apart(4))
    metrics = evaluated(world, out)
    assert metrics.winner.variant == whole.id
    assert {(run.variant, run.fold) for run in metrics.missing} == {(partial.id, 1), (partial.id, 2)}
    rows = {row.variant: row for row in read_leaderboard(out / "leaderboard.csv")}
    assert (rows[partial.id].complete, rows[partial.id].rank, rows[partial.id].folds) == (False, 2, 1)
    assert {row.folds for row in read_comparisons(out / "comparisons.csv")} == {1}


def test_if_all_are_incomplete_one_wins_anyway(world: World, out: Path) -> None:
    world.train(variants(1)[0], 1, told_apart(1))
    assert not evaluated(world, out).winner.complete
    assert read_winner(out / "winner.json").fold == (1,)


def test_a_training_that_diverged_counts_as_missing(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    world.train(variants(1)[0], 2, lambda *_: math.nan)
    assert "diverged" in evaluated(world, out).missing[0].why


def test_a_run_without_validation_counts_as_missing(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    world.pack(variants(2)[1], 0, [prediction("test")])
    (missing,) = [run for run in evaluated(world, out).missing if run.variant == variants(2)[1].id]
    assert missing.why == "no predictions for validation"


def test_the_order_of_variants_is_that_of_the_manifest(world: World) -> None:
    first, second = variants(2)
    world.train(first, 0, lambda *_: math.nan)
    world.train(second, 1, told_apart(1))
    world.train(second, 0, told_apart(1))
    world.train(first, 1, told_apart(1))
    candidates = experiment_of(world).candidates
    assert list(candidates) == [first.id, second.id]
    assert candidates[second.id].positions == {0: 2, 1: 1}


def test_only_complete_variants_are_eligible(world: World) -> None:
    whole, partial = variants(2)
    world.train(partial, 0, told_apart(1))
    assert experiment_of(world).eligible == [partial.id]
    world.train_all([whole], told_apart(1))
    assert experiment_of(world).eligible == [whole.id]


def test_patients_are_sorted_and_know_where_they_are_tested(world: World) -> None:
    world.train(variants(1)[0], 1, told_apart(1))
    experiment = experiment_of(world)
    assert list(experiment.patients) == sorted(experiment.patients)
    assert experiment.index["P0003"] == 3
    assert [row.scan for row in experiment.scans_of["P0003"]] == ["S00030"]
    tested = {experiment.test_fold[i] for i in range(60) if world.fold(i) == 1}
    assert tested == {"1"}
    assert set(experiment.test_fold) == {"1", "unseen"}


def test_only_runs_that_diverged_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), lambda *_: math.nan)
    assert "none of 3 runs can be used" in refused(world, out, capsys)


def test_no_runs_at_all_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "manifest of runs is empty" in refused(world, out, capsys)


def test_runs_of_another_cohort_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    error = refused(world, out, capsys, sha256="d" * 64)
    assert "was trained on another cohort: expected dddddddddddd…, got cccccccccccc…" in error


def test_a_duplicate_run_is_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    world.runs.append(world.runs[0])
    assert "is a duplicate in the manifest" in refused(world, out, capsys)


def test_a_patient_in_two_folds_is_refused(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, other = World(tmp_path / "world"), World(tmp_path / "other", folds=4)
    world.train(variants(1)[0], 0, told_apart(1))
    world.runs.append(other.train(variants(1)[0], 1, told_apart(1)))
    assert "is tested in fold" in refused(world, out, capsys)


def test_runs_over_different_folds_are_refused(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, other = World(tmp_path / "world"), World(tmp_path / "other", folds=4)
    world.train(variants(2)[0], 0, told_apart(1))
    world.runs.append(other.train(variants(2)[1], 0, told_apart(1)))
    assert "predict different" in refused(world, out, capsys)


def prediction(split: str) -> PredictionRow:
    return PredictionRow("r", 0, split, "scan", "P0001", "S00010", None, "positive", (0.5, 0.5))


def test_a_patient_validated_and_tested_is_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.pack(variants(1)[0], 0, [prediction("validation"), prediction("test")])
    assert "validates and tests patient P0001" in refused(world, out, capsys)


def test_a_scan_predicted_twice_is_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation = prediction("validation")._replace(patient="P0000", scan="S00000", target="negative")
    world.pack(variants(1)[0], 0, [validation, prediction("test"), prediction("test")])
    assert "predicts a test scan twice" in refused(world, out, capsys)


def test_the_same_voxels_in_two_folds_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows[4] = rows[4].model_copy(update={"pixel_hash": rows[0].pixel_hash})
    assert "S00000 and S00040 have the same voxels" in refused(world, out, capsys, rows=rows)


def test_a_scan_without_a_hash_of_its_voxels_is_refused(
    world: World, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows[4] = rows[4].model_copy(update={"pixel_hash": ""})
    assert "line 6 of scans.csv is not valid: pixel_hash" in refused(world, out, capsys, rows=rows)


def test_a_scan_that_contradicts_the_table_is_refused(
    world: World, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    assert "is not in the table" in refused(world, out, capsys, rows=rows[1:])
    rows[0] = rows[0].model_copy(update={"label": "positive"})
    assert "contradicts the table" in refused(world, out, capsys, rows=rows)
