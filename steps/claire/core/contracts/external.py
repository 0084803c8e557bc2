"""`external.json` and `.csv`: a model measured on new labelled patients, beside its figures inside its own cohort."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.command.tables import Row, write_rows
from claire.core.contracts.metrics import Figure

REMEDY = "Run `claire evaluate --external` again."
#: `all`: every labelled patient that was predicted; `with_say`: those of them in whom the model has a say.
Who = Literal["all", "with_say"]
#: `headline`: the nested procedure that chose the model; `winner`: the model itself, selected, so it flatters;
#: `winner_corrected`: its AUC corrected for the choice in part.
Against = Literal["headline", "winner", "winner_corrected"]


class Drop(Part):
    """A figure inside the model's cohort, and the difference to it: new minus internal, negative for a drop.

    The limits of `difference` are those of two independent samples (MOVER).
    """

    against: Against
    internal: Figure
    difference: Figure


class ExternalFigure(Part):
    """A figure of new patients with its 95 % limits. `n`: the patients that it is a share, mean or ranking of.

    `metric`: one of METRICS, `calibration_slope`, `calibration_intercept`, `cannot_tell` or `out_of_cohort`; `point`:
    the operating point of a decision, else "". `drops`: none where the model file holds no such figure, or where it
    depends on the share of positives.
    """

    metric: str
    point: str
    who: Who
    n: int
    figure: Figure
    drops: tuple[Drop, ...] = ()


class ExternalCounts(Part):
    """What was predicted and labelled. `patients`: labelled ones by class; `with_say`: those in whom the model has one.

    `unused_labels`: rows of the table that name no predicted scan.
    """

    predicted_patients: int
    predicted_scans: int
    patients: dict[str, int]
    with_say: dict[str, int]
    unlabelled_patients: int
    unlabelled_scans: int
    unused_labels: int


class ExternalDocument(Document):
    """`external.json`. `model`: its variant; `cohort_sha256`: of the new scans; `notes`: why a figure is missing.

    `prevalence`: that of PPV and NPV, stated or that of the model's figures. `sentences`: the result for people.
    """

    model: str
    model_sha256: str
    cohort_sha256: str
    classes: tuple[str, ...]
    positive_class: str | None
    confidence: float
    bootstrap: int
    seed: int
    prevalence: float
    prevalence_from: Literal["stated", "model"]
    n: ExternalCounts
    better_than_chance: bool
    figures: tuple[ExternalFigure, ...]
    notes: tuple[str, ...]
    sentences: tuple[str, ...]


class ExternalRow(Row):
    """A figure of new patients; with several figures inside to compare it with, a row for each."""

    metric: str
    point: str
    who: Who
    n: int
    value: float | None
    lower: float | None
    upper: float | None
    method: str
    against: str = ""
    internal: float | None = None
    internal_lower: float | None = None
    internal_upper: float | None = None
    difference: float | None = None
    difference_lower: float | None = None
    difference_upper: float | None = None


def write_external(path: Path, document: ExternalDocument) -> Path:
    """Write `external.json`."""
    return write_document(path, document)


def read_external(path: Path) -> ExternalDocument:
    """Read `external.json`. Raises ClaireError."""
    return read_document(path, ExternalDocument, REMEDY)


def write_external_table(path: Path, document: ExternalDocument) -> Path:
    """Write `external.csv`."""
    return write_rows(path, ExternalRow, _rows(document))


def _rows(document: ExternalDocument) -> Iterator[ExternalRow]:
    for each in document.figures:
        row = ExternalRow(
            **each.model_dump(include={"metric", "point", "who", "n"}),
            **each.figure.model_dump(include={"value", "lower", "upper"}),
            method=each.figure.method,
        )
        yield from [_compared(row, drop) for drop in each.drops] or [row]


def _compared(row: ExternalRow, drop: Drop) -> ExternalRow:
    return ExternalRow(
        **row.model_dump(exclude_unset=True),
        against=drop.against,
        internal=drop.internal.value,
        internal_lower=drop.internal.lower,
        internal_upper=drop.internal.upper,
        difference=drop.difference.value,
        difference_lower=drop.difference.lower,
        difference_upper=drop.difference.upper,
    )
