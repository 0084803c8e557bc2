"""Every figure of labelled new patients with its 95 % interval, with the measures that the cohort was measured by.

The patients are one fold: nothing was trained on them. Samples of the bootstrap are drawn within classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from claire.core.contracts.external import ExternalFigure, Who
from claire.core.contracts.metrics import Figure
from claire.core.statistics import BoolArray, FloatArray
from claire.core.statistics.decisions import brier_scores, log_losses
from claire.core.statistics.intervals import bootstrap_weights, clopper_pearson, delong_logit, newcombe, percentile
from claire.core.statistics.ranking import auc, placements
from claire.evaluate.auc import delong_limits
from claire.evaluate.external.cases import Cases
from claire.evaluate.figures import auc_figure, decision_figures, figure, figures, number
from claire.evaluate.measure import Measured, measure_decisions
from claire.evaluate.predictor import MIN_PATIENTS, fit_calibration
from claire.evaluate.samples import Sample

#: Metrics of decisions at every operating point; PPV and NPV of two classes only.
OF_DECISIONS = ("sensitivity", "specificity", "accuracy", "precision", "ppv", "npv")
EXACT = "clopper-pearson"


@dataclass(frozen=True)
class Setting:
    """How the figures are made: prevalence of PPV and NPV, samples of the bootstrap and their seed."""

    prevalence: float
    bootstrap: int
    seed: int


def group_figures(cases: Cases, who: Who, setting: Setting) -> Iterator[ExternalFigure]:
    """Yield the figures of a group of patients that is not empty: ranking, decisions by operating point, losses."""
    weights = bootstrap_weights(cases.target.tolist(), setting.bootstrap, setting.seed)
    sample = Sample(np.arange(len(cases)), cases.target, cases.score)
    measured = measure_decisions(sample, None, [*cases.decisions.values()], weights)
    yield _figure("auc", "", who, len(cases), _auc(measured))
    tables = [figures([measured], setting.prevalence)]
    if len(cases.decisions) > 1:
        tables.append(decision_figures([measured], setting.prevalence))
    for (point, decided), table in zip(cases.decisions.items(), tables, strict=True):
        exact = _exact(cases.target == 1, decided == 1) if cases.is_binary else {}
        for metric in OF_DECISIONS[: None if cases.is_binary else -2]:
            n, estimate = exact.get(metric, (len(cases), table[metric]))
            yield _figure(metric, point, who, n, estimate)
    losses = {"log_loss": log_losses, "brier": brier_scores}
    for metric, loss in losses.items():
        yield _figure(metric, "", who, len(cases), _mean(loss(cases.probability, cases.target), weights))


def calibration_figures(cases: Cases, who: Who, names: Mapping[str, int]) -> tuple[list[ExternalFigure], str]:
    """Return calibration slope and intercept of the probabilities that people read, or why there are none.

    `names`: patients by class. For two classes with enough patients of each.
    """
    if not cases.is_binary:
        return [], "calibration: for two classes only"
    if min(names.values()) < MIN_PATIENTS:
        sizes = ", ".join(f"{name} {count}" for name, count in names.items())
        return [], f"calibration: too few patients, {MIN_PATIENTS} of each class are needed ({sizes})"
    fitted = fit_calibration(cases.probability[:, 1], cases.target == 1, np.zeros(len(cases), np.int64))
    if fitted.slope is None or fitted.intercept is None:
        return [], f"calibration: {fitted.note}"
    of_model = {"calibration_slope": fitted.slope, "calibration_intercept": fitted.intercept}
    return [_figure(metric, "", who, len(cases), estimate) for metric, estimate in of_model.items()], ""


def share_figures(cases: Cases) -> Iterator[ExternalFigure]:
    """Yield the shares of patients in whom the model cannot tell, and of those out of its cohort, with exact limits."""
    for metric, selected in (("cannot_tell", ~cases.told), ("out_of_cohort", cases.strange)):
        yield _figure(metric, "", "all", len(cases), _share(selected)[1])


def _figure(metric: str, point: str, who: Who, n: int, estimate: Figure) -> ExternalFigure:
    return ExternalFigure(metric=metric, point=point, who=who, n=n, figure=estimate)


def _auc(measured: Measured) -> Figure:
    """Return the AUC: of two classes with DeLong's limits on the logit, which cover in small samples too.

    Under perfect separation with Newcombe's. DeLong's own limits stand beside them.
    """
    if len(measured.sizes) > 1:
        return auc_figure([measured])
    sample = measured.sample
    area = auc(sample.probability[:, 1], sample.target == 1)
    method, limits = "delong-logit", delong_logit(*placements(sample.probability[:, 1], sample.target == 1))
    if not math.isfinite(limits[0]):
        method, limits = "newcombe", newcombe(area, [measured.sizes[1]])
    lower, upper = delong_limits([measured])
    return figure(area, limits, method).model_copy(
        update={"delong_lower": number(lower), "delong_upper": number(upper)}
    )


def _exact(positive: BoolArray, called: BoolArray) -> dict[str, tuple[int, Figure]]:
    return {
        "sensitivity": _share(called[positive]),
        "specificity": _share(~called[~positive]),
        "precision": _share(positive[called]),
        "accuracy": _share(called == positive),
    }


def _share(hits: BoolArray) -> tuple[int, Figure]:
    n, count = len(hits), int(hits.sum())
    return n, figure(count / n if n else float("nan"), clopper_pearson(count, n), EXACT if n else "")


def _mean(losses: FloatArray, weights: FloatArray) -> Figure:
    return figure(float(losses.mean()), percentile(weights @ losses / weights.sum(axis=1)))
