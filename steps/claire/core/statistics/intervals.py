"""95 % intervals: percentiles of the bootstrap, and closed forms for cases in which all replicates are equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t

from claire.core.statistics import FloatArray

CONFIDENCE = 0.95
Z = 1.959963984540054
Limits = tuple[float, float]
NONE: Limits = (float("nan"), float("nan"))


def bootstrap_weights(strata: Sequence[object], samples: int, seed: int) -> FloatArray:
    """Draw patients with replacement within each stratum; return their weights in each sample, (samples, patients).

    `strata` (patients,) holds the stratum of each patient. Of a stratum's m patients m − 1 are drawn and count
    m/(m − 1) times (Rao & Wu 1988): drawing m would make intervals too narrow by √((m − 1)/m), which matters in small
    strata. A lone patient always counts once. The same seed and strata give the same draws.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones((samples, len(strata)))
    names = np.array([repr(stratum) for stratum in strata])
    for name in np.unique(names):
        (members,) = np.nonzero(names == name)
        size = len(members)
        if size > 1:
            weights[:, members] = rng.multinomial(size - 1, np.full(size, 1 / size), samples) * (size / (size - 1))
    return weights


def by_patient(values: FloatArray, patients: Sequence[object] | NDArray[Any]) -> FloatArray:
    """Return the mean of each patient's scans, (patients, …) from (scans, …), in the sorted order of `patients`."""
    names, row = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, row, values)
    counts = np.bincount(row, minlength=len(names)).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(sums / counts)


def percentile(replicates: FloatArray) -> Limits:
    """Return the 2.5th and 97.5th percentile of the finite replicates; NaN if fewer than half are finite."""
    finite = replicates[np.isfinite(replicates)]
    if 2 * len(finite) < max(len(replicates), 1) or not len(finite):
        return NONE
    lower, upper = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(lower), float(upper)


def wilson(share: float, n: float) -> Limits:
    """Return Wilson's interval (1927) of a share among `n`: its width is positive also at 0 and 1. NaN for n = 0."""
    if not n > 0 or not math.isfinite(share):
        return NONE
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(hits: int, n: int) -> Limits:
    """Return the exact interval of a share (Clopper & Pearson 1934): it covers at least 95 %. NaN for n = 0."""
    if n == 0:
        return NONE
    tail = (1 - CONFIDENCE) / 2
    lower = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    return lower, float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0


def woolf(tp: float, fp: float, fn: float, tn: float) -> Limits:
    """Return Woolf's interval (1955) of the Haldane–Anscombe odds ratio."""
    cells = np.array([tp, fp, fn, tn]) + 0.5
    middle, half = math.log(cells[0] * cells[3] / (cells[1] * cells[2])), Z * math.sqrt(np.sum(1 / cells))
    return math.exp(middle - half), math.exp(middle + half)


def newcombe(area: float, sizes: Sequence[tuple[int, int]]) -> Limits:
    """Return Newcombe's score interval of an AUC (method 5, Stat Med 2006), with a width also at 1; NaN without pairs.

    `sizes` are (positives, negatives) of each fold; folds weigh as their pairs do.
    """
    pairs = [m * n for m, n in sizes]
    if not sum(pairs) or not math.isfinite(area):
        return NONE
    shares = [(p / sum(pairs), m, n) for p, (m, n) in zip(pairs, sizes, strict=True) if p]

    def excess(theta: float) -> float:
        spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = sum(w**2 * theta * (1 - theta) / (m * n) * (1 + ((m + n) / 2 - 1) * spread) for w, m, n in shares)
        return (area - theta) ** 2 - Z**2 * variance

    return _root(excess, area, 0.0), _root(excess, area, 1.0)


def delong(area: float, variance: float) -> Limits:
    """Return the normal interval of an AUC from its DeLong variance, clipped at 0 and 1."""
    if not math.isfinite(variance):
        return NONE
    half = Z * math.sqrt(variance)
    return max(0.0, area - half), min(1.0, area + half)


def delong_logit(below: FloatArray, above: FloatArray) -> Limits:
    """Return the interval of an AUC from DeLong's components (see `ranking.placements`), symmetric in its logit.

    The logit keeps it inside 0 and 1 and covering near 1 (Pepe 2003, section 5.2); the quantile is Student's, with
    the degrees of freedom of Brunner & Munzel (Biom J 2000), for the few patients of the smaller class. NaN with fewer
    than two items of a class, and where the components do not vary, as under perfect separation.
    """
    if min(len(below), len(above)) < 2:
        return NONE
    area, parts = float(below.mean()), [(float(np.var(c, ddof=1)) / len(c), len(c) - 1) for c in (below, above)]
    variance = sum(part for part, _ in parts)
    if not variance > 0 or not 0 < area < 1:
        return NONE
    freedom = variance**2 / sum(part**2 / count for part, count in parts)
    return on_logit(area, float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance))


def on_logit(area: float, half: float) -> Limits:
    """Return the limits of an AUC strictly inside 0 and 1 that are area ± half as a normal interval, on its logit.

    By the delta method; the limits stay inside 0 and 1.
    """
    width, middle = half / (area * (1 - area)), math.log(area / (1 - area))
    return 1 / (1 + math.exp(width - middle)), 1 / (1 + math.exp(-width - middle))


def difference_limits(value: float, limits: Limits, other: float, other_limits: Limits) -> Limits:
    """Return the interval of `value` − `other`, figures of two independent samples, from the interval of each.

    The distances of their limits are squared and added (MOVER: Zou & Donner, Stat Med 2008; for shares Newcombe's
    method 10, Stat Med 1998), so it is as asymmetric as they are, and covers where they do. NaN without an interval.
    """
    if not all(map(math.isfinite, (value, other, *limits, *other_limits))):
        return NONE
    below = math.hypot(value - limits[0], other_limits[1] - other)
    above = math.hypot(limits[1] - value, other - other_limits[0])
    return value - other - below, value - other + above


def _root(function: Callable[[float], float], inside: float, outside: float) -> float:
    """Bisect between `inside`, where the function is not positive, and `outside`; return `outside` without a root."""
    if function(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if function(middle) <= 0 else (inside, middle)
    return (inside + outside) / 2
