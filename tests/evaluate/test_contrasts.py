"""Variants against one another, and the effects of grid axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.result_tables import read_comparisons
from claire.core.contracts.variant import Variant
from claire.evaluate.contrasts import axes, differs, to_texts
from claire.evaluate.selection import rank

from tests.evaluate.helpers import evaluated, experiment_of
from tests.support.runs import World, told_apart, variants


def test_variants_are_compared_with_the_reference_and_the_winner(world: World, out: Path) -> None:
    world.train_all(variants(4), told_apart(1))
    reference = variants(4)[2].id
    metrics = evaluated(world, out, "--reference", reference)
    rows = read_comparisons(out / "comparisons.csv")
    assert [row.against for row in rows] == ["reference"] * 3 + ["winner"] * 3
    assert {row.other for row in rows} == {reference, metrics.winner.variant}
    for row in rows:
        assert row.auc - row.auc_other == pytest.approx(row.difference, abs=2e-6)
        assert row.lower <= row.difference <= row.upper
        assert row.p <= row.p_holm <= 1


def test_a_clear_difference_is_found(world: World, out: Path) -> None:
    good, bad = variants(2)
    for fold in range(3):
        world.train(good, fold, told_apart(4), seed=1)
        world.train(bad, fold, told_apart(0), seed=2)
    evaluated(world, out)
    row = read_comparisons(out / "comparisons.csv")[0]
    assert row.p_holm < 0.001
    assert row.p_bootstrap < 0.02


def test_an_axis_is_judged_between_variants_alike_in_all_else(world: World) -> None:
    fast, slow = {"learning_rate": 1e-3}, {"learning_rate": 1e-4}
    grid = [Variant(seed=0, **fast), Variant(seed=0, **slow), Variant(seed=1, **fast)]
    for variant in grid:
        for fold in range(3):
            world.train(variant, fold, told_apart(3 if variant.learning_rate == 1e-4 else 0.5), seed=variant.seed)
    experiment = experiment_of(world)
    effects = {axis.axis: axis.values for axis in axes(experiment, rank(experiment, np.ones((100, 60))))}
    assert set(effects) == {"learning_rate", "seed"}
    slow_rate, fast_rate = effects["learning_rate"]
    assert (slow_rate.value, fast_rate.value) == (1e-4, 1e-3)
    assert fast_rate.difference.value < -0.1
    assert (fast_rate.variants, fast_rate.matched) == (2, 1)


def test_settings_are_text_for_people() -> None:
    variant = Variant(view="lungs", seed=3)
    assert to_texts(variant)["window"] == "-500/1500"
    assert differs(variant, ["view", "seed"]) == "view=lungs, seed=3"
