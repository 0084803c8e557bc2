"""Predictions of scans by patient."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.contracts.run import Predictions
from claire.evaluate.samples import to_patients, to_sample

from tests.evaluate.helpers import experiment_of
from tests.support.runs import World, told_apart, variants


def predictions(patients: list[str], positive: list[float]) -> Predictions:
    probability = np.array([[1 - p, p] for p in positive])
    target = np.array([int(patient[1:]) % 2 for patient in patients])
    count = len(patients)
    return Predictions(np.array(patients), np.arange(count).astype(str), np.full(count, -1), target, probability)


def test_items_are_numbered_by_patient(world: World) -> None:
    world.train_all(variants(1), told_apart(1))
    experiment = experiment_of(world)
    sample = to_sample(experiment, predictions(["P0003", "P0001", "P0003"], [0.2, 0.4, 0.6]))
    assert [experiment.patients[unit] for unit in sample.unit] == ["P0003", "P0001", "P0003"]
    assert sample.target.tolist() == [1, 1, 1]
    assert sample.probability[:, 1].tolist() == [0.2, 0.4, 0.6]


def test_a_patient_is_the_mean_of_its_scans(world: World) -> None:
    world.train_all(variants(1), told_apart(1))
    experiment = experiment_of(world)
    sample = to_patients(experiment, predictions(["P0003", "P0002", "P0003"], [0.2, 0.4, 0.6]))
    assert [experiment.patients[unit] for unit in sample.unit] == ["P0002", "P0003"]
    assert sample.target.tolist() == [0, 1]
    assert sample.probability[:, 1] == pytest.approx([0.4, 0.4])


def test_selected_items_stay_in_order(world: World) -> None:
    world.train_all(variants(1), told_apart(1))
    sample = to_sample(experiment_of(world), predictions(["P0003", "P0001", "P0002"], [0.2, 0.4, 0.6]))
    selected = sample.where(np.array([True, False, True]))
    assert selected.unit.tolist() == [3, 2]
    assert selected.probability[:, 1].tolist() == [0.2, 0.6]
