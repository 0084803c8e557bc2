"""Predictions of scans and of the slices that a network saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.variant import Variant
from claire.core.networks.predict import predict
from claire.core.networks.scan_network import ScanNetwork
from torch import nn

from tests.support.synthetic import CohortFiles

CPU = torch.device("cpu")


@pytest.fixture
def cohort(cohort_files: CohortFiles) -> Cohort:
    torch.set_num_threads(1)
    return open_cohort(cohort_files.cohort)


def network_2d() -> ScanNetwork:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveMaxPool2d(1)]
    return ScanNetwork(nn.Sequential(*layers, nn.Flatten()), 8, 2, 2, 1, "mean", "0")


def test_a_slice_is_predicted_once_though_the_network_saw_it_twice(cohort: Cohort) -> None:
    variant = Variant(size=16, slices=20)
    prediction = next(predict(network_2d(), cohort, cohort.scans[:1], variant, CPU))
    assert prediction.slices.tolist() == list(range(8))
    assert prediction.slice_probability.shape == (8, 2)
    np.testing.assert_allclose(prediction.slice_probability.sum(1), 1)


def test_a_3d_network_predicts_scans_alone(cohort: Cohort) -> None:
    network = ScanNetwork(nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten()), 1, 2, 3, 1, "mean", "0")
    variant = Variant(size=16, slices=2, dimensions="3D")
    prediction = next(predict(network, cohort, cohort.scans[:1], variant, CPU))
    assert len(prediction.slices) == 0
    assert prediction.probability.sum() == pytest.approx(1)


def test_nothing_random_is_left_in_predictions(cohort: Cohort) -> None:
    network, variant = network_2d().train(), Variant(size=16, slices=4)
    first, again = (next(predict(network, cohort, cohort.scans[:1], variant, CPU)).probability for _ in range(2))
    assert np.array_equal(first, again)


def test_predictions_follow_the_order_of_the_scans(cohort: Cohort) -> None:
    scans = cohort.scans[3:6]
    predicted = predict(network_2d(), cohort, scans, Variant(size=16, slices=4), CPU)
    assert [prediction.scan for prediction in predicted] == list(scans)
