"""Whether probabilities mean what they say, and what acting on them is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from claire.core.statistics.decisions import logit
from claire.core.statistics.intervals import Limits, Z, wilson

BINS = 10


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % limits; NaN where there is none."""

    value: float
    limits: Limits


def calibration(probability: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> tuple[Estimate, Estimate] | None:
    """Return calibration slope and intercept with Wald limits; None where the logistic model has no solution.

    The slope (Cox 1958) is that of a logistic model of the label on the logit, with an intercept of its own for each
    fold; the intercept (calibration in the large) is that of a model whose slope is 1. Arrays are (n,). A perfect slope
    is 1, a perfect intercept 0.
    """
    x, y = logit(probability), np.asarray(positive, float)
    folds = (np.unique(fold)[None, :] == fold[:, None]).astype(float)
    mixed = [0 < y[column > 0].mean() < 1 for column in folds.T]
    inside = folds[:, mixed].any(axis=1)
    slope = _logistic(np.column_stack([x, folds[:, mixed]])[inside], y[inside], np.zeros(inside.sum()))
    large = _logistic(np.ones((len(x), 1)), y, x)
    return (slope, large) if slope and large else None


def _logistic(design: np.ndarray, y: np.ndarray, offset: np.ndarray) -> Estimate | None:
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


def reliability(probability: np.ndarray, positive: np.ndarray) -> list[tuple[float, float, Limits, int]]:
    """Mean probability, share of positives, its Wilson limits and n of each of ten equal bins (not of empty ones)."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    points = []
    for b in range(BINS):
        inside = place == b
        if inside.any():
            share, n = float(np.mean(positive[inside])), int(inside.sum())
            points.append((float(probability[inside].mean()), share, wilson(share, n), n))
    return points


def net_benefit(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float, threshold: float) -> np.ndarray:
    """Return the net benefit (Vickers & Elkin 2006) of treating above `threshold` at this prevalence."""
    odds = threshold / (1 - threshold)
    return sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * odds


def treat_all(prevalence: float, thresholds: Sequence[float]) -> list[float]:
    """Return the net benefit of treating everybody, at each threshold."""
    return [prevalence - (1 - prevalence) * t / (1 - t) for t in thresholds]
