"""The step as a whole: outputs, flags, folds to explain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from claire.core.contracts.result_tables import read_comparisons, read_curves, read_leaderboard
from claire.core.contracts.winner import read_winner
from claire.evaluate import Parameters
from claire.evaluate import run as run_evaluate

from tests.evaluate.helpers import OUTPUTS, evaluated, refused, run
from tests.support.runs import World, told_apart, variants


def test_all_outputs_are_there_and_repeat_byte_by_byte(world: World, out: Path, tmp_path: Path) -> None:
    world.train_all(variants(3), told_apart(1.5), slices=3)
    evaluated(world, out)
    evaluated(world, tmp_path / "again")
    for name in OUTPUTS:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    record = json.loads((out / "evaluate.run.json").read_text())
    assert set(record["outputs"]) == set(OUTPUTS)
    assert record["counts"]["runs"] == 9
    assert set(record["parameters"]) == {"explain_folds", "seed", "bootstrap", "reference", "prevalence"}


def test_every_table_can_be_read_by_its_contract(world: World, out: Path) -> None:
    world.train_all(variants(2), told_apart(1))
    metrics = evaluated(world, out)
    rows = read_leaderboard(out / "leaderboard.csv")
    assert [row.rank for row in rows] == [1, 2]
    assert all(row.patient["auc"].value == metrics.variants[row.variant].patient["auc"].value for row in rows)
    assert rows[0].settings["window"] == "-500/1500"
    assert len(read_comparisons(out / "comparisons.csv")) == 2
    assert {point.variant for point in read_curves(out / "curves.csv")} == {
        "headline", "treat all", *metrics.variants
    }  # fmt: skip


def test_the_step_can_be_called_from_python(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    world.tables()
    scans, summary = world.folder / "scans.csv", world.folder / "cohort.json"
    out.mkdir()
    run_evaluate(Parameters(runs=tuple(world.runs), scans=scans, cohort_summary=summary, bootstrap=100, out=out))
    assert read_winner(out / "winner.json").variant == variants(1)[0].id


def test_help_needs_no_heavy_library() -> None:
    heavy = "{'numpy', 'scipy', 'sklearn', 'torch', 'h5py', 'pydicom', 'matplotlib'}"
    code = f"import sys, claire.evaluate, claire.commands.compare; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize(
    "flags", [["--reference", "v0"], ["--seed", "-1"], ["--prevalence", "1"], ["--bootstrap", "9"]]
)
def test_wrong_flags_are_usage_errors(world: World, out: Path, flags: list[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    assert run(world, out, *flags) == 2


@pytest.mark.parametrize(
    ("flags", "explained"),
    [([], (0, 2, 4)), (["--explain-folds", "2,0"], (4, 0)), (["--explain-folds", "1,1"], (2,))],
    ids=["all by default", "named", "named twice"],
)
def test_the_winner_names_the_runs_to_explain(
    world: World, out: Path, flags: list[str], explained: tuple[int, ...]
) -> None:
    good, bad = variants(2)
    for fold in range(3):
        world.train(good, fold, told_apart(3), seed=1)
        world.train(bad, fold, told_apart(0.3), seed=2)
    evaluated(world, out, *flags)
    winner = read_winner(out / "winner.json")
    assert (winner.winner, winner.fold, winner.explained) == ((0, 2, 4), (0, 1, 2), explained)


def test_no_fold_is_explained_where_none_is_asked_for(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    evaluated(world, out, "--explain-folds", "none")
    assert read_winner(out / "winner.json").explained == ()


def test_a_fold_that_the_winner_does_not_have_is_a_usage_error(
    world: World, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.train_all(variants(1), told_apart(1))
    assert run(world, out, "--explain-folds", "0,7") == 2
    assert "--explain-folds names fold 7, which the winner does not have: expected folds among 0, 1, 2" in refused(
        world, out, capsys, "--explain-folds", "0,7"
    )
