"""Curves over folds with pointwise bands: ROC, precision and recall, calibration, decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from claire.core.contracts.result_tables import Curve, CurvePoint, Level
from claire.core.statistics import BoolArray, FloatArray
from claire.core.statistics.intervals import NONE, Limits, percentile
from claire.core.statistics.ranking import Sweep, positive_classes
from claire.evaluate.calibration import net_benefit, reliability, treat_all
from claire.evaluate.figures import number
from claire.evaluate.measure import Measured, sweep_class
from claire.evaluate.samples import Sample

RATES = np.linspace(0, 1, 101)
RECALLS = np.linspace(0.01, 1, 100)
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
#: Bootstrap samples of the bands: enough for a picture.
SAMPLES = 500
TREAT_ALL = "treat all"


def ranking_curves(
    variant: str,
    level: Level,
    folds: Sequence[Sample],
    classes: Sequence[str],
    weights: FloatArray,
    curve: Curve = "roc",
) -> Iterator[CurvePoint]:
    """Yield the ROC of all folds and, of patients, precision against recall, for each positive class."""
    for c in positive_classes(len(classes)):
        usable = [fold for fold in folds if 0 < np.mean(fold.target == c) < 1]
        if not usable:
            continue
        observed = [sweep_class(fold, c, None) for fold in usable]
        replicates = [sweep_class(fold, c, weights[:SAMPLES]) for fold in usable]
        head = {"variant": variant, "level": level, "label": classes[c]}
        yield from _points(head | {"curve": curve}, RATES, _roc(observed), _roc(replicates))
        if level == "patient":
            yield from _points(head | {"curve": "pr"}, RECALLS, _precision(observed), _precision(replicates))


def fold_curves(variant: str, folds: dict[int, Sample], classes: Sequence[str]) -> Iterator[CurvePoint]:
    """Yield the ROC of each fold by itself, without a band."""
    for fold, tested in folds.items():
        for c in positive_classes(len(classes)):
            swept = sweep_class(tested, c, None)
            if swept.pairs[0]:
                head = {"variant": variant, "level": "patient", "curve": "roc", "label": classes[c], "fold": fold}
                yield from _points(head, RATES, swept.roc(RATES), None)


def _roc(folds: Sequence[Sweep]) -> FloatArray:
    """Average the folds' ROC curves vertically, by pairs, so that the area below is the reported AUC."""
    curves, pairs = np.array([fold.roc(RATES) for fold in folds]), np.array([fold.pairs for fold in folds])
    weighted = np.where(pairs[:, :, None] > 0, curves, 0) * pairs[:, :, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weighted.sum(axis=0) / pairs.sum(axis=0)[:, None])


def _precision(folds: Sequence[Sweep]) -> FloatArray:
    """Return the precision at each recall, each fold with its own threshold for that recall."""
    tp = np.sum([fold.tp[:, -1:] * RECALLS for fold in folds], axis=0)
    fp = np.sum([np.nan_to_num(fold.false_positives(RECALLS)) for fold in folds], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(tp / (tp + fp))


def _points(
    head: dict[str, Any], xs: FloatArray, observed: FloatArray, replicates: FloatArray | None
) -> Iterator[CurvePoint]:
    limits = np.full((2, len(xs)), np.nan)
    if replicates is not None and np.isfinite(replicates).any():
        usable = replicates[np.isfinite(replicates).all(axis=1)]
        limits = np.quantile(usable, [0.025, 0.975], axis=0) if len(usable) else limits
    for x, y, lower, upper in zip(xs, observed[0], *limits, strict=True):
        yield _point(head, x, y, (lower, upper))


def _point(head: dict[str, Any], x: float, y: float, limits: Limits = NONE) -> CurvePoint:
    lower, upper = limits
    return CurvePoint(**head, x=number(x), y=number(y), lower=number(lower), upper=number(upper))


def calibration_curve(variant: str, probability: FloatArray, positive: BoolArray, label: str) -> Iterator[CurvePoint]:
    """Yield the share of positives in each bin of probability, with Wilson limits."""
    head = {"variant": variant, "level": "patient", "curve": "calibration", "label": label}
    for x, y, limits in reliability(probability, positive):
        yield _point(head, x, y, limits)


def decision_curve(
    variant: str,
    folds: Sequence[Measured],
    probabilities: Sequence[FloatArray],
    weights: FloatArray,
    prevalence: float,
    label: str,
) -> Iterator[CurvePoint]:
    """Yield the net benefit at each threshold; `probabilities` are those of class 1, moved to `prevalence`."""
    samples = np.vstack([np.ones((1, weights.shape[1])), weights[:SAMPLES]])
    tp = positives = tn = negatives = np.zeros(())
    for fold, probability in zip(folds, probabilities, strict=True):
        positive, sample_weights = (fold.sample.target == 1).astype(float)[:, None], samples[:, fold.sample.unit]
        called = probability[:, None] >= THRESHOLDS
        tp, positives = tp + sample_weights @ (called * positive), positives + sample_weights @ positive
        tn, negatives = tn + sample_weights @ (~called * (1 - positive)), negatives + sample_weights @ (1 - positive)
    head = {"variant": variant, "level": "patient", "curve": "decision", "label": label}
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = tp / positives, tn / negatives
    for i, threshold in enumerate(THRESHOLDS):
        benefit = net_benefit(sensitivity[:, i], specificity[:, i], prevalence, threshold)
        yield _point(head, threshold, benefit[0], percentile(benefit[1:]))


def treat_all_curve(prevalence: float, label: str) -> Iterator[CurvePoint]:
    """Yield the net benefit of calling everybody positive; that of calling nobody is 0."""
    head = {"variant": TREAT_ALL, "level": "patient", "curve": "decision", "label": label}
    for x, y in zip(THRESHOLDS, treat_all(prevalence, THRESHOLDS.tolist()), strict=True):
        yield _point(head, x, y)
