"""The networks of the folds with what their validation patients say: operating points, temperature, priors."""

from __future__ import annotations

import numpy as np

from claire.bundle.inputs import Inputs
from claire.core.command.documents import finite
from claire.core.command.files import sha256_file
from claire.core.contracts.lesions import LesionsDocument
from claire.core.contracts.model import FoldModel, OperatingPoints
from claire.core.contracts.run import Predictions, Run
from claire.core.networks.architectures import own_source
from claire.core.statistics import FloatArray
from claire.core.statistics.decisions import chosen_points, learned_share, operating_points, shift_prior
from claire.core.statistics.temperature import fit_temperature

_DIGITS = 6


def fold_models(inputs: Inputs) -> tuple[FoldModel, ...]:
    """Return the network of each fold, in the order of the folds."""
    return tuple(_fold_model(inputs, fold, run) for fold, run in inputs.runs.items())


def weights_member(run: str) -> str:
    """Return the name of the member that holds the weights of a run."""
    return f"weights/{run}.safetensors"


def _fold_model(inputs: Inputs, fold: int, run: Run) -> FoldModel:
    classes = inputs.summary.classes
    patients = run.scans["validation"].by_patient() if "validation" in run.scans else None
    shares = _shares(run, patients, len(classes))
    counts = np.bincount(patients.target, minlength=len(classes)).tolist() if patients else [0] * len(classes)
    points = _points(patients, len(classes))
    temperature = None if patients is None else fit_temperature(_shifted(patients.probability, shares), patients.target)
    return FoldModel(
        fold=fold,
        run=run.name,
        weights=weights_member(run.name),
        sha256=sha256_file(inputs.weights[fold]),
        operating_points=points,
        temperature=None if temperature is None else finite(temperature, _DIGITS),
        training_share=None if shares is None else finite(shares[0]),
        validation_share=None if shares is None else finite(shares[1]),
        validation_patients=dict(zip(classes, counts, strict=True)),
        healed_log_odds=_healed_log_odds(inputs.lesions.get(fold)),
        network_source=own_source(run.variant.architecture),
    )


def _points(patients: Predictions | None, classes: int) -> OperatingPoints | None:
    """Return the points of the validation patients, as evaluate takes them; 0.5 without any."""
    if patients is None:
        points = operating_points(np.zeros(0), np.zeros(0, bool)) if classes == 2 else None
    else:
        points = chosen_points(patients.probability, patients.target)
    return None if points is None else OperatingPoints(youden=points[0], sensitive=points[1])


def _shares(run: Run, patients: Predictions | None, classes: int) -> tuple[float, float] | None:
    """Return the share of positives that the network learned, and that of the validation patients; two classes only."""
    if classes > 2 or patients is None:
        return None
    validation = float(np.mean(patients.target == 1))
    return learned_share(run.variant.class_weights, validation), validation


def _shifted(probability: FloatArray, shares: tuple[float, float] | None) -> FloatArray:
    if shares is None:
        return probability
    positive = shift_prior(probability[:, 1], *shares)
    return np.column_stack([1 - positive, positive])


def _healed_log_odds(lesions: LesionsDocument | None) -> float | None:
    """Return the reference of a fold that was explained by the very network of the model."""
    return None if lesions is None or lesions.network.refined else lesions.network.healed_log_odds
