"""Curves over folds with pointwise bands: ROC, precision and recall, calibration, decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from claire.core.contracts.result_tables import Curve, CurvePoint, Level
from claire.core.statistics.intervals import NONE, Limits, percentile
from claire.core.statistics.ranking import Sweep, positive_classes
from claire.evaluate.calibration import net_benefit, reliability, treat_all
from claire.evaluate.inputs import Sample
from claire.evaluate.measure import Measured, number, swept_over

RATES = np.linspace(0, 1, 101)
RECALLS = np.linspace(0.01, 1, 100)
DECISIONS = np.round(np.arange(0.05, 0.96, 0.05), 2)
#: Samples that the bands are made of: enough for a picture.
SAMPLES = 500
TREAT_ALL = "treat all"


def ranking_curves(
    variant: str,
    level: Level,
    folds: Sequence[Sample],
    classes: Sequence[str],
    weights: np.ndarray,
    curve: Curve = "roc",
) -> Iterator[CurvePoint]:
    """Yield the ROC of all folds and, of patients, precision against recall, for each positive class."""
    for c in positive_classes(len(classes)):
        pairs = [(swept_over(fold, c, None), swept_over(fold, c, weights[:SAMPLES])) for fold in folds]
        mixed = [pair for pair in pairs if pair[0].pairs[0]]
        if not mixed:
            continue
        name = {"variant": variant, "level": level, "label": classes[c]}
        yield from _points(name | {"curve": curve}, RATES, *(_roc([pair[i] for pair in mixed]) for i in (0, 1)))
        if level == "patient":
            shown = (_precision([pair[i] for pair in mixed]) for i in (0, 1))
            yield from _points(name | {"curve": "pr"}, RECALLS, *shown)


def fold_curves(variant: str, folds: dict[int, Sample], classes: Sequence[str]) -> Iterator[CurvePoint]:
    """Yield the ROC of each fold by itself, without a band."""
    for fold, tested in folds.items():
        for c in positive_classes(len(classes)):
            swept = swept_over(tested, c, None)
            if swept.pairs[0]:
                head = {"variant": variant, "level": "patient", "curve": "roc", "label": classes[c], "fold": fold}
                yield from _points(head, RATES, swept.roc(RATES), None)


def _roc(folds: Sequence[Sweep]) -> np.ndarray:
    """Average the folds' ROC curves vertically, by pairs, so that the area below is the reported AUC."""
    curves, pairs = np.array([fold.roc(RATES) for fold in folds]), np.array([fold.pairs for fold in folds])
    weighted = np.where(pairs[:, :, None] > 0, curves, 0) * pairs[:, :, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return weighted.sum(axis=0) / pairs.sum(axis=0)[:, None]


def _precision(folds: Sequence[Sweep]) -> np.ndarray:
    """Return the precision at each recall, each fold with its own threshold for that recall."""
    detected = np.sum([fold.tp[:, -1:] * RECALLS for fold in folds], axis=0)
    false = np.sum([np.nan_to_num(fold.false_positives(RECALLS)) for fold in folds], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return detected / (detected + false)


def _points(
    head: dict[str, Any], xs: np.ndarray, itself: np.ndarray, replicates: np.ndarray | None
) -> Iterator[CurvePoint]:
    limits = np.full((2, len(xs)), np.nan)
    if replicates is not None and np.isfinite(replicates).any():
        usable = replicates[np.isfinite(replicates).all(axis=1)]
        limits = np.quantile(usable, [0.025, 0.975], axis=0) if len(usable) else limits
    for x, y, lower, upper in zip(xs, itself[0], *limits, strict=True):
        yield _point(head, x, y, (lower, upper))


def _point(head: dict[str, Any], x: float, y: float, limits: Limits = NONE) -> CurvePoint:
    lower, upper = limits
    return CurvePoint(**head, x=number(x), y=number(y), lower=number(lower), upper=number(upper))


def calibration_curve(variant: str, probability: np.ndarray, positive: np.ndarray, name: str) -> Iterator[CurvePoint]:
    """Yield the share of positives in each bin of probability, with Wilson limits."""
    head = {"variant": variant, "level": "patient", "curve": "calibration", "label": name}
    for x, y, (lower, upper), _ in reliability(probability, positive):
        yield _point(head, x, y, (lower, upper))


def decision_curve(
    variant: str,
    folds: Sequence[Measured],
    probabilities: Sequence[np.ndarray],
    weights: np.ndarray,
    prevalence: float,
    name: str,
) -> Iterator[CurvePoint]:
    """Yield the net benefit at each threshold; `probabilities` are those of class 1, moved to `prevalence`."""
    samples = np.vstack([np.ones((1, weights.shape[1])), weights[:SAMPLES]])
    detected = positives = cleared = negatives = np.zeros(())
    for fold, probability in zip(folds, probabilities, strict=True):
        positive, drawn = (fold.sample.target == 1).astype(float)[:, None], samples[:, fold.sample.unit]
        called = probability[:, None] >= DECISIONS
        detected, positives = detected + drawn @ (called * positive), positives + drawn @ positive
        cleared, negatives = cleared + drawn @ (~called * (1 - positive)), negatives + drawn @ (1 - positive)
    head = {"variant": variant, "level": "patient", "curve": "decision", "label": name}
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = detected / positives, cleared / negatives
    for i, threshold in enumerate(DECISIONS):
        benefit = net_benefit(sensitivity[:, i], specificity[:, i], prevalence, threshold)
        yield _point(head, threshold, benefit[0], percentile(benefit[1:]))


def treat_all_curve(prevalence: float, name: str) -> Iterator[CurvePoint]:
    """Yield the net benefit of calling everybody positive; that of calling nobody is 0."""
    head = {"variant": TREAT_ALL, "level": "patient", "curve": "decision", "label": name}
    for x, y in zip(DECISIONS, treat_all(prevalence, DECISIONS.tolist()), strict=True):
        yield _point(head, x, y)
