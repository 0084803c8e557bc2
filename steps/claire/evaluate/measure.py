"""Figures of one predictor: sums over patients that add up over folds, then every metric with its interval.

No score of one fold is ever compared with a score of another: ranking is counted in pairs within folds, decisions in
confusion counts at each fold's own operating point, losses as sums over patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from claire.core.contracts.metrics import METRICS, Figure, Figures
from claire.core.statistics.decisions import (
    brier_scores,
    decide,
    log_losses,
    operating_points,
    predictive_values,
    rates,
)
from claire.core.statistics.intervals import NONE, Limits, delong, newcombe, percentile, wilson, woolf
from claire.core.statistics.ranking import (
    MAX_THRESHOLDS,
    Sweep,
    placement_variance,
    placements,
    positive_classes,
    sweep,
)
from claire.evaluate.inputs import Sample

SHARES = {"precision": ("tp", "fp"), "recall": ("tp", "fn"), "sensitivity": ("tp", "fn"), "specificity": ("tn", "fp")}
COUNTS = ("tp", "fp", "fn", "tn")
LIMITS = ("lower", "upper")
Sums = dict[str, np.ndarray]


@dataclass(frozen=True)
class Measured:
    """Sums of one fold: each array is (1 + samples,), first the data themselves, then the bootstrap samples.

    `thresholds` are the operating points (two classes), `decision` (n,) the decided classes at the first, `sizes` the
    patients (positive, negative) by positive class.
    """

    sample: Sample
    thresholds: tuple[float, float] | None
    decision: np.ndarray
    sums: Sums
    sizes: Mapping[int, tuple[int, int]]


def thresholds(validation: Sample | None) -> tuple[float, float] | None:
    """Return the operating points chosen on validation; None for more than two classes: the likeliest is decided."""
    if validation is None:
        return operating_points(np.zeros(0), np.zeros(0, bool))
    if validation.probability.shape[1] > 2:
        return None
    return operating_points(validation.probability[:, 1], validation.target == 1)


def measure(sample: Sample, points: tuple[float, float] | None, weights: np.ndarray) -> Measured:
    """Sum up one fold for the data and for every bootstrap sample of `weights` (samples, patients)."""
    decisions = [decide(sample.probability, point) for point in points or (None,)]
    itself, replicates = _sums(sample, decisions, None), _sums(sample, decisions, weights)
    sums = {name: np.concatenate([itself[name], replicates[name]]) for name in itself}
    sizes = {c: _sizes(sample, c) for c in positive_classes(sample.probability.shape[1])}
    return Measured(sample, points, decisions[0], sums, sizes)


def _sizes(sample: Sample, positive: int) -> tuple[int, int]:
    return (
        len(np.unique(sample.unit[sample.target == positive])),
        len(np.unique(sample.unit[sample.target != positive])),
    )


def _sums(sample: Sample, decisions: Sequence[np.ndarray], weights: np.ndarray | None) -> Sums:
    """Return the sums of the data themselves, (1,), or of each bootstrap sample, (samples,)."""
    items = {
        "n": np.ones(len(sample.target)),
        "correct": (decisions[0] == sample.target).astype(float),
        "log_loss": log_losses(sample.probability, sample.target),
        "brier": brier_scores(sample.probability, sample.target),
    }
    result: Sums = {}
    for c in positive_classes(sample.probability.shape[1]):
        positive = sample.target == c
        for point, decision in enumerate(decisions):
            items |= {f"{c}/{point}/{name}": cell for name, cell in _confusion(positive, decision == c).items()}
        swept = swept_over(sample, c, weights)
        result[f"{c}/pairs"], result[f"{c}/concordant"] = swept.pairs, swept.concordant()
        result[f"{c}/gain"] = np.nan_to_num(swept.auprg()) * swept.pairs
    units, row = np.unique(sample.unit, return_inverse=True)
    table = np.column_stack([np.bincount(row, weights=column, minlength=len(units)) for column in items.values()])
    drawn = np.ones((1, len(units))) if weights is None else weights[:, units]
    return result | dict(zip(items, (drawn @ table).T, strict=True))


def swept_over(sample: Sample, positive: int, weights: np.ndarray | None) -> Sweep:
    """Sweep the threshold for one positive class: over the data themselves, exactly, or over every bootstrap sample."""
    score, is_positive = sample.probability[:, positive], sample.target == positive
    if weights is None:
        return sweep(score, is_positive)
    return sweep(score, is_positive, sample.unit, weights, MAX_THRESHOLDS)


def _confusion(positive: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
    cells = (positive & called, ~positive & called, positive & ~called, ~positive & ~called)
    return {name: cell.astype(float) for name, cell in zip(COUNTS, cells, strict=True)}


def figures(folds: Sequence[Measured], prevalence: float, point: int = 0) -> Figures:
    """Return every metric of the folds together, as {value, lower, upper, method where it is no bootstrap percentile}.

    For more than two classes, all but accuracy, log loss and Brier are means over the classes, each against the rest,
    and there are no predictive values.
    `point` chooses the operating point: 0 Youden, 1 sensitivity of at least 0.90.
    """
    if not folds:
        return {name: figure(float("nan")) for name in METRICS}
    total = {name: np.sum([fold.sums[name] for fold in folds], axis=0) for name in folds[0].sums}
    positives = sorted(folds[0].sizes)
    values = [_of_class(total, c, prevalence, point) for c in positives]
    with np.errstate(invalid="ignore", divide="ignore"):
        merged = {name: np.mean([value[name] for value in values], axis=0) for name in values[0]}
        correct = total["correct"] if point == 0 else total["1/1/tp"] + total["1/1/tn"]
        merged |= {"accuracy": correct / total["n"]}
        merged |= {name: total[name] / total["n"] for name in ("log_loss", "brier")}
    measured = {name: figure(merged[name][0], percentile(merged[name][1:])) for name in METRICS}
    if len(positives) == 1:
        _replace_degenerate(measured, folds, total, prevalence, point)
    else:  # one prevalence cannot be that of every class
        measured |= {name: figure(float("nan")) for name in ("ppv", "npv")}
    return measured


def _of_class(total: Sums, c: int, prevalence: float, point: int) -> Sums:
    with np.errstate(invalid="ignore", divide="ignore"):
        area, gain = total[f"{c}/concordant"] / total[f"{c}/pairs"], total[f"{c}/gain"] / total[f"{c}/pairs"]
    return {"auc": area, "auprg": gain} | rates(*(total[f"{c}/{point}/{name}"] for name in COUNTS), prevalence)


def figure(value: float, limits: Limits = NONE, method: str = "") -> Figure:
    """Return a figure as it stands in the documents; what is not a number is None, six decimals are kept."""
    return Figure(value=number(value), lower=number(limits[0]), upper=number(limits[1]), method=method)


def number(value: float) -> float | None:
    """Return a number with six decimals, None where it is none."""
    return round(float(value), 6) if math.isfinite(value) else None


def _is_degenerate(estimate: Figure) -> bool:
    return estimate.value is not None and estimate.lower == estimate.upper


def _replace_degenerate(
    measured: Figures, folds: Sequence[Measured], total: Sums, prevalence: float, point: int
) -> None:
    """Put an honest interval where all bootstrap samples agree, as under perfect separation."""
    sizes = unique_sizes(folds)
    counts = {name: float(total[f"1/{point}/{name}"][0]) for name in COUNTS}
    patients = {"tp": sum(m for m, _ in sizes), "tn": sum(n for _, n in sizes)}
    everyone = patients["tp"] + patients["tn"]
    if _is_degenerate(measured["auc"]):
        measured["auc"] = auc_figure(folds)
    if _is_degenerate(measured["auprg"]):
        measured["auprg"] = _with_limits(measured["auprg"], NONE, "none")
    if _is_degenerate(measured["accuracy"]):
        measured["accuracy"] = _with_wilson(measured["accuracy"], everyone)
    for name, (right, wrong) in SHARES.items():
        if _is_degenerate(measured[name]):
            most = everyone if name == "precision" else patients[right]
            measured[name] = _with_wilson(measured[name], min(counts[right] + counts[wrong], most))
    if _is_degenerate(measured["odds_ratio"]):
        limits = woolf(*(counts[name] for name in COUNTS))
        measured["odds_ratio"] = _with_limits(measured["odds_ratio"], limits, "woolf")
    _replace_combined(measured, prevalence)


def _with_limits(estimate: Figure, limits: Limits, method: str) -> Figure:
    return figure(_value(estimate), limits, method)


def _with_wilson(estimate: Figure, n: float) -> Figure:
    return _with_limits(estimate, wilson(_value(estimate), n), "wilson")


def _value(estimate: Figure) -> float:
    return float("nan") if estimate.value is None else estimate.value


def _replace_combined(measured: Figures, prevalence: float) -> None:
    """Combine the limits of precision, recall and specificity into those of F1, PPV and NPV, where these degenerate."""
    ends = [[getattr(measured[name], end) for name in ("precision", "recall", "specificity")] for end in LIMITS]
    if any(value is None for end in ends for value in end):
        return
    if _is_degenerate(measured["f1"]):
        lower, upper = (2 * p * r / (p + r) if p + r else 0.0 for p, r, _ in ends)
        measured["f1"] = _with_limits(measured["f1"], (lower, upper), "wilson")
    predictive = [predictive_values(np.array(r), np.array(s), prevalence) for _, r, s in ends]
    for index, name in enumerate(("ppv", "npv")):
        if _is_degenerate(measured[name]):
            lower, upper = (float(end[index]) for end in predictive)
            measured[name] = _with_limits(measured[name], (lower, upper), "wilson")


def auc_figure(folds: Sequence[Measured]) -> Figure:
    """Return the AUC of the folds together; of two classes with Newcombe's interval where all samples agree."""
    area = combined_auc(*auc_parts(folds))
    estimate = figure(area[0], percentile(area[1:]))
    if _is_degenerate(estimate) and len(folds[0].sizes) == 1:
        return figure(area[0], newcombe(area[0], unique_sizes(folds)), "newcombe")
    return estimate


def unique_sizes(folds: Sequence[Measured], positive: int = 1) -> list[tuple[int, int]]:
    """Return (positives, negatives) of each fold in patients; one tested in several folds counts in the first."""
    seen: set[int] = set()
    sizes = []
    for fold in folds:
        fresh = fold.sample.where(np.array([unit not in seen for unit in fold.sample.unit.tolist()], dtype=bool))
        seen |= set(fold.sample.unit.tolist())
        sizes.append(_sizes(fresh, positive))
    return sizes


def delong_limits(folds: Sequence[Measured]) -> Limits:
    """Return DeLong's interval of the AUC of two classes: within folds, combined by pairs.

    NaN where folds share patients, where a class has one patient in a fold, and under perfect separation.
    """
    if unique_sizes(folds) != [fold.sizes[1] for fold in folds]:
        return NONE
    mixed = [(fold, fold.sizes[1]) for fold in folds if 0 not in fold.sizes[1]]
    total = sum(m * n for _, (m, n) in mixed)
    area = variance = 0.0
    for fold, (m, n) in mixed:
        below, above = placements(fold.sample.probability[:, 1], fold.sample.target == 1)
        area += m * n / total * float(below.mean())
        variance += (m * n / total) ** 2 * placement_variance(below, above)
    return delong(area, variance) if variance > 0 else NONE


def confusion(folds: Sequence[Measured], classes: int) -> list[list[int]]:
    """Return counts by true (rows) and decided class (columns), each fold at its own operating point."""
    matrix = np.zeros((classes, classes), int)
    for fold in folds:
        np.add.at(matrix, (fold.sample.target, fold.decision), 1)
    return matrix.tolist()


def ranked(sample: Sample, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return concordant and all pairs of one fold, each (positive classes, 1 + samples): what an AUC is made of."""
    ranked_by_class = []
    for c in positive_classes(sample.probability.shape[1]):
        itself, replicates = swept_over(sample, c, None), swept_over(sample, c, weights)
        ranked_by_class.append(
            (
                np.concatenate([itself.concordant(), replicates.concordant()]),
                np.concatenate([itself.pairs, replicates.pairs]),
            )
        )
    concordant, pairs = zip(*ranked_by_class, strict=True)
    return np.array(concordant), np.array(pairs)


def auc_parts(folds: Sequence[Measured]) -> tuple[np.ndarray, np.ndarray]:
    """Return concordant and all pairs of measured folds, each (folds, positive classes, 1 + samples)."""
    kinds = [
        np.array([[fold.sums[f"{c}/{name}"] for c in sorted(fold.sizes)] for fold in folds])
        for name in ("concordant", "pairs")
    ]
    return kinds[0], kinds[1]


def combined_auc(concordant: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the AUC over folds from such pairs, (1 + samples,): within a class, then the mean over the classes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.mean(concordant.sum(axis=0) / pairs.sum(axis=0), axis=0)
