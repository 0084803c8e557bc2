"""`metrics.json`: every figure of an evaluation with its 95 % interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, SerializerFunctionWrapHandler, model_serializer

from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.contracts.variant import Variant

REMEDY = "Run `claire evaluate` again."
#: Every metric: its heading and meaning. A new metric is added here, is computed in
#: `statistics.decisions.rates` (from the counts of decisions) or `evaluate.figures` (from other sums of a fold), and is
#: described in docs/outputs.md; tables, documents and report follow.
METRICS: dict[str, tuple[str, str]] = {
    "auc": ("AUC", "area under the ROC curve"),
    "accuracy": ("Accuracy", "share of correct decisions at the operating point"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "log_loss": ("Log loss", "lower is better"),
    "precision": ("Precision", "share of positive decisions that are correct, in this cohort"),
    "recall": ("Recall", "as sensitivity"),
    "auprg": ("AUPRG", "area under the precision-recall-gain curve"),
    "sensitivity": ("Sensitivity", "share of positives that are detected"),
    "specificity": ("Specificity", "share of negatives that are decided negative"),
    "odds_ratio": ("Odds ratio", "diagnostic odds ratio, Haldane–Anscombe"),
    "brier": ("Brier", "mean squared error of the probability; lower is better"),
    "ppv": ("PPV", "positive predictive value at the stated prevalence"),
    "npv": ("NPV", "negative predictive value at the stated prevalence"),
}


def _metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"'{name}' is not a metric")
    return name


class Figure(Part):
    """A figure with its 95 % limits; None if there is none.

    `method` names the method of the limits if they are not bootstrap percentiles; AUCs of patients also have DeLong
    limits.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    method: str = ""
    delong_lower: float | None = None
    delong_upper: float | None = None

    @model_serializer(mode="wrap")
    def _without_blanks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        optional = ("method", "delong_lower", "delong_upper")
        return {name: value for name, value in values.items() if name not in optional or value not in ("", None)}


Figures = dict[Annotated[str, AfterValidator(_metric)], Figure]


class Count(Part):
    """Patients and scans that were measured."""

    patients: int
    scans: int


class Confusion(Part):
    """Counts by true (rows) and decided class (columns), each fold at its own operating point."""

    classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


class FoldFigures(Part):
    """One fold: patients by class, AUCs, operating points (Youden's, and for a sensitivity of 0.90)."""

    fold: int
    variant: str
    patients: tuple[int, ...]
    auc: Figure
    auc_validation: float | None
    log_loss_validation: float | None
    threshold: float | None
    threshold_sensitive: float | None
    note: str = ""


class Calibration(Part):
    """Calibration slope and intercept, or the reason why there is none in `note`."""

    note: str = ""
    slope: Figure | None = None
    intercept: Figure | None = None
    brier: Figure | None = None


class Inherited(Part):
    """The original's slice metrics: every slice takes its scan's label."""

    statement: str
    figures: Figures


class External(Part):
    """External patients, predicted by each fold's network; the figures are means over these networks."""

    patients: int
    figures: Figures


class Predictor(Part):
    """A predictor (a variant or the nested procedure) measured at every level."""

    n: Count
    patient: Figures
    scan: Figures
    at_sensitivity_90: Figures | None
    confusion: Confusion
    folds: tuple[FoldFigures, ...]
    calibration: Calibration
    slice: Figures | None = None
    slice_inherited: Inherited | None = None
    scan_by_slices: Figures | None = None
    external: External | None = None


class VariantMetrics(Predictor):
    """A variant over its folds. `complete`: it has a usable run on every fold."""

    variant: Variant
    complete: bool
    auc_validation: float | None
    log_loss_validation: float | None


class Selection(Part):
    """The variant that was best on a fold's validation patients."""

    fold: int
    variant: str


class Headline(Predictor):
    """The nested procedure: in each fold the variant that is best on validation predicts the test patients."""

    statement: str
    selection: tuple[Selection, ...]


class WinnerMetrics(Part):
    """The overall winner; its figures are selected, `auc_corrected` is corrected for the choice (BBC-CV)."""

    variant: str
    selected: bool
    statement: str
    auc_validation: float | None
    auc: Figure
    auc_corrected: Figure
    complete: bool


class AxisValue(Part):
    """One value of a grid axis: mean AUC, and the difference to the first value among otherwise equal variants."""

    value: str | bool | int | float | dict[str, float] | None
    variants: int
    auc: Figure
    difference: Figure | None
    matched: int


class Axis(Part):
    """The main effect of a grid axis."""

    axis: str
    values: tuple[AxisValue, ...]


class Subgroup(Part):
    """A predictor in a subgroup of its test patients; a count of 1 to 4 is None, except for phantoms."""

    attribute: str
    group: str
    predictor: Literal["headline", "winner"]
    n: int
    patients: dict[str, int | None]
    auc: Figure | None = None
    sensitivity: Figure | None = None
    specificity: Figure | None = None
    note: str = ""


class Finding(Part):
    """What made a guard fire."""

    what: str
    auc: float | None = None
    label: str = ""


class Guard(Part):
    """A check: what should hold, whether it fired, and on what."""

    name: str
    statement: str
    fired: bool
    findings: tuple[Finding, ...] = ()


class MissingRun(Part):
    """A missing or unusable run."""

    variant: str
    fold: int
    why: str


class Counts(Part):
    """Patients and scans by class, in total and by the fold or fixed split in which patients are tested."""

    patients: dict[str, int]
    scans: dict[str, int]
    folds: tuple[int, ...]
    by_fold: dict[str, dict[str, int]]


class Metrics(Document):
    """All figures of an evaluation. `cohort_sha256` names the cohort; `bootstrap` counts samples of the patients."""

    cohort_sha256: str
    classes: tuple[str, ...]
    positive_class: str | None
    confidence: float
    bootstrap: int
    seed: int
    prevalence: float
    prevalence_from: Literal["stated", "cohort"]
    n: Counts
    headline: Headline
    winner: WinnerMetrics
    reference: str
    variants: dict[str, VariantMetrics]
    axes: tuple[Axis, ...]
    subgroups: tuple[Subgroup, ...]
    guards: tuple[Guard, ...]
    missing: tuple[MissingRun, ...]


def write_metrics(path: Path, metrics: Metrics) -> Path:
    """Write `metrics.json`."""
    return write_document(path, metrics)


def read_metrics(path: Path) -> Metrics:
    """Read `metrics.json`. Raises ClaireError."""
    return read_document(path, Metrics, REMEDY)
