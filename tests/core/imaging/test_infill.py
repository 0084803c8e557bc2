"""Infills look like the clean lung around a hole, on fine and on coarse grids."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.imaging.infill import fill, lung_noise, lung_statistics, random_hole

from tests.support.lungs import SPACING, SPOT, two_lungs


@pytest.mark.parametrize("finer", [1, 4], ids=["coarse", "fine"])
def test_an_infill_is_the_lung_around_the_hole(finer: int) -> None:
    hu, lungs = two_lungs((SPOT, -300.0))
    hu, lungs = (part.repeat(finer, 1).repeat(finer, 2) for part in (hu, lungs))
    hu = hu + np.where(lungs == 1, 60, 0) + np.random.default_rng(0).normal(0, 20, hu.shape)
    statistics = lung_statistics(hu, lungs, (SPACING[0], SPACING[1] / finer, SPACING[2] / finer))
    assert np.abs(statistics.mean[lungs == 1] + 790).max() < 20
    assert np.abs(statistics.mean[lungs == 2] + 850).max() < 20
    assert np.abs(statistics.spread[lungs > 0] - 20).max() < 15
    assert statistics.mean.shape == hu.shape


def test_what_is_to_be_avoided_does_not_count() -> None:
    hu, lungs = two_lungs((np.s_[4:8, 10:30, 6:16], -800.0))
    avoid = hu == -800
    with_it, without = (lung_statistics(hu, lungs, SPACING, part).mean for part in (None, avoid))
    assert with_it[5, 20, 10] > -835
    assert without[5, 20, 10] == pytest.approx(-850, abs=2)


def test_lungs_that_are_dense_throughout_are_filled_as_healthy_ones() -> None:
    hu, lungs = two_lungs((np.s_[:], -100.0))
    assert np.abs(lung_statistics(hu, lungs, SPACING).mean[lungs > 0] + 850).max() < 1


def test_noise_has_the_local_spread_and_comes_from_the_generator() -> None:
    hu, lungs = two_lungs()
    hu = hu + np.random.default_rng(0).normal(0, 30, hu.shape)
    statistics = lung_statistics(hu, lungs, SPACING)
    first, second = (fill(statistics, "noise", SPACING, np.random.default_rng(seed)) for seed in (1, 1))
    assert np.array_equal(first, second)
    assert (first - statistics.mean)[lungs > 0].std() == pytest.approx(30, rel=0.2)
    assert np.array_equal(fill(statistics, "constant", SPACING, np.random.default_rng(1)), statistics.mean)
    assert lung_noise(hu.shape, SPACING, np.random.default_rng(0)).std() == pytest.approx(1)


def test_holes_lie_in_the_lungs() -> None:
    _, lungs = two_lungs()
    hole = random_hole(lungs, np.random.default_rng(0))
    assert hole.any()
    assert not (hole & (lungs == 0)).any()
    assert not random_hole(np.zeros_like(lungs), np.random.default_rng(0)).any()
