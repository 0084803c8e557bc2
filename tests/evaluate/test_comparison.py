"""p values, Holm's correction, ranks, and the correction for having chosen the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claire.evaluate.comparison import bootstrap_p, corrected, holm, normal_p, rank_limits


def test_tied_variants_share_their_ranks() -> None:
    tied = np.tile(np.random.default_rng(0).random(50), (3, 1))
    assert rank_limits(np.vstack([tied, tied[:1] - 1])) == [(1, 3)] * 3 + [(4, 4)]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, float("nan"), 0.03]) == pytest.approx([0.03, 0.06, float("nan"), 0.06], nan_ok=True)


def test_p_values_at_their_ends() -> None:
    assert normal_p(1.959964, 1.0) == pytest.approx(0.05, abs=1e-6)
    assert normal_p(0.0, 0.0) == 1
    assert math.isnan(normal_p(0.1, 0.0))
    assert bootstrap_p(np.linspace(1, 2, 99)) == pytest.approx(0.02)
    assert bootstrap_p(np.zeros(99)) == 1


def test_ranks_of_a_clear_order_are_certain() -> None:
    replicates = np.array([[0.7] * 50, [0.9] * 50, [np.nan] * 50])
    assert rank_limits(replicates) == [(2, 2), (1, 1), (3, 3)]


def test_the_corrected_figure_does_not_flatter_the_best_of_many() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0.7, 0.0, (50, 1))
    inside, outside = truth + rng.normal(0, 0.05, (50, 500)), truth + rng.normal(0, 0.05, (50, 500))
    value, (lower, upper) = corrected(inside, outside)
    assert inside.max(axis=0).mean() > 0.78
    assert value == pytest.approx(0.7, abs=0.01)
    assert lower < value < upper
    assert math.isnan(corrected(inside * np.nan, outside)[0])
