"""Intervals against published examples, theory and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claire.core.statistics.intervals import bootstrap_weights, clopper_pearson, newcombe, percentile, wilson, woolf
from claire.core.statistics.ranking import auc, sweep
from scipy.stats import binomtest

from tests.support.scores import scores


def test_bootstrap_keeps_the_strata_and_repeats_itself() -> None:
    strata = [(i % 3, i % 2) for i in range(30)]
    weights = bootstrap_weights(strata, 50, 1)
    for stratum in set(strata):
        inside = [own == stratum for own in strata]
        assert weights[:, inside].sum(axis=1) == pytest.approx(sum(inside))
    assert (weights == bootstrap_weights(strata, 50, 1)).all()
    assert (weights != bootstrap_weights(strata, 50, 2)).any()


@pytest.mark.parametrize("m", [2, 3, 4, 10])
def test_bootstrap_spreads_as_the_mean_of_small_strata_does(m: int) -> None:
    values = np.random.default_rng(m).random(m)
    spread = (bootstrap_weights([0] * m, 40_000, 0) @ values / m).var()
    assert spread == pytest.approx(values.var(ddof=1) / m, rel=0.05)


def test_a_lone_patient_counts_once() -> None:
    assert (bootstrap_weights(["alone", "two", "two"], 10, 0)[:, 0] == 1).all()


def test_bootstrap_intervals_cover_the_truth() -> None:
    truth = 0.5 * (1 + math.erf(1 / 2))
    labels, covered = np.arange(80) % 2 == 1, 0
    weights = bootstrap_weights(labels.tolist(), 300, 0)
    for seed in range(200):
        swept = sweep(scores(1, seed, labels), labels, np.arange(80), weights)
        lower, upper = percentile(swept.concordant() / swept.pairs)
        covered += lower <= truth <= upper
    assert 0.89 <= covered / 200 <= 0.99


def test_percentile_wants_half_of_the_replicates() -> None:
    assert percentile(np.array([0.5, np.nan])) == (0.5, 0.5)
    assert np.isnan(percentile(np.array([0.5, np.nan, np.nan]))).all()
    assert np.isnan(percentile(np.zeros(0))).all()


def test_wilson_by_a_published_example() -> None:
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(1.0, 10)[0] == pytest.approx(0.7225, abs=1e-4)
    assert np.isnan(wilson(0.5, 0)).all()


def test_woolf_surrounds_the_odds_ratio() -> None:
    lower, upper = woolf(10, 0, 0, 10)
    assert lower < 10.5**2 / 0.25 < upper


def test_newcombe_has_room_below_perfect_and_shrinks_with_patients() -> None:
    few, many = newcombe(1.0, [(10, 10)]), newcombe(1.0, [(100, 100)])
    assert few[1] == many[1] == 1
    assert 0.7 < few[0] < many[0] < 1
    lower, upper = newcombe(0.8, [(20, 20), (20, 20)])
    assert lower < 0.8 < upper
    assert np.isnan(newcombe(0.5, [(0, 3)])).all()


def test_newcombe_covers_the_truth_near_1() -> None:
    truth, labels = 0.5 * (1 + math.erf(2.5 / 2)), np.arange(40) % 2 == 1
    limits = [newcombe(auc(scores(2.5, seed, labels), labels), [(20, 20)]) for seed in range(300)]
    assert np.mean([lower <= truth <= upper for lower, upper in limits]) >= 0.93


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 17), (36, 36), (1, 200)])
def test_clopper_pearson_is_that_of_scipy(hits: int, n: int) -> None:
    exact = binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, n) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_clopper_pearson_of_nothing_is_unknown() -> None:
    assert all(math.isnan(end) for end in clopper_pearson(0, 0))
