"""What is measured: predictions of patients, scans or slices, by patient number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from claire.core.contracts.run import Predictions
from claire.core.statistics import BoolArray, FloatArray, IntArray
from claire.evaluate.inputs import Experiment


@dataclass(frozen=True)
class Sample:
    """Items of one fold: `unit` (n,) patient numbers, `target` (n,) class indices, `probability` (n, classes)."""

    unit: IntArray
    target: IntArray
    probability: FloatArray

    def where(self, selected: BoolArray) -> Sample:
        """Return the items that the boolean (n,) array selects."""
        return Sample(self.unit[selected], self.target[selected], self.probability[selected])


def to_sample(experiment: Experiment, predictions: Predictions) -> Sample:
    """Return predictions of scans or slices item by item."""
    unit = np.array([experiment.index[str(patient)] for patient in predictions.patient], dtype=np.int64)
    return Sample(unit, predictions.target, predictions.probability)


def to_patients(experiment: Experiment, predictions: Predictions) -> Sample:
    """Return one item per patient: the mean of its scans' probabilities."""
    return to_sample(experiment, predictions.by_patient())
