"""Statistics against scikit-learn, theory and known data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claire.core.statistics.decisions import (
    brier_scores,
    log_losses,
    operating_points,
    predictive_values,
    rates,
    shift_prior,
)
from claire.core.statistics.intervals import bootstrap_weights, delong, newcombe, percentile, wilson, woolf
from claire.core.statistics.ranking import auc, auprg, midranks, placement_variance, placements, sweep
from claire.evaluate import calibration as calibrating
from claire.evaluate.comparison import bootstrap_p, corrected, holm, normal_p, rank_limits
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

LABELS = np.array([0, 1] * 20, bool)


def scores(gap: float, seed: int = 0, labels: np.ndarray = LABELS, decimals: int = 9) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(gap * labels, 1)
    return np.round(1 / (1 + np.exp(-raw)), decimals)


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


def test_tied_variants_share_their_ranks() -> None:
    tied = np.tile(np.random.default_rng(0).random(50), (3, 1))
    assert rank_limits(np.vstack([tied, tied[:1] - 1])) == [(1, 3)] * 3 + [(4, 4)]


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


def test_youden_separates_what_can_be_separated() -> None:
    youden, sensitive = operating_points(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert youden == sensitive == 0.5


def test_the_sensitive_point_finds_nine_of_ten() -> None:
    positive = np.arange(40) % 2 == 1
    score = scores(0.5, 3, positive)
    _, threshold = operating_points(score, positive)
    assert np.mean(score[positive] >= threshold) >= 0.9
    higher = np.min(score[score >= threshold]) + 1e-9
    assert np.mean(score[positive] >= higher) < 0.9


@pytest.mark.parametrize("labels", [np.ones(3, bool), np.zeros(3, bool), np.zeros(0, bool)])
def test_without_both_classes_the_operating_point_is_a_half(labels: np.ndarray) -> None:
    assert operating_points(np.linspace(0, 1, len(labels)), labels) == (0.5, 0.5)


def test_rates_agree_with_sklearn() -> None:
    called = scores(1) >= 0.6
    tn, fp, fn, tp = (np.array([count], float) for count in metrics.confusion_matrix(LABELS, called).ravel())
    found = rates(tp, fp, fn, tn, prevalence=0.5)
    assert found["f1"][0] == pytest.approx(metrics.f1_score(LABELS, called))
    assert found["precision"][0] == pytest.approx(metrics.precision_score(LABELS, called))
    assert found["recall"][0] == found["sensitivity"][0] == pytest.approx(metrics.recall_score(LABELS, called))
    assert found["specificity"][0] == pytest.approx(metrics.recall_score(~LABELS, ~called))
    assert found["ppv"][0] == pytest.approx(found["precision"][0])  # the sample's own prevalence is a half


def test_losses_agree_with_sklearn() -> None:
    positive, target = scores(1), LABELS.astype(int)
    probability = np.column_stack([1 - positive, positive])
    assert log_losses(probability, target).mean() == pytest.approx(metrics.log_loss(target, probability))
    assert brier_scores(probability, target).mean() == pytest.approx(metrics.brier_score_loss(target, positive))


def test_predictive_values_follow_bayes() -> None:
    ppv, npv = predictive_values(np.array(0.9), np.array(0.8), 0.01)
    assert ppv == pytest.approx(0.009 / (0.009 + 0.198))
    assert npv == pytest.approx(0.792 / (0.792 + 0.001))


def test_shifting_the_prior_and_back_changes_nothing() -> None:
    p = np.array([0.1, 0.5, 0.9])
    assert shift_prior(p, 0.5, 0.2)[1] == pytest.approx(0.2)
    assert shift_prior(shift_prior(p, 0.5, 0.2), 0.2, 0.5) == pytest.approx(p)
    assert (shift_prior(p, 0.5, 1.0) == p).all()


def drawn(slope: float, intercept: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 1.5, n)
    truth = rng.random(n) < 1 / (1 + np.exp(-(slope * logit + intercept)))
    return 1 / (1 + np.exp(-logit)), truth


def test_calibration_finds_slope_and_intercept() -> None:
    probability, positive = drawn(0.5, 0.0)
    slope, intercept = calibrating.calibration(probability, positive, np.arange(4000) % 5)
    assert slope.limits[0] < 0.5 < slope.limits[1] < 0.7
    assert intercept.limits[0] < 0 < intercept.limits[1]


def test_separated_classes_have_no_calibration_slope() -> None:
    assert calibrating.calibration(LABELS * 0.8 + 0.1, LABELS, np.zeros(40)) is None
    assert calibrating.calibration(LABELS * 0.8 + 0.1, np.ones(40, bool), np.zeros(40)) is None


def test_reliability_of_true_probabilities_lies_on_the_diagonal() -> None:
    probability, positive = drawn(1, 0)
    points = calibrating.reliability(probability, positive)
    assert len(points) == 10
    assert all(lower - 0.05 <= x <= upper + 0.05 for x, _, (lower, upper) in points)


def test_treating_all_is_worth_nothing_at_the_prevalence() -> None:
    assert calibrating.treat_all(0.3, [0.3])[0] == pytest.approx(0)
    assert calibrating.net_benefit(np.array(1.0), np.array(0.0), 0.3, 0.3) == pytest.approx(0)


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
