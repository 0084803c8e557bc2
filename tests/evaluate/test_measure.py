"""Sums of a fold: for the data, and for bootstrap samples of its patients."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate.measure import COUNTS, measure, thresholds, unique_sizes
from claire.evaluate.samples import Sample

from tests.support.scores import scores

TARGET = np.arange(40) % 2


def make_sample(units: np.ndarray | None = None) -> Sample:
    positive = scores(1, labels=TARGET == 1, decimals=2)
    return Sample(np.arange(40) if units is None else units, TARGET, np.column_stack([1 - positive, positive]))


def test_the_counts_of_decisions_add_up_to_the_items() -> None:
    sums = measure(make_sample(), (0.5, 0.3), np.ones((3, 40))).sums
    for point in (0, 1):
        assert sum(sums[f"1/{point}/{name}"] for name in COUNTS) == pytest.approx(np.full(4, 40))
    assert sums["correct"] == pytest.approx(sums["1/0/tp"] + sums["1/0/tn"])
    assert (sums["1/1/tp"] >= sums["1/0/tp"]).all()


def test_a_sample_of_all_patients_once_is_the_data() -> None:
    for sums in measure(make_sample(), (0.5, 0.3), np.ones((3, 40))).sums.values():
        assert sums[1:] == pytest.approx(np.full(3, sums[0]))


def test_a_sample_counts_a_patient_as_often_as_it_is_drawn() -> None:
    units = np.repeat(np.arange(20), 2)  # each patient has a negative and a positive scan
    weights = bootstrap_weights([0] * 20, 4, 0)
    sample = make_sample(units)
    sums = measure(sample, (0.5, 0.3), weights).sums
    for row, sample_weights in enumerate(weights, start=1):
        drawn = np.repeat(np.arange(40), np.round(sample_weights[units] * 19 / 20).astype(int))
        repeated = Sample(np.arange(len(drawn)), TARGET[drawn], sample.probability[drawn])
        direct = measure(repeated, (0.5, 0.3), np.ones((1, len(drawn)))).sums
        for name in ("n", "correct", "log_loss", "brier", "1/0/tp"):
            assert sums[name][row] == pytest.approx(direct[name][0] * 20 / 19)


def test_three_classes_have_counts_each_and_no_operating_point() -> None:
    probability = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    sample = Sample(np.arange(30), np.arange(30) % 3, probability)
    assert thresholds(sample) is None
    measured = measure(sample, None, np.ones((1, 30)))
    assert set(measured.sizes) == {0, 1, 2}
    assert measured.sizes[0] == (10, 20)
    assert sum(measured.sums[f"{c}/0/tp"][0] for c in range(3)) == measured.sums["correct"][0]


def test_without_validation_items_the_operating_points_are_a_half() -> None:
    assert thresholds(None) == (0.5, 0.5)


def test_a_patient_of_several_folds_counts_in_the_first() -> None:
    first, second = make_sample(), make_sample(np.arange(40) + 20)
    folds = [measure(sample, (0.5, 0.3), np.ones((1, 60))) for sample in (first, second)]
    assert [fold.sizes[1] for fold in folds] == [(20, 20), (20, 20)]
    assert unique_sizes(folds) == [(20, 20), (10, 10)]
