"""Ranking by scores: AUC, DeLong, precision-recall gain, curves; also for all bootstrap samples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from claire.core.statistics import BoolArray, FloatArray, IntArray

#: Thresholds at which bootstrap replicates are swept at most; more would change the third digit of an interval's limit.
MAX_THRESHOLDS = 400


@dataclass(frozen=True)
class Sweep:
    """Counts while the threshold falls: `tp` and `fp` (samples, thresholds + 1), the first column 0, the last all.

    A row is a sample: the data themselves, or a bootstrap replicate. Tied scores fall together.
    """

    tp: FloatArray
    fp: FloatArray

    @property
    def pairs(self) -> FloatArray:
        """Number of (positive, negative) pairs of each sample, (samples,)."""
        return np.asarray(self.tp[:, -1] * self.fp[:, -1])

    def concordant(self) -> FloatArray:
        """Return the concordant pairs, ties counting half, (samples,); divided by `pairs` it is the AUC."""
        return np.asarray(np.sum(np.diff(self.fp) * (self.tp[:, 1:] + self.tp[:, :-1]) / 2, axis=1))

    def auprg(self) -> FloatArray:
        """Return the area under the precision-recall-gain curve, (samples,); NaN if a class is missing.

        Flach & Kull, NeurIPS 2015. Between two thresholds both gains are linear in 1/TP, so the trapezoids are exact.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            positives, negatives = self.tp[:, -1:], self.fp[:, -1:]
            ratio = positives / negatives
            start = positives**2 / (positives + negatives)
            before, after = self.tp[:, :-1], self.tp[:, 1:]
            step = after - before
            slope = np.divide(np.diff(self.fp), step, out=np.zeros_like(step), where=step > 0)
            low, high = np.maximum(before, start), np.maximum(after, start)
            fp_low, fp_high = self.fp[:, :-1] + slope * (low - before), self.fp[:, 1:] + slope * (high - after)
            width = ratio * (positives - low) / low - ratio * (positives - high) / high
            height = 1 - ratio * (fp_low / low + fp_high / high) / 2
            return np.where(self.pairs > 0, np.sum(width * height, axis=1), np.nan)

    def roc(self, grid: FloatArray) -> FloatArray:
        """Return the true positive rate at the false positive rates of `grid`, (samples, grid); NaN without pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _interpolate(grid, self.fp / self.fp[:, -1:], self.tp / self.tp[:, -1:])

    def false_positives(self, recall: FloatArray) -> FloatArray:
        """Return the fewest false positives that reach each recall of the grid, (samples, grid).

        Interpolated along the ROC curve, as precision is not linear in recall (Davis & Goadrich, ICML 2006).
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            # Just below the recall, so that the highest of several thresholds with the same recall counts.
            return _interpolate(recall - 1e-9, self.tp / self.tp[:, -1:], self.fp)


def sweep(
    score: FloatArray,
    positive: BoolArray,
    unit: IntArray | None = None,
    weights: FloatArray | None = None,
    max_thresholds: int | None = None,
) -> Sweep:
    """Sweep the threshold over `score` (n,) with labels `positive` (n,) for each sample of `weights`.

    `unit` (n,) is the resampled unit (patient) of each item: a column of `weights` (samples, units), which holds the
    weight of each unit in each sample. Without them there is one sample, the data. With more than `max_thresholds`
    different scores, neighbouring ones are tied.
    """
    values, group = np.unique(-np.asarray(score, float), return_inverse=True)
    count = len(values)
    if max_thresholds is not None and count > max_thresholds:
        group, count = group * max_thresholds // count, max_thresholds
    if unit is None or weights is None:
        unit, weights = np.zeros(len(group), np.int64), np.ones((1, 1))
    units, row = np.unique(unit, return_inverse=True)
    shape = (len(units), count)
    flat = row * count + group
    is_positive = np.asarray(positive, float)
    true_positives, false_positives = (
        np.bincount(flat, weights=of_class, minlength=shape[0] * count).reshape(shape).cumsum(axis=1)
        for of_class in (is_positive, 1.0 - is_positive)
    )
    sample_weights = weights[:, units]
    start = np.zeros((len(sample_weights), 1))
    return Sweep(
        np.hstack([start, sample_weights @ true_positives]), np.hstack([start, sample_weights @ false_positives])
    )


def auc(score: FloatArray, positive: BoolArray) -> float:
    """Return the area under the ROC curve, ties counting half; NaN if a class is missing."""
    swept = sweep(score, positive)
    return float(swept.concordant()[0] / swept.pairs[0]) if len(score) and swept.pairs[0] else float("nan")


def positive_classes(classes: int) -> list[int]:
    """Return the classes that count as positive: class 1 of two, each in turn of more."""
    return [1] if classes == 2 else list(range(classes))


def macro_auc(probability: FloatArray, target: IntArray) -> float:
    """Return the AUC of class 1, or the mean over more than two classes, each against the rest; NaN without a class.

    `probability` (n, classes), `target` (n,) class indices.
    """
    classes = positive_classes(probability.shape[1])
    return float(np.mean([auc(probability[:, c], target == c) for c in classes]))


def placements(score: FloatArray, positive: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return DeLong's components: negatives below each positive, positives above each negative, as shares.

    Both means are the AUC; their variances give its variance (DeLong 1988, by midranks as in Sun & Xu 2014).
    """
    positive = np.asarray(positive, bool)
    ranks = midranks(score)
    positives, negatives = score[positive], score[~positive]
    below = (ranks[positive] - midranks(positives)) / max(len(negatives), 1)
    above = 1 - (ranks[~positive] - midranks(negatives)) / max(len(positives), 1)
    return below, above


def placement_variance(below: FloatArray, above: FloatArray) -> float:
    """Return DeLong's variance of an AUC (of a difference, for differences of components).

    NaN with fewer than two items of a class.
    """
    if len(below) < 2 or len(above) < 2:
        return float("nan")
    return float(np.var(below, ddof=1) / len(below) + np.var(above, ddof=1) / len(above))


def midranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1, tied values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _interpolate(grid: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Interpolate all rows at once: each is shifted to a separate interval of length 2 on one axis."""
    usable = np.all(np.isfinite(x), axis=1) & np.all(np.isfinite(y), axis=1)
    result = np.full((len(x), len(grid)), np.nan)
    if usable.any():
        shift = 2.0 * np.arange(usable.sum())[:, None]
        flat = np.interp((grid + shift).ravel(), (x[usable] + shift).ravel(), y[usable].ravel())
        result[usable] = flat.reshape(-1, len(grid))
    return result
