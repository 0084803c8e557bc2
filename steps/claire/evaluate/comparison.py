"""Differences between variants: p values, their correction, ranks, and the correction for having chosen the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from claire.core.statistics import FloatArray
from claire.core.statistics.intervals import NONE, Limits, percentile


def normal_p(difference: float, variance: float) -> float:
    """Return the two-sided p of a difference with a normal error; NaN where the variance is unknown or 0."""
    if not math.isfinite(variance) or not math.isfinite(difference):
        return float("nan")
    if variance <= 0:
        return 1.0 if difference == 0 else float("nan")
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def bootstrap_p(replicates: FloatArray) -> float:
    """Return the two-sided p of replicates of a difference: twice the smaller share beyond 0, never 0 itself."""
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return float("nan")
    rarer = min(np.sum(finite <= 0), np.sum(finite >= 0))
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(finite))))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm (1979); NaN stays NaN and does not count."""
    finite = [i for i, value in enumerate(values) if math.isfinite(value)]
    adjusted, largest = [float("nan")] * len(values), 0.0
    for step, i in enumerate(sorted(finite, key=lambda i: values[i])):
        largest = max(largest, min(1.0, (len(finite) - step) * values[i]))
        adjusted[i] = largest
    return adjusted


def rank_limits(replicates: FloatArray) -> list[Limits]:
    """Return the 95 % limits of each row's rank (1 = highest) over the columns of `replicates` (variants, samples).

    Of tied rows each may be the first or the last of them, so that ties widen the limits.
    """
    descending = -np.nan_to_num(replicates, nan=-1.0)
    best, worst = rankdata(descending, method="min", axis=0), rankdata(descending, method="max", axis=0)
    return [(percentile(first)[0], percentile(last)[1]) for first, last in zip(best, worst, strict=True)]


def corrected(selection: FloatArray, outside: FloatArray) -> tuple[float, Limits]:
    """Return the AUC that the variant chosen in a bootstrap sample has outside that sample: mean and percentiles.

    Bootstrap bias corrected cross-validation (Tsamardinos 2018). Both arrays are (variants, samples): the AUC that the
    choice is based on within each sample, and the AUC of each variant on the patients left out of it. Of ties the first
    row is chosen: sort the rows by the order of the choice. NaN where no sample has an AUC.
    """
    usable = np.any(np.isfinite(selection), axis=0)
    best = np.argmax(np.where(np.isfinite(selection), selection, -np.inf), axis=0)
    chosen = outside[best, np.arange(selection.shape[1])][usable]
    if not np.isfinite(chosen).any():
        return float("nan"), NONE
    return float(np.nanmean(chosen)), percentile(chosen)
