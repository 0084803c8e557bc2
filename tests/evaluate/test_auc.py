"""The AUC over folds, and DeLong's interval of it."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.statistics.intervals import Z
from claire.core.statistics.ranking import placement_variance, placements
from claire.evaluate.auc import combined_auc, count_pairs, delong_limits, measured_pairs, stack_pairs
from claire.evaluate.figures import auc_figure
from claire.evaluate.measure import Measured, measure
from claire.evaluate.samples import Sample
from sklearn.metrics import roc_auc_score

from tests.support.scores import scores


def make_fold(start: int, n: int, seed: int, gap: float = 1) -> Sample:
    target = np.arange(n) % 2
    positive = scores(gap, seed, target == 1)
    return Sample(np.arange(start, start + n), target, np.column_stack([1 - positive, positive]))


def measured(*samples: Sample, patients: int = 100) -> list[Measured]:
    return [measure(sample, (0.5, 0.5), np.ones((2, patients))) for sample in samples]


def test_folds_weigh_as_their_pairs_do() -> None:
    folds = [make_fold(0, 20, 0), make_fold(20, 40, 1)]
    areas = [roc_auc_score(fold.target, fold.probability[:, 1]) for fold in folds]
    combined = combined_auc(*stack_pairs([count_pairs(fold, np.ones((2, 100))) for fold in folds]))
    assert combined == pytest.approx(np.full(3, np.average(areas, weights=[100, 400])))
    assert combined_auc(*measured_pairs(measured(*folds))) == pytest.approx(combined)


def test_scores_of_different_folds_are_never_compared() -> None:
    # In each fold the classes are separated; the negatives of the second lie above the positives of the first.
    low, high = (
        Sample(np.arange(4) + 4 * i, np.array([0, 0, 1, 1]), np.array([[1 - p, p] for p in probability]))
        for i, probability in enumerate([(0.1, 0.1, 0.2, 0.2), (0.8, 0.8, 0.9, 0.9)])
    )
    assert auc_figure(measured(low, high)).value == 1


def test_delong_of_one_fold_is_that_of_its_placements() -> None:
    fold = make_fold(0, 40, 0)
    below, above = placements(fold.probability[:, 1], fold.target == 1)
    half = Z * np.sqrt(placement_variance(below, above))
    assert delong_limits(measured(fold)) == pytest.approx((below.mean() - half, below.mean() + half))


def test_twice_the_patients_divide_delongs_variance_by_two() -> None:
    lower, upper = delong_limits(measured(make_fold(0, 40, 0)))
    lower_two, upper_two = delong_limits(measured(make_fold(0, 40, 0), make_fold(40, 40, 0)))
    assert upper_two - lower_two == pytest.approx((upper - lower) / np.sqrt(2))


def test_folds_that_share_patients_have_no_delong_interval() -> None:
    assert np.isnan(delong_limits(measured(make_fold(0, 40, 0), make_fold(20, 40, 1)))).all()


def test_perfect_separation_has_no_delong_interval_and_newcombes_instead() -> None:
    folds = measured(make_fold(0, 40, 0, gap=100))
    assert np.isnan(delong_limits(folds)).all()
    area = auc_figure(folds)
    assert (area.value, area.upper, area.method) == (1, 1, "newcombe")
    assert 0.8 < area.lower < 1


def test_a_fold_without_a_class_counts_no_pairs() -> None:
    one_class = Sample(np.arange(40, 44), np.zeros(4, int), np.full((4, 2), 0.5))
    fold = make_fold(0, 40, 0)
    assert auc_figure(measured(fold, one_class)).value == auc_figure(measured(fold)).value
    assert auc_figure(measured(one_class)).value is None
