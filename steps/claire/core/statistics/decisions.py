"""Decisions: operating points chosen on validation, the decision rule, and metrics of the four counts."""

from __future__ import annotations

import math

import numpy as np

from claire.core.statistics import BoolArray, FloatArray, IntArray
from claire.core.statistics.ranking import sweep

#: The second operating point: at least this share of validation positives is detected.
TARGET_SENSITIVITY = 0.90
DEFAULT_THRESHOLD = 0.5


def operating_points(score: FloatArray, positive: BoolArray) -> tuple[float, float]:
    """Return two thresholds of scores (n,): Youden's (1950), and the highest that detects 90 % of the positives.

    Positive means score ≥ threshold. Thresholds lie half-way between neighbouring scores, so that they carry over to
    other patients; of equal ones the nearest to 0.5 is taken. Without both classes, both are 0.5.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return DEFAULT_THRESHOLD, DEFAULT_THRESHOLD
    values = np.unique(score)[::-1]
    thresholds = np.append((values[:-1] + values[1:]) / 2, min(0.0, values[-1]))
    swept = sweep(score, positive)
    sensitivity, false_positive_rate = swept.tp[0, 1:] / positive.sum(), swept.fp[0, 1:] / (~positive).sum()
    youden = sensitivity - false_positive_rate
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    nearest = best[np.argmin(np.abs(thresholds[best] - DEFAULT_THRESHOLD))]
    return float(thresholds[nearest]), float(thresholds[np.argmax(sensitivity >= TARGET_SENSITIVITY - 1e-12)])


def chosen_points(probability: FloatArray, target: IntArray) -> tuple[float, float] | None:
    """Return the operating points chosen on validation items: probabilities (n, classes), class indices (n,).

    None for more than two classes: the likeliest is decided.
    """
    if probability.shape[1] > 2:
        return None
    return operating_points(probability[:, 1], target == 1)


def decide(probability: FloatArray, operating_point: float | None) -> IntArray:
    """Return the decided class of probabilities (…, classes): the only decision rule of the pipeline.

    Of two classes: the positive one if its probability reaches the operating point. Without an operating point,
    as always with more than two classes: the likeliest, the first of equals. Raises ValueError on an operating point
    for more than two classes.
    """
    if operating_point is None:
        return np.asarray(probability.argmax(-1))
    if probability.shape[-1] != 2:
        raise ValueError(f"{probability.shape[-1]} classes have no operating point: the likeliest class is called")
    return np.asarray(probability[..., 1] >= operating_point, np.int64)


def positive_score(probability: FloatArray) -> FloatArray:
    """Return 1 − p of the reference (class 0), (…,) from (…, classes)."""
    return np.asarray(probability[..., 1:].sum(-1))


def rates(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray, prevalence: float) -> dict[str, FloatArray]:
    """Return the metrics of decisions from their counts: odds ratio by Haldane–Anscombe, PPV and NPV at `prevalence`.

    The names are those of `contracts.metrics.METRICS`. All are arrays of the shape of the counts; NaN if a
    denominator is 0.
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
    sensitivity: FloatArray, specificity: FloatArray, prevalence: float
) -> tuple[FloatArray, FloatArray]:
    """Return positive and negative predictive value at a stated prevalence (Bayes)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tp, fp = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        tn, fn = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        return tp / (tp + fp), tn / (tn + fn)


def log_losses(probability: FloatArray, target: IntArray) -> FloatArray:
    """Return −ln of the probability of each item's true class, (n,) from (n, classes); clipped at 1e-15."""
    return np.asarray(-np.log(np.clip(probability[np.arange(len(target)), target], 1e-15, 1)))


def brier_scores(probability: FloatArray, target: IntArray) -> FloatArray:
    """Return Brier's score (1950) of each item, (n,): for two classes (p − y)², for more the sum over classes."""
    truth = np.eye(probability.shape[1])[target]
    squares = (probability - truth) ** 2
    return np.asarray(squares[:, 1] if probability.shape[1] == 2 else squares.sum(axis=1))


def logit(probability: FloatArray) -> FloatArray:
    """Return ln(p / (1 − p)), with p clipped at 1e-7 so that it stays finite."""
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def learned_share(class_weights: bool, share: float) -> float:
    """Return the share of positives that a network learned as its prior: one half under class weights, else `share`."""
    return 0.5 if class_weights else share


def shift_prior(probability: FloatArray, training: float, target: float) -> FloatArray:
    """Correct probabilities for the share of positives in a target population instead of in training (Saerens 2002).

    Unchanged where either share is 0 or 1.
    """
    if not (0 < training < 1 and 0 < target < 1):
        return probability
    shift = math.log(target / (1 - target)) - math.log(training / (1 - training))
    return np.asarray(1 / (1 + np.exp(-(logit(probability) + shift))))
