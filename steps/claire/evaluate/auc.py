"""The AUC over folds: pairs are counted within folds and added up, so that folds weigh as their pairs do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from claire.core.statistics import FloatArray
from claire.core.statistics.intervals import NONE, Limits, delong
from claire.core.statistics.ranking import placement_variance, placements, positive_classes
from claire.evaluate.measure import Measured, sweep_class, unique_sizes
from claire.evaluate.samples import Sample

#: Concordant and all pairs: each (positive classes, 1 + samples) of one fold, (folds, …) of several.
Pairs = tuple[FloatArray, FloatArray]


def count_pairs(sample: Sample, weights: FloatArray) -> Pairs:
    """Return concordant and all pairs of one fold, for the data and for every bootstrap sample."""
    concordant, pairs = [], []
    for c in positive_classes(sample.probability.shape[1]):
        observed, replicates = sweep_class(sample, c, None), sweep_class(sample, c, weights)
        concordant.append(np.concatenate([observed.concordant(), replicates.concordant()]))
        pairs.append(np.concatenate([observed.pairs, replicates.pairs]))
    return np.array(concordant), np.array(pairs)


def stack_pairs(folds: Sequence[Pairs]) -> Pairs:
    """Return the pairs of all folds in one array each."""
    return np.array([concordant for concordant, _ in folds]), np.array([pairs for _, pairs in folds])


def measured_pairs(folds: Sequence[Measured]) -> Pairs:
    """Return concordant and all pairs of measured folds."""
    concordant, pairs = (
        np.array([[fold.sums[f"{c}/{name}"] for c in sorted(fold.sizes)] for fold in folds])
        for name in ("concordant", "pairs")
    )
    return concordant, pairs


def combined_auc(concordant: FloatArray, pairs: FloatArray) -> FloatArray:
    """Return the AUC over folds, (1 + samples,): within each positive class, then the mean over the classes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.mean(concordant.sum(axis=0) / pairs.sum(axis=0), axis=0))


def delong_limits(folds: Sequence[Measured]) -> Limits:
    """Return DeLong's interval of the AUC of two classes: within folds, combined by pairs.

    NaN where folds share patients, where a class has one patient in a fold, and under perfect separation.
    """
    if unique_sizes(folds) != [fold.sizes[1] for fold in folds]:
        return NONE
    with_pairs = [(fold, fold.sizes[1]) for fold in folds if 0 not in fold.sizes[1]]
    total = sum(m * n for _, (m, n) in with_pairs)
    area = variance = 0.0
    for fold, (m, n) in with_pairs:
        below, above = placements(fold.sample.probability[:, 1], fold.sample.target == 1)
        area += m * n / total * float(below.mean())
        variance += (m * n / total) ** 2 * placement_variance(below, above)
    return delong(area, variance) if variance > 0 else NONE
