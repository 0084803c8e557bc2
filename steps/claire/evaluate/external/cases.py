"""The labelled patients as the model predicted them, in arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from claire.core.contracts.predictions import PredictedPatient, PredictionsDocument
from claire.core.statistics import BoolArray, FloatArray, IntArray

#: Smallest probability that losses see: half of the last digit of predictions.json.
SMALLEST = 5e-7


@dataclass(frozen=True)
class Cases:
    """Labelled patients: `target` (n,) class indices.

    `score` (n, classes): mean of the networks' probabilities as they give them, in full precision: the order of
    patients in which the model was measured inside. `probability` (n, classes): calibrated, as people read it.
    `decisions`: decided classes (n,) by operating point. `told`: whether the model has a say; `strange`: whether a scan
    is out of the model's cohort.
    """

    target: IntArray
    score: FloatArray
    probability: FloatArray
    decisions: Mapping[str, IntArray]
    told: BoolArray
    strange: BoolArray

    def __len__(self) -> int:
        return len(self.target)

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes."""
        return bool(self.score.shape[1] == 2)

    def where(self, selected: BoolArray) -> Cases:
        """Return the patients that the boolean (n,) array selects."""
        return Cases(
            self.target[selected],
            self.score[selected],
            self.probability[selected],
            {point: decided[selected] for point, decided in self.decisions.items()},
            self.told[selected],
            self.strange[selected],
        )

    def counts(self, classes: tuple[str, ...]) -> dict[str, int]:
        """Return the number of patients by class."""
        return dict(zip(classes, np.bincount(self.target, minlength=len(classes)).tolist(), strict=True))


def labelled_cases(predictions: PredictionsDocument, truth: Mapping[str, str]) -> Cases:
    """Return the predicted patients that have a label."""
    patients = [patient for patient in predictions.patients if patient.patient in truth]
    classes = predictions.classes
    strange = {scan.patient for scan in predictions.scans if scan.out_of_cohort}
    points = [decision.point for decision in patients[0].verdict.decisions]
    probability = [[patient.verdict.probability[name] for name in classes] for patient in patients]
    return Cases(
        target=np.array([classes.index(truth[patient.patient]) for patient in patients]),
        score=np.array([_score(patient) for patient in patients]),
        probability=np.clip(np.array(probability, dtype=np.float64), SMALLEST, 1 - SMALLEST),
        decisions={
            point: np.array([classes.index(patient.verdict.decisions[i].decision) for patient in patients])
            for i, point in enumerate(points)
        },
        told=np.array([not patient.verdict.cannot_tell for patient in patients]),
        strange=np.array([patient.patient in strange for patient in patients]),
    )


def _score(patient: PredictedPatient) -> FloatArray:
    return np.asarray(np.mean([network.probability for network in patient.verdict.networks], axis=0))
