"""Operating points, the decision rule, and metrics of decisions and losses against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.statistics.decisions import (
    brier_scores,
    decide,
    log_losses,
    operating_points,
    positive_score,
    predictive_values,
    rates,
    shift_prior,
)
from sklearn import metrics

from tests.support.scores import LABELS, scores


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


def test_of_two_classes_the_operating_point_decides() -> None:
    probability = np.array([[0.7, 0.3], [0.701, 0.299], [0.1, 0.9]])
    assert decide(probability, 0.3).tolist() == [1, 0, 1]
    assert decide(probability, None).tolist() == [0, 0, 1]
    assert decide(probability[0], 0.3) == 1


def test_of_more_classes_the_likeliest_is_decided_never_by_an_operating_point() -> None:
    # All classes but the reference are likelier together than the reference, none of them alone.
    probability = np.array([0.45, 0.30, 0.25])
    assert decide(probability, None) == 0
    assert decide(probability[None], None).tolist() == [0]
    assert positive_score(probability) == pytest.approx(0.55)
    with pytest.raises(ValueError, match="3 classes have no operating point"):
        decide(probability, 0.5)


def test_rates_agree_with_sklearn() -> None:
    called = scores(1) >= 0.6
    tn, fp, fn, tp = (np.array([count], float) for count in metrics.confusion_matrix(LABELS, called).ravel())
    measured = rates(tp, fp, fn, tn, prevalence=0.5)
    assert measured["f1"][0] == pytest.approx(metrics.f1_score(LABELS, called))
    assert measured["precision"][0] == pytest.approx(metrics.precision_score(LABELS, called))
    assert measured["recall"][0] == measured["sensitivity"][0] == pytest.approx(metrics.recall_score(LABELS, called))
    assert measured["specificity"][0] == pytest.approx(metrics.recall_score(~LABELS, ~called))
    assert measured["ppv"][0] == pytest.approx(measured["precision"][0])  # the sample's own prevalence is a half


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
