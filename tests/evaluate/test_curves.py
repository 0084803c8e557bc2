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
