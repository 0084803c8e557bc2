"""Curves and their bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.result_tables import read_curves

from tests.evaluate.helpers import evaluated
from tests.support.runs import World, told_apart, variants


def test_curves_stand_on_fixed_grids_within_their_bands(world: World, out: Path) -> None:
    world.train_all(variants(2), told_apart(1), slices=2)
    evaluated(world, out)
    points = read_curves(out / "curves.csv")
    roc = [point for point in points if (point.variant, point.level, point.curve) == ("headline", "patient", "roc")]
    assert [point.x for point in roc] == pytest.approx(np.linspace(0, 1, 101))
    assert all(point.lower <= point.y + 1e-6 for point in roc)
    assert {point.curve for point in points} == {"roc", "pr", "decision", "roc_by_slices"}
    assert {point.fold for point in points} == {None, 0, 1, 2}
    assert "treat all" in {point.variant for point in points}


def test_the_area_under_the_roc_is_the_reported_auc(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    area = evaluated(world, out).headline.patient["auc"].value
    points = [point for point in read_curves(out / "curves.csv") if point.variant == "headline"]
    roc = [point for point in points if (point.curve, point.level) == ("roc", "patient")]
    assert np.trapezoid([point.y for point in roc], [point.x for point in roc]) == pytest.approx(area, abs=0.02)


def test_precision_at_full_recall_is_at_least_the_share_of_positives(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    evaluated(world, out)
    points = [point for point in read_curves(out / "curves.csv") if point.variant == "headline"]
    precision = [point for point in points if point.curve == "pr"]
    assert [point.x for point in precision] == pytest.approx(np.linspace(0.01, 1, 100))
    assert precision[-1].y >= 0.5
    assert precision[0].y >= precision[-1].y


def test_net_benefit_of_treating_all_is_zero_at_the_prevalence(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    evaluated(world, out, "--prevalence", "0.3")
    decisions = [point for point in read_curves(out / "curves.csv") if point.curve == "decision"]
    treat_all = {point.x: point.y for point in decisions if point.variant == "treat all"}
    assert treat_all[0.3] == pytest.approx(0, abs=1e-6)
    assert treat_all[0.1] > 0 > treat_all[0.5]
    headline = {point.x: point.y for point in decisions if point.variant == "headline"}
    assert headline.keys() == treat_all.keys()
    assert headline[0.3] > 0


def test_the_winner_has_a_curve_for_each_fold_without_a_band(world: World, out: Path) -> None:
    world.train_all(variants(2), told_apart(1))
    winner = evaluated(world, out).winner.variant
    single = [point for point in read_curves(out / "curves.csv") if point.fold is not None]
    assert {(point.variant, point.curve) for point in single} == {(winner, "roc")}
    assert all(point.lower is None and point.upper is None for point in single)
