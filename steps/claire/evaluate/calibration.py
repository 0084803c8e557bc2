"""Calibration of probabilities, and the net benefit of acting on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claire.core.statistics import BoolArray, FloatArray
from claire.core.statistics.decisions import logit
from claire.core.statistics.intervals import Limits, Z, wilson

BINS = 10


@dataclass(frozen=True)
class Estimate:
    """A coefficient with its 95 % limits."""

    value: float
    limits: Limits


def calibration(probability: FloatArray, positive: BoolArray, fold: NDArray[Any]) -> tuple[Estimate, Estimate] | None:
    """Return calibration slope and intercept with Wald limits; None where the logistic model has no solution.

    The slope (Cox 1958) is that of a logistic model of the label on the logit, with an intercept of its own for each
    fold; the intercept (calibration in the large) is that of a model whose slope is 1. Arrays are (n,). A perfect slope
    is 1, a perfect intercept 0.
    """
    x, y = logit(probability), np.asarray(positive, float)
    folds = (np.unique(fold)[None, :] == fold[:, None]).astype(float)
    has_both_classes = [0 < y[column > 0].mean() < 1 for column in folds.T]
    usable = folds[:, has_both_classes].any(axis=1)
    slope = _logistic(np.column_stack([x, folds[:, has_both_classes]])[usable], y[usable], np.zeros(usable.sum()))
    intercept = _logistic(np.ones((len(x), 1)), y, x)
    return (slope, intercept) if slope and intercept else None


def _logistic(design: FloatArray, y: FloatArray, offset: FloatArray) -> Estimate | None:
    """Fit by Newton's method; return the first coefficient, None where it does not converge (separated classes)."""
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ beta + offset, -35, 35)))
        information = design.T @ (design * (p * (1 - p))[:, None])
        if not np.all(np.isfinite(information)) or np.linalg.cond(information) > 1e12:
            return None
        change = np.linalg.solve(information, design.T @ (y - p))
        beta = beta + np.clip(change, -5, 5)
        if np.max(np.abs(change)) < 1e-9:
            error = float(np.sqrt(np.linalg.inv(information)[0, 0]))
            return Estimate(float(beta[0]), (float(beta[0]) - Z * error, float(beta[0]) + Z * error))
    return None


def reliability(probability: FloatArray, positive: BoolArray) -> list[tuple[float, float, Limits]]:
    """Return mean probability, share of positives and its Wilson limits of each of ten equal bins that is not empty."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    points = []
    for number in np.unique(bins):
        members = bins == number
        share = float(np.mean(positive[members]))
        points.append((float(probability[members].mean()), share, wilson(share, int(members.sum()))))
    return points


def net_benefit(sensitivity: FloatArray, specificity: FloatArray, prevalence: float, threshold: float) -> FloatArray:
    """Return the net benefit (Vickers & Elkin 2006) of treating above `threshold` at this prevalence."""
    odds = threshold / (1 - threshold)
    return sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * odds


def treat_all(prevalence: float, thresholds: Sequence[float]) -> list[float]:
    """Return the net benefit of treating everybody, at each threshold."""
    return [prevalence - (1 - prevalence) * t / (1 - t) for t in thresholds]
