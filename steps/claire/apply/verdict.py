"""What the networks of a model say together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from claire.core.contracts.model import FoldModel, ModelDocument
from claire.core.contracts.predictions import LIKELIEST, Decision, NetworkPrediction, Verdict
from claire.core.statistics import FloatArray
from claire.core.statistics.decisions import logit, shift_prior
from claire.core.statistics.temperature import temper

#: Share of the networks that must decide as their ensemble does; below it the model cannot tell.
AGREEMENT = 0.75


def verdict(probability: FloatArray, model: ModelDocument, reasons: Sequence[str] = ()) -> Verdict:
    """Return what a model says from the probabilities (folds, classes) of its networks, not calibrated.

    The ensemble decides by the mean distance of the networks' log-odds from their own operating points, so one network
    decides as evaluate does. `reasons`: why the model has no say in this scan.
    """
    calibrated = np.array(
        [calibrate(one, fold) for one, fold in zip(probability, model.folds, strict=True)], dtype=np.float64
    )
    decisions = tuple(_decisions(probability, calibrated, model))
    return Verdict(
        probability=_by_class(calibrated.mean(0), model.classes),
        low=_by_class(calibrated.min(0), model.classes),
        high=_by_class(calibrated.max(0), model.classes),
        networks=tuple(
            NetworkPrediction(fold=fold.fold, probability=tuple(map(float, one)))
            for one, fold in zip(probability, model.folds, strict=True)
        ),
        decisions=decisions,
        cannot_tell=tuple([*_no_say(model, decisions), *reasons]),
    )


def calibrate(probability: FloatArray, fold: FoldModel) -> FloatArray:
    """Return calibrated probabilities (…, classes): of two classes the prior is shifted, then the temperature taken."""
    if probability.shape[-1] == 2 and fold.training_share is not None and fold.validation_share is not None:
        positive = shift_prior(probability[..., 1], fold.training_share, fold.validation_share)
        probability = np.stack([1 - positive, positive], -1)
    return temper(probability, fold.temperature)


def _by_class(values: FloatArray, classes: Sequence[str]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(classes, values, strict=True)}


def _decisions(probability: FloatArray, calibrated: FloatArray, model: ModelDocument) -> list[Decision]:
    points = [fold.operating_points for fold in model.folds]
    if any(point is None for point in points):
        own, together = calibrated.argmax(-1), int(calibrated.mean(0).argmax())
        return [_decision(LIKELIEST, together, own == together, model.classes)]
    decisions = []
    for name in ("youden", "sensitive"):
        thresholds = np.array([getattr(point, name) for point in points])
        above = logit(probability[:, 1]) - logit(thresholds)
        together = int(above.mean() >= 0)
        decisions.append(_decision(name, together, (above >= 0) == together, model.classes))
    return decisions


def _decision(point: str, together: int, agreeing: np.ndarray, classes: Sequence[str]) -> Decision:
    return Decision(point=point, decision=classes[together], agreeing=int(agreeing.sum()))


def _no_say(model: ModelDocument, decisions: Sequence[Decision]) -> list[str]:
    reasons = []
    if not model.figures.better_than_chance:
        reasons.append("the model is not shown to be better than chance")
    if decisions[0].agreeing < AGREEMENT * len(model.folds):
        reasons.append(f"only {decisions[0].agreeing} of its {len(model.folds)} networks decide alike")
    return reasons
