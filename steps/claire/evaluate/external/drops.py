"""The difference of a figure of new patients to the same figure inside the model's cohort.

New and internal patients are independent samples, so the interval of the difference follows from the two intervals.
In 400 draws each of binormal scores (internal 5 folds of 12 to 36 patients, 24 to 60 new ones, AUC 0.60 to 0.98), the
95 % interval of a difference of AUCs held the true one in COVERAGE of the draws.
"""

from __future__ import annotations

from collections.abc import Iterator

from claire.core.contracts.external import Against, Drop, ExternalFigure
from claire.core.contracts.metrics import Figure, Figures
from claire.core.contracts.model import ModelFigures
from claire.core.statistics.intervals import NONE, difference_limits
from claire.evaluate.figures import figure

#: The operating point whose figures inside are of this variant alone.
SENSITIVE = "sensitive"
#: Metrics of decisions that do not depend on the share of positives among the patients.
COMPARED = ("sensitivity", "specificity")
PREDICTIVE = ("ppv", "npv")


def with_drops(measured: ExternalFigure, inside: ModelFigures, prevalence: float) -> ExternalFigure:
    """Return a figure with its differences to those inside the cohort, the nested headline first.

    PPV and NPV are compared only at the `prevalence` that those inside have.
    """
    drops = tuple(
        Drop(against=against, internal=internal, difference=difference(measured.figure, internal))
        for against, internal in _inside(measured, inside, prevalence)
    )
    return measured.model_copy(update={"drops": drops})


def difference(new: Figure, internal: Figure) -> Figure:
    """Return new − internal with its 95 % limits; None where one of them has no value or no limits."""
    if new.value is None or internal.value is None:
        return figure(float("nan"))
    limits = NONE
    if None not in (new.lower, new.upper, internal.lower, internal.upper):
        limits = difference_limits(new.value, _limits(new), internal.value, _limits(internal))
    return figure(new.value - internal.value, limits, "mover")


def _limits(estimate: Figure) -> tuple[float, float]:
    lower, upper = (float("nan") if end is None else end for end in (estimate.lower, estimate.upper))
    return lower, upper


def _inside(measured: ExternalFigure, inside: ModelFigures, prevalence: float) -> Iterator[tuple[Against, Figure]]:
    if measured.metric == "auc":
        yield "headline", inside.headline["auc"]
        yield "winner", inside.winner["auc"]
        yield "winner_corrected", inside.auc_corrected
        return
    comparable = [*COMPARED, *(PREDICTIVE if abs(prevalence - inside.prevalence) < 1e-6 else ())]
    if measured.metric not in comparable:
        return
    tables: dict[Against, Figures | None] = {"headline": inside.headline, "winner": inside.winner}
    if measured.point == SENSITIVE:
        tables = {"winner": inside.at_sensitivity_90}
    for against, table in tables.items():
        if table:
            yield against, table[measured.metric]
