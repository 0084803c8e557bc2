"""Decisions: operating points chosen on validation, and what four counts say."""

from __future__ import annotations

import math

import numpy as np

from claire.core.statistics.ranking import sweep

#: The second operating point: at least this share of validation positives is found.
TARGET_SENSITIVITY = 0.90
DEFAULT_THRESHOLD = 0.5


def operating_points(score: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Return two thresholds: Youden's (1950), and the highest that finds 90 % of the positives.

    Positive means score ≥ threshold. Thresholds lie half-way between neighbouring scores, so that they carry over to
    other patients; among equals the one nearest 0.5 is taken. Without both classes, both are 0.5.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return DEFAULT_THRESHOLD, DEFAULT_THRESHOLD
    values = np.unique(score)[::-1]
    thresholds = np.append((values[:-1] + values[1:]) / 2, min(0.0, values[-1]))
    swept = sweep(score, positive)
    found, false = swept.tp[0, 1:] / positive.sum(), swept.fp[0, 1:] / (~positive).sum()
    youden = found - false
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    nearest = best[np.argmin(np.abs(thresholds[best] - DEFAULT_THRESHOLD))]
    return float(thresholds[nearest]), float(thresholds[np.argmax(found >= TARGET_SENSITIVITY - 1e-12)])


def decide(probability: np.ndarray, operating_point: float | None) -> np.ndarray:
    """Return the decided class of probabilities (…, classes): the one rule of evaluation, saliency and report.

    With an operating point: the reference (class 0) unless the probability of all other classes together reaches it,
    then the likeliest of the others. Without one, as for more than two classes: the likeliest.
    """
    if operating_point is None:
        return probability.argmax(-1)
    return np.where(positive_score(probability) >= operating_point, 1 + probability[..., 1:].argmax(-1), 0)


def positive_score(probability: np.ndarray) -> np.ndarray:
    """Return the probability of anything but the reference (class 0), (…,) of (…, classes)."""
    return probability[..., 1:].sum(-1)


def rates(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, prevalence: float) -> dict[str, np.ndarray]:
    """Return the metrics of decisions from their counts: odds ratio by Haldane–Anscombe, PPV and NPV at `prevalence`.

    All are arrays of the shape of the counts; NaN where a denominator is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        ppv, npv = predictive_values(sensitivity, specificity, prevalence)
        return {
            "f1": 2 * tp / (2 * tp + fp + fn),
            "precision": tp / (tp + fp),
            "recall": sensitivity,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "odds_ratio": (tp + 0.5) * (tn + 0.5) / ((fp + 0.5) * (fn + 0.5)),
            "ppv": ppv,
            "npv": npv,
        }


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return positive and negative predictive value at a stated prevalence (Bayes)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        cleared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        return right / (right + wrong), cleared / (cleared + missed)


def log_losses(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return −ln of the probability given to the true class of each item, (n,); probabilities are cut at 1e-15."""
    return -np.log(np.clip(probability[np.arange(len(target)), target], 1e-15, 1))


def brier_scores(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return Brier's score (1950) of each item, (n,): for two classes (p − y)², for more the sum over classes."""
    truth = np.eye(probability.shape[1])[target]
    squares = (probability - truth) ** 2
    return squares[:, 1] if probability.shape[1] == 2 else squares.sum(axis=1)


def logit(probability: np.ndarray) -> np.ndarray:
    """Return ln(p / (1 − p)), with p cut at 1e-7 so that it stays finite."""
    cut = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.log(cut) - np.log1p(-cut)


def shift_prior(probability: np.ndarray, learned: float, wanted: float) -> np.ndarray:
    """Move probabilities from the share of positives that a network learned with to another (Saerens 2002).

    Unchanged where either share is 0 or 1.
    """
    if not (0 < learned < 1 and 0 < wanted < 1):
        return probability
    shift = math.log(wanted / (1 - wanted)) - math.log(learned / (1 - learned))
    return 1 / (1 + np.exp(-(logit(probability) + shift)))
