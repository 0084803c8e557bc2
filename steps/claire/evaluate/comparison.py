"""Differences between variants: p values, their correction, ranks, and the price of having chosen the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from claire.core.statistics.intervals import NONE, Limits, percentile


def normal_p(difference: float, variance: float) -> float:
    """Return the two-sided p of a difference with a normal error; NaN where the variance is unknown or 0."""
    if not math.isfinite(variance) or not math.isfinite(difference):
        return float("nan")
    if variance <= 0:
        return 1.0 if difference == 0 else float("nan")
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def bootstrap_p(replicates: np.ndarray) -> float:
    """Return the two-sided p of replicates of a difference: twice the smaller share beyond 0, never 0 itself."""
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return float("nan")
    rarer = min(np.sum(finite <= 0), np.sum(finite >= 0))
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(finite))))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm (1979); NaN stays NaN and does not count."""
    known = [i for i, value in enumerate(values) if math.isfinite(value)]
    adjusted, running = [float("nan")] * len(values), 0.0
    for place, i in enumerate(sorted(known, key=lambda i: values[i])):
        running = max(running, min(1.0, (len(known) - place) * values[i]))
        adjusted[i] = running
    return adjusted


def ranks(replicates: np.ndarray) -> list[Limits]:
    """Return the 95 % limits of each row's rank (1 = highest) over the columns of `replicates` (variants, samples).

    Of tied rows each may be the first or the last of them, so that ties widen the limits.
    """
    from scipy.stats import rankdata

    falling = -np.nan_to_num(replicates, nan=-1.0)
    best, worst = (rankdata(falling, method=method, axis=0) for method in ("min", "max"))
    return [(percentile(first)[0], percentile(last)[1]) for first, last in zip(best, worst, strict=True)]


def corrected(selection: np.ndarray, outside: np.ndarray) -> tuple[float, Limits]:
    """Return what the variant that is best in a bootstrap sample reaches outside that sample: mean and percentiles.

    Bootstrap bias corrected cross-validation (Tsamardinos 2018). Both arrays are (variants, samples): what the choice
    goes by within each sample, and what each variant reaches on those left out of it. Of ties the first row is chosen:
    give the rows in the order of the choice. NaN where nothing is known.
    """
    usable = np.any(np.isfinite(selection), axis=0)
    best = np.argmax(np.where(np.isfinite(selection), selection, -np.inf), axis=0)
    reached = outside[best, np.arange(selection.shape[1])][usable]
    if not np.isfinite(reached).any():
        return float("nan"), NONE
    return float(np.nanmean(reached)), percentile(reached)
