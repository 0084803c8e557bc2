"""Sums over the patients of one fold, from which every metric is computed.

No score of one fold is ever compared with a score of another: ranking is counted in pairs within folds, decisions in
confusion counts at each fold's own operating point, losses as sums over patients. Sums add up over folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from claire.core.statistics import BoolArray, FloatArray, IntArray
from claire.core.statistics.decisions import brier_scores, chosen_points, decide, log_losses, operating_points
from claire.core.statistics.ranking import MAX_THRESHOLDS, Sweep, positive_classes, sweep
from claire.evaluate.samples import Sample

COUNTS = ("tp", "fp", "fn", "tn")
Sums = dict[str, FloatArray]


@dataclass(frozen=True)
class Measured:
    """Sums of one fold: each array is (1 + samples,), first the data themselves, then the bootstrap samples.

    `thresholds` are the operating points (two classes), `decision` (n,) the decided classes at the first, `sizes` the
    patients (positive, negative) by positive class. Keys of `sums`: `n`, `correct`, `log_loss`, `brier`; by positive
    class `c` `c/pairs`, `c/concordant`, `c/gain`; and by operating point `p` the four counts, such as `c/p/tp`.
    """

    sample: Sample
    thresholds: tuple[float, float] | None
    decision: IntArray
    sums: Sums
    sizes: Mapping[int, tuple[int, int]]


def thresholds(validation: Sample | None) -> tuple[float, float] | None:
    """Return the operating points chosen on validation; None for more than two classes: the likeliest is decided."""
    if validation is None:
        return operating_points(np.zeros(0), np.zeros(0, bool))
    return chosen_points(validation.probability, validation.target)


def measure(sample: Sample, points: tuple[float, float] | None, weights: FloatArray) -> Measured:
    """Sum up one fold for the data and for every bootstrap sample of `weights` (samples, patients)."""
    decisions = [decide(sample.probability, point) for point in points or (None,)]
    return measure_decisions(sample, points, decisions, weights)


def measure_decisions(
    sample: Sample, points: tuple[float, float] | None, decisions: Sequence[IntArray], weights: FloatArray
) -> Measured:
    """Sum up one fold whose decisions (n,) at each operating point are given, as of an ensemble of networks."""
    observed, replicates = _sums(sample, decisions, None), _sums(sample, decisions, weights)
    sums = {name: np.concatenate([observed[name], replicates[name]]) for name in observed}
    sizes = {c: _sizes(sample, c) for c in positive_classes(sample.probability.shape[1])}
    return Measured(sample, points, decisions[0], sums, sizes)


def _sums(sample: Sample, decisions: Sequence[IntArray], weights: FloatArray | None) -> Sums:
    """Return the sums of the data themselves, (1,), or of each bootstrap sample, (samples,)."""
    pairs: Sums = {}
    items = {
        "n": np.ones(len(sample.target)),
        "correct": (decisions[0] == sample.target).astype(float),
        "log_loss": log_losses(sample.probability, sample.target),
        "brier": brier_scores(sample.probability, sample.target),
    }
    for c in positive_classes(sample.probability.shape[1]):
        swept = sweep_class(sample, c, weights)
        pairs |= {f"{c}/pairs": swept.pairs, f"{c}/concordant": swept.concordant()}
        pairs[f"{c}/gain"] = np.nan_to_num(swept.auprg()) * swept.pairs
        for point, decision in enumerate(decisions):
            cells = _confusion_cells(sample.target == c, decision == c)
            items |= {f"{c}/{point}/{name}": cell for name, cell in cells.items()}
    return pairs | _sum_items(sample.unit, items, weights)


def _sum_items(unit: IntArray, items: Mapping[str, FloatArray], weights: FloatArray | None) -> Sums:
    units, row = np.unique(unit, return_inverse=True)
    by_patient = np.column_stack([np.bincount(row, weights=item, minlength=len(units)) for item in items.values()])
    sample_weights = np.ones((1, len(units))) if weights is None else weights[:, units]
    return dict(zip(items, (sample_weights @ by_patient).T, strict=True))


def _confusion_cells(positive: BoolArray, called: BoolArray) -> dict[str, FloatArray]:
    cells = (positive & called, ~positive & called, positive & ~called, ~positive & ~called)
    return {name: cell.astype(float) for name, cell in zip(COUNTS, cells, strict=True)}


def sweep_class(sample: Sample, positive: int, weights: FloatArray | None) -> Sweep:
    """Sweep the threshold for one positive class: over the data themselves, exactly, or over every bootstrap sample."""
    score, is_positive = sample.probability[:, positive], sample.target == positive
    if weights is None:
        return sweep(score, is_positive)
    return sweep(score, is_positive, sample.unit, weights, MAX_THRESHOLDS)


def _sizes(sample: Sample, positive: int) -> tuple[int, int]:
    is_positive = sample.target == positive
    return len(np.unique(sample.unit[is_positive])), len(np.unique(sample.unit[~is_positive]))


def unique_sizes(folds: Sequence[Measured], positive: int = 1) -> list[tuple[int, int]]:
    """Return (positives, negatives) of each fold in patients; one tested in several folds counts in the first."""
    counted_units: set[int] = set()
    sizes = []
    for fold in folds:
        units = fold.sample.unit.tolist()
        sizes.append(
            _sizes(fold.sample.where(np.array([unit not in counted_units for unit in units], dtype=bool)), positive)
        )
        counted_units |= set(units)
    return sizes


def confusion(folds: Sequence[Measured], classes: int) -> list[list[int]]:
    """Return counts by true (rows) and decided class (columns), each fold at its own operating point."""
    matrix = np.zeros((classes, classes), int)
    for fold in folds:
        np.add.at(matrix, (fold.sample.target, fold.decision), 1)
    return [[int(count) for count in row] for row in matrix]
