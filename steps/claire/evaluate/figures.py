"""Every metric over folds with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from claire.core.contracts.metrics import METRICS, Figure, Figures
from claire.core.statistics.decisions import predictive_values, rates
from claire.core.statistics.intervals import NONE, Limits, newcombe, percentile, wilson, woolf
from claire.evaluate.auc import combined_auc, measured_pairs
from claire.evaluate.measure import COUNTS, Measured, Sums, unique_sizes

LOSSES = ("log_loss", "brier")
#: Metrics whose limits follow from those of precision, recall and specificity.
COMBINED = ("f1", "ppv", "npv")
YOUDEN, SENSITIVE = 0, 1


def figures(folds: Sequence[Measured], prevalence: float) -> Figures:
    """Return every metric of the folds together.

    For more than two classes, all but accuracy, log loss and Brier are means over the classes, each against the rest,
    and there are no predictive values.
    """
    if not folds:
        return {name: figure(float("nan")) for name in METRICS}
    total = _total(folds)
    values = _ranking_values(total, sorted(folds[0].sizes)) | _losses(total)
    values |= _decision_values(total, sorted(folds[0].sizes), prevalence, YOUDEN)
    return _estimate(values, total, folds, prevalence, YOUDEN)


def decision_figures(folds: Sequence[Measured], prevalence: float) -> Figures:
    """Return the metrics of decisions at the operating point for a sensitivity of 0.90; two classes only."""
    total = _total(folds)
    return _estimate(_decision_values(total, [1], prevalence, SENSITIVE), total, folds, prevalence, SENSITIVE)


def _total(folds: Sequence[Measured]) -> Sums:
    return {name: np.sum([fold.sums[name] for fold in folds], axis=0) for name in folds[0].sums}


def _ranking_values(total: Sums, classes: Sequence[int]) -> Sums:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            metric: np.mean([total[f"{c}/{name}"] / total[f"{c}/pairs"] for c in classes], axis=0)
            for metric, name in (("auc", "concordant"), ("auprg", "gain"))
        }


def _losses(total: Sums) -> Sums:
    return {name: total[name] / total["n"] for name in LOSSES}


def _decision_values(total: Sums, classes: Sequence[int], prevalence: float, point: int) -> Sums:
    by_class = [rates(**_counts(total, c, point), prevalence=prevalence) for c in classes]
    values = {name: np.mean([value[name] for value in by_class], axis=0) for name in by_class[0]}
    if len(classes) > 1:  # one prevalence cannot be that of every class
        values |= {name: np.full_like(values[name], np.nan) for name in ("ppv", "npv")}
    correct = total["correct"] if point == YOUDEN else total[f"1/{point}/tp"] + total[f"1/{point}/tn"]
    return values | {"accuracy": correct / total["n"]}


def _counts(total: Sums, c: int, point: int) -> Sums:
    return {name: total[f"{c}/{point}/{name}"] for name in COUNTS}


def _estimate(values: Sums, total: Sums, folds: Sequence[Measured], prevalence: float, point: int) -> Figures:
    """Return values (1 + samples,) as figures in the order of METRICS, with closed-form limits where samples agree."""
    measured = {name: figure(values[name][0], percentile(values[name][1:])) for name in METRICS if name in values}
    if len(folds[0].sizes) == 1:
        counts = {name: float(count[0]) for name, count in _counts(total, 1, point).items()}
        _replace_degenerate(measured, folds, counts)
        _replace_combined(measured, prevalence)
    return measured


def figure(value: float, limits: Limits = NONE, method: str = "") -> Figure:
    """Return a figure as it stands in the documents: six decimals, None for what is not a finite number."""
    return Figure(value=number(value), lower=number(limits[0]), upper=number(limits[1]), method=method)


def number(value: float) -> float | None:
    """Return a number with six decimals, None where it is not finite."""
    return round(float(value), 6) if math.isfinite(value) else None


def auc_figure(folds: Sequence[Measured]) -> Figure:
    """Return the AUC of the folds together; of two classes with Newcombe's interval where all samples agree."""
    area = combined_auc(*measured_pairs(folds))
    estimate = figure(area[0], percentile(area[1:]))
    if _is_degenerate(estimate) and len(folds[0].sizes) == 1:
        return figure(area[0], newcombe(area[0], unique_sizes(folds)), "newcombe")
    return estimate


def _is_degenerate(estimate: Figure) -> bool:
    return estimate.value is not None and estimate.lower == estimate.upper


def _replace_degenerate(measured: Figures, folds: Sequence[Measured], counts: Mapping[str, float]) -> None:
    """Replace limits that coincide because all bootstrap samples agree, as under perfect separation.

    Losses keep theirs; a metric for which there is no closed form has no limits then.
    """
    trials = _trials(unique_sizes(folds), **counts)
    for name in [name for name, estimate in measured.items() if _is_degenerate(estimate)]:
        if name == "auc":
            measured[name] = auc_figure(folds)
        elif name in trials:
            measured[name] = _with_limits(measured[name], wilson(_value(measured[name]), trials[name]), "wilson")
        elif name == "odds_ratio":
            measured[name] = _with_limits(measured[name], woolf(**counts), "woolf")
        elif name not in (*LOSSES, *COMBINED):
            measured[name] = _with_limits(measured[name], NONE, "none")


def _trials(sizes: Sequence[tuple[int, int]], tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    """Return of how many items each share is, never more than there are patients."""
    positives, negatives = (sum(size) for size in zip(*sizes, strict=True))
    sensitivity = min(tp + fn, positives)
    return {
        "accuracy": positives + negatives,
        "precision": min(tp + fp, positives + negatives),
        "recall": sensitivity,
        "sensitivity": sensitivity,
        "specificity": min(tn + fp, negatives),
    }


def _replace_combined(measured: Figures, prevalence: float) -> None:
    """Combine the limits of precision, recall and specificity into those of F1, PPV and NPV, where these degenerate."""
    lower, upper = (_combine(measured, end, prevalence) for end in ("lower", "upper"))
    if lower is None or upper is None:
        return
    for name, low, high in zip(COMBINED, lower, upper, strict=True):
        if _is_degenerate(measured[name]):
            measured[name] = _with_limits(measured[name], (low, high), "wilson")


def _combine(measured: Figures, end: str, prevalence: float) -> tuple[float, float, float] | None:
    """Return F1, PPV and NPV at one end of the limits of precision, recall and specificity; None where one has none."""
    precision, recall, specificity = (getattr(measured[name], end) for name in ("precision", "recall", "specificity"))
    if precision is None or recall is None or specificity is None:
        return None
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    ppv, npv = predictive_values(np.array(recall), np.array(specificity), prevalence)
    return f1, float(ppv), float(npv)


def _with_limits(estimate: Figure, limits: Limits, method: str) -> Figure:
    return figure(_value(estimate), limits, method)


def _value(estimate: Figure) -> float:
    return float("nan") if estimate.value is None else estimate.value
