"""AUC, AUPRG, curves and DeLong's components against scikit-learn and their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claire.core.statistics.intervals import bootstrap_weights, delong
from claire.core.statistics.ranking import auc, macro_auc, midranks, placement_variance, placements, sweep
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tests.support.scores import LABELS, scores


def auprg(score: np.ndarray, positive: np.ndarray) -> float:
    return float(sweep(score, positive).auprg()[0])


@pytest.mark.parametrize("decimals", [9, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_auc_agrees_with_sklearn_also_with_ties(seed: int, decimals: int) -> None:
    score = scores(1, seed, decimals=decimals)
    assert auc(score, LABELS) == pytest.approx(metrics.roc_auc_score(LABELS, score))


@pytest.mark.parametrize(("score", "area"), [(LABELS * 1.0, 1.0), (1.0 - LABELS, 0.0), (np.full(40, 0.3), 0.5)])
def test_auc_of_separated_inverted_and_constant_scores(score: np.ndarray, area: float) -> None:
    assert auc(score, LABELS) == area


@pytest.mark.parametrize("labels", [np.ones(5, bool), np.zeros(5, bool), np.zeros(0, bool)])
def test_without_both_classes_there_is_no_auc(labels: np.ndarray) -> None:
    assert math.isnan(auc(np.linspace(0, 1, len(labels)), labels))
    assert math.isnan(auprg(np.linspace(0, 1, len(labels)), labels))


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_ranked_rightly(items: list[tuple[int, bool]]) -> None:
    score, positive = np.array([s for s, _ in items], float), np.array([p for _, p in items])
    pairs = [(a > b) + (a == b) / 2 for a in score[positive] for b in score[~positive]]
    assert auc(score, positive) == pytest.approx(np.mean(pairs) if pairs else np.nan, nan_ok=True)


def test_a_replicate_is_what_repeating_its_patients_gives() -> None:
    score, unit = scores(1, decimals=1), np.repeat(np.arange(20), 2)
    weights = bootstrap_weights([0] * 20, 5, 0)
    replicates = sweep(score, LABELS, unit, weights)
    for row, (area, gain) in enumerate(
        zip(replicates.concordant() / replicates.pairs, replicates.auprg(), strict=True)
    ):
        times = weights[row][unit].astype(int)
        assert area == pytest.approx(auc(np.repeat(score, times), np.repeat(LABELS, times)))
        assert gain == pytest.approx(auprg(np.repeat(score, times), np.repeat(LABELS, times)))


def test_many_thresholds_may_be_tied_without_harm() -> None:
    labels = np.arange(4000) % 2 == 1
    score = scores(1, labels=labels)
    coarse = sweep(score, labels, max_thresholds=400)
    assert coarse.concordant()[0] / coarse.pairs[0] == pytest.approx(auc(score, labels), abs=1e-4)


def gain_by_many_points(score: np.ndarray, positive: np.ndarray) -> float:
    """AUPRG by the definition: precision gain integrated over recall gain along the interpolated ROC curve."""
    false, true, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    share = positive.mean()
    tp = np.linspace(share, 1, 200_001)
    fp = np.interp(tp - 1e-12, true, false) * (~positive).sum() / positive.sum()
    ratio = share / (1 - share)
    return float(np.trapezoid(1 - ratio * fp / tp, 1 - ratio * (1 - tp) / tp))


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_auprg_integrates_precision_gain_over_recall_gain(seed: int) -> None:
    labels = np.arange(50) % 3 == 0
    score = scores(1, seed, labels, 1)
    assert auprg(score, labels) == pytest.approx(gain_by_many_points(score, labels), abs=1e-3)


def test_auprg_is_1_for_perfect_and_0_for_constant_scores() -> None:
    assert auprg(LABELS * 1.0, LABELS) == 1
    assert auprg(np.zeros(40), LABELS) == pytest.approx(0, abs=1e-12)


def test_roc_and_its_area_agree() -> None:
    swept = sweep(scores(1), LABELS)
    grid = np.linspace(0, 1, 20_001)
    assert np.trapezoid(swept.roc(grid)[0], grid) == pytest.approx(auc(scores(1), LABELS), abs=1e-3)


def test_false_positives_at_a_recall_are_the_fewest() -> None:
    swept = sweep(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))
    assert swept.false_positives(np.array([0.5, 1.0]))[0] == pytest.approx([0, 1])


def test_macro_auc_agrees_with_sklearn() -> None:
    target = np.arange(60) % 3
    probability = np.random.default_rng(0).dirichlet(np.ones(3), 60)
    ours = macro_auc(probability, target)
    assert ours == pytest.approx(metrics.roc_auc_score(target, probability, multi_class="ovr"))
    assert macro_auc(probability[:, :2], target % 2) == pytest.approx(
        metrics.roc_auc_score(target % 2, probability[:, 1])
    )


def test_midranks_share_ties() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 0.0])).tolist() == [3.5, 2.0, 3.5, 1.0]


def test_delong_variance_is_that_of_repeated_draws() -> None:
    areas = np.array([auc(scores(1, seed), LABELS) for seed in range(400)])
    variances = [placement_variance(*placements(scores(1, seed), LABELS)) for seed in range(50)]
    assert np.mean(variances) == pytest.approx(areas.var(), rel=0.25)


def test_placements_have_the_auc_as_their_mean() -> None:
    below, above = placements(scores(1, decimals=1), LABELS)
    assert below.mean() == pytest.approx(auc(scores(1, decimals=1), LABELS))
    assert above.mean() == pytest.approx(below.mean())


def test_one_patient_a_class_has_no_delong_variance() -> None:
    assert math.isnan(placement_variance(np.array([0.5]), np.array([0.5, 1.0])))
    assert np.isnan(delong(0.5, float("nan"))).all()
