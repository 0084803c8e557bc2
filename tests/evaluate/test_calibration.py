"""Calibration against known logistic models and scikit-learn; net benefit."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.statistics.decisions import logit
from claire.evaluate.calibration import calibration, net_benefit, reliability, treat_all
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from tests.support.scores import LABELS


def draw_labels(slope: float, intercept: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and labels whose log-odds are `slope` times theirs plus `intercept`."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 1.5, n)
    truth = rng.random(n) < 1 / (1 + np.exp(-(slope * logit + intercept)))
    return 1 / (1 + np.exp(-logit)), truth


def test_calibration_finds_slope_and_intercept() -> None:
    probability, positive = draw_labels(0.5, 0.0)
    slope, intercept = calibration(probability, positive, np.arange(4000) % 5)
    assert slope.limits[0] < 0.5 < slope.limits[1] < 0.7
    assert intercept.limits[0] < 0 < intercept.limits[1]


def test_slope_agrees_with_sklearn() -> None:
    probability, positive = draw_labels(0.5, 0.3, 500)
    slope, _ = calibration(probability, positive, np.zeros(500))
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(probability)[:, None], positive)
    assert slope.value == pytest.approx(model.coef_[0, 0], abs=1e-4)


def test_reliability_agrees_with_sklearn() -> None:
    probability, positive = draw_labels(1, 0, 500)
    shares, means = calibration_curve(positive, probability, n_bins=10)
    points = reliability(probability, positive)
    assert [mean for mean, _, _ in points] == pytest.approx(means)
    assert [share for _, share, _ in points] == pytest.approx(shares)


def test_separated_classes_have_no_calibration_slope() -> None:
    assert calibration(LABELS * 0.8 + 0.1, LABELS, np.zeros(40)) is None
    assert calibration(LABELS * 0.8 + 0.1, np.ones(40, bool), np.zeros(40)) is None


def test_reliability_of_true_probabilities_lies_on_the_diagonal() -> None:
    probability, positive = draw_labels(1, 0)
    points = reliability(probability, positive)
    assert len(points) == 10
    assert all(lower - 0.05 <= x <= upper + 0.05 for x, _, (lower, upper) in points)


def test_treating_all_is_worth_nothing_at_the_prevalence() -> None:
    assert treat_all(0.3, [0.3])[0] == pytest.approx(0)
    assert net_benefit(np.array(1.0), np.array(0.0), 0.3, 0.3) == pytest.approx(0)
