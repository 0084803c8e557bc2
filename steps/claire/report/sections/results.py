"""Performance of the variants: headline, leaderboard, comparisons, effects of the axes, subgroups, guards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from claire.core.contracts.metrics import METRICS, Figure, Finding, Subgroup
from claire.core.contracts.result_tables import ComparisonRow, LeaderboardRow
from claire.core.privacy.cells import SMALLEST_CELL
from claire.report.figures import Interval, forest, whisker
from claire.report.inputs import Inputs
from claire.report.sections.curves import HEADLINE
from claire.report.sections.provenance import anchor
from claire.report.tables import NONE, Cell, Column, Table, figure_cell, interval, number, table

EXTRA_AUCS = {
    "scan_auc": ("AUC of scans", "each scan by itself"),
    "slice_auc": ("AUC of slices", "slices with a slice label"),
    "slice_inherited_auc": ("AUC of slices, inherited labels", "original's slice metrics (inherited labels)"),
}
ATTRIBUTES = {"age_band": "age", "thickness": "slice thickness"}


@dataclass(frozen=True)
class Headline:
    """The main figure of the summary: its name, value and interval, an explanation in plain words, and the method."""

    name: str
    value: str
    interval: str
    plain_text: str
    method: str


def headline(inputs: Inputs) -> Headline | None:
    """Return the nested patient AUC; None if nothing was evaluated."""
    area = inputs.metrics.headline.patient.get("auc")
    if area is None or area.value is None:
        return None
    of_hundred = round(100 * area.value)
    if len(inputs.classes) == 2:
        negative, positive = inputs.classes
        plain_text = (
            f"Of one {positive} and one {negative} patient whom the networks had never seen, drawn at random, the "
            f"{positive} one gets the higher score {of_hundred} times in 100. Chance is 50."
        )
    else:
        plain_text = (
            f"Mean over {len(inputs.classes)} classes, each against the rest: {of_hundred} of 100; chance is 50."
        )
    limits = interval(area.lower, area.upper)
    return Headline(
        "AUC of patients, nested", number(area.value), limits, plain_text, inputs.metrics.headline.statement
    )


def facts(inputs: Inputs) -> list[tuple[str, str]]:
    """Return the other figures of the summary."""
    metrics = inputs.metrics
    entries = [
        (METRICS[name][0], _figure_text(metrics.headline.patient.get(name))) for name in ("sensitivity", "specificity")
    ]
    entries.append(("Winner (selected)", f"{metrics.winner.variant}: AUC {_figure_text(metrics.winner.auc)}"))
    entries.append(("Winner, corrected for the choice", f"AUC {_figure_text(metrics.winner.auc_corrected)}"))
    entries.append(("Variants", f"{len(metrics.variants)} in {len(metrics.n.folds)} folds"))
    return [(name, text) for name, text in entries if not text.endswith(NONE)]


def _figure_text(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    limits = interval(figure.lower, figure.upper)
    return number(figure.value) + (f" ({limits})" if limits else "")


def leaderboard(inputs: Inputs) -> Table:
    """Return one row per variant with every metric and its interval; columns without any figure are left out."""
    rows = inputs.leaderboard
    names = {**METRICS, **EXTRA_AUCS}
    if all(row.patient["recall"] == row.patient["sensitivity"] for row in rows):
        names.pop("recall")
    shown = [name for name in names if any(_of_row(row, name).value is not None for row in rows)]
    limits = _limits(rows)
    columns: list[Column | str] = [
        Column("Rank", True, "by validation AUC; below, the 95 % interval of the rank on test patients"),
        Column("Variant"),
        Column("What sets it apart"),
        *(Column(names[name][0], True, names[name][1]) for name in shown),
        Column("AUC on validation", True, "criterion for choosing the winner"),
        Column("Folds", True),
    ]
    table_rows = [
        [
            Cell(str(row.rank), _rank_limits(row), row.rank),
            _variant_cell(inputs, row),
            Cell(_differs(row)),
            *(_metric_cell(row, name, limits) for name in shown),
            Cell(number(row.auc_validation), sort=row.auc_validation),
            Cell(str(row.folds), sort=row.folds),
        ]
        for row in rows
    ]
    return table("Variants", columns, table_rows, sortable=True)


def _of_row(row: LeaderboardRow, name: str) -> Figure:
    """Return a metric of patients, or one of EXTRA_AUCS."""
    if name == "scan_auc":
        return row.scan["auc"]
    slice_aucs = {"slice_auc": row.slice_auc, "slice_inherited_auc": row.slice_inherited_auc}
    return slice_aucs[name] if name in slice_aucs else row.patient[name]


def _differs(row: LeaderboardRow) -> str:
    settings_text = row.differs or ", ".join(row.settings[key] for key in ("dimensions", "view", "architecture"))
    return settings_text.replace("_", " ").replace("=", " ").replace("torchvision:", "").replace("monai:", "monai ")


def _variant_cell(inputs: Inputs, row: LeaderboardRow) -> Cell:
    notes = []
    if row.winner:
        notes.append(f"winner: selected; corrected AUC {_figure_text(inputs.metrics.winner.auc_corrected)}")
    if row.reference:
        notes.append("reference")
    if row.settings["labels"] == "inherited":
        notes.append("inherited labels")
    if not row.complete:
        notes.append("folds are missing")
    return Cell(row.variant, "; ".join(notes), link=anchor("variant", row.variant))


def _rank_limits(row: LeaderboardRow) -> str:
    low, high = row.rank_lower, row.rank_upper
    return f"{low:g} to {high:g}" if low is not None and high is not None else ""


def _limits(rows: Sequence[LeaderboardRow]) -> tuple[float, float]:
    areas = [row.patient["auc"] for row in rows]
    ends = [end for area in areas for end in (area.value, area.lower, area.upper)]
    finite_ends = [end for end in ends if end is not None]
    return (min(finite_ends), max(finite_ends)) if finite_ends else (0.0, 1.0)


def _metric_cell(row: LeaderboardRow, name: str, limits: tuple[float, float]) -> Cell:
    figure = _of_row(row, name)
    cell = _figure(figure)
    if name != "auc" or figure.value is None:
        return cell
    picture = whisker(figure.value, figure.lower, figure.upper, limits)
    return Cell(cell.text, cell.note, cell.sort, picture)


def missing(inputs: Inputs) -> Table:
    """Return the runs that are missing or unusable."""
    rows = [[entry.variant, entry.fold, entry.why] for entry in inputs.metrics.missing]
    return table("Runs left out", ["Variant", Column("Fold", True), "Why"], rows)


def performance(inputs: Inputs) -> Table:
    """Return every metric of the nested headline, for patients and scans, and at the sensitive operating point."""
    document = inputs.metrics.headline
    candidates = {
        "Patients": document.patient,
        "Scans": document.scan,
        "Patients, at ≥ 90 % sensitivity": document.at_sensitivity_90,
        "External patients": document.external.figures if document.external else None,
    }
    levels = {name: figures for name, figures in candidates.items() if figures}
    rows = [
        [Cell(heading, meaning), *(_figure(figures.get(name)) for figures in levels.values())]
        for name, (heading, meaning) in METRICS.items()
        if any(name in figures for figures in levels.values())
    ]
    origin = "the cohort's" if inputs.metrics.prevalence_from == "cohort" else "as stated"
    note = f"PPV and NPV hold at a prevalence of {inputs.metrics.prevalence:.3f} ({origin})."
    columns: list[Column | str] = ["Metric", *(Column(name, True) for name in levels)]
    return table("Nested headline: all metrics", columns, rows, note=note)


def _figure(figure: Figure | None) -> Cell:
    return figure_cell(figure.value, figure.lower, figure.upper) if figure else figure_cell(None)


def confusion(inputs: Inputs) -> Table:
    """Return the confusion matrix of the nested headline, patients."""
    calls = inputs.metrics.headline.confusion
    rows = [[Cell(name), *counts] for name, counts in zip(calls.classes, calls.matrix, strict=True)]
    columns: list[Column | str] = ["Labelled", *(Column(f"called {name}", True) for name in calls.classes)]
    rule = "at the operating point" if len(calls.classes) == 2 else "of the most likely class"
    return table(f"Calls {rule} (patients)", columns, rows)


def folds(inputs: Inputs) -> Table:
    """Return the results of the nested headline in each fold."""
    rows = [
        [
            entry.fold,
            Cell(entry.variant, link=anchor("variant", entry.variant)),
            Cell(" / ".join(map(str, entry.patients))),
            _figure(entry.auc),
            Cell(number(entry.auc_validation)),
            Cell(number(entry.threshold)),
            Cell(number(entry.threshold_sensitive)),
            Cell(entry.note),
        ]
        for entry in inputs.metrics.headline.folds
    ]
    columns: list[Column | str] = [
        Column("Fold", True),
        "Best on validation",
        Column("Patients " + " / ".join(inputs.classes), True),
        Column("AUC on test", True),
        Column("AUC on validation", True),
        Column("Operating point", True, "Youden's, chosen on validation"),
        Column("… for 90 % sensitivity", True),
        "Note",
    ]
    return table("Nested headline by fold", columns, rows)


def comparisons(inputs: Inputs) -> Table:
    """Return the differences of AUC against reference and winner, with p values corrected by Holm."""
    ends = [end or 0.0 for row in inputs.comparisons for end in (row.difference, row.lower, row.upper)]
    limits = (min(ends, default=0.0), max(ends, default=1.0))
    same = inputs.metrics.reference == inputs.metrics.winner.variant
    rows = [
        [
            Cell("reference and winner" if same else row.against, row.other),
            Cell(row.variant, link=anchor("variant", row.variant)),
            Cell(number(row.auc)),
            _difference(row, limits),
            Cell(_p(row.p), sort=row.p),
            Cell(_p(row.p_holm), sort=row.p_holm),
            Cell(_p(row.p_bootstrap), sort=row.p_bootstrap),
        ]
        for row in inputs.comparisons
        if not (same and row.against == "winner")
    ]
    columns: list[Column | str] = [
        "Against",
        "Variant",
        Column("AUC", True),
        Column("Difference", True, "variant less the one compared with"),
        Column("p", True, "DeLong, paired, within folds"),
        Column("p, Holm", True, "corrected for all comparisons"),
        Column("p, bootstrap", True),
    ]
    return table("Differences of the patient AUC", columns, rows, sortable=True)


def _difference(row: ComparisonRow, limits: tuple[float, float]) -> Cell:
    cell = figure_cell(row.difference, row.lower, row.upper)
    if row.difference is None:
        return cell
    picture = whisker(row.difference, row.lower, row.upper, limits, 0.0)
    return Cell(cell.text, cell.note, cell.sort, picture)


def _p(value: float | None) -> str:
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def effects(inputs: Inputs) -> Table:
    """Return the main effect of each axis of the grid."""
    rows = []
    for axis in inputs.metrics.axes:
        for index, entry in enumerate(axis.values):
            absent = Cell("no matched pair" if index else "first value", sort="")
            rows.append(
                [
                    axis.axis.replace("_", " "),
                    _setting(entry.value),
                    entry.variants,
                    _figure(entry.auc),
                    _figure(entry.difference) if entry.difference else absent,
                    entry.matched,
                ]
            )
    columns: list[Column | str] = [
        "Axis",
        "Value",
        Column("Variants", True),
        Column("Mean AUC", True),
        Column("Difference to the first value", True),
        Column("Matched pairs", True),
    ]
    note = "Differences are taken between variants that differ in this axis only."
    return table("Main effect of each axis of the grid", columns, rows, note=note)


def _setting(value: object) -> str:
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else str(value)


def effects_figure(inputs: Inputs) -> Markup | str:
    """Return a forest plot of the differences of each axis's values to its first value."""
    rows = [
        _interval(f"{axis.axis}: {_setting(entry.value)}", entry.difference.value, entry.difference)
        for axis in inputs.metrics.axes
        for entry in axis.values
        if entry.difference and entry.difference.value is not None
    ]
    return forest(rows, "Difference of AUC to the first value of each axis", 0.0, "difference of AUC") if rows else ""


def subgroups(inputs: Inputs) -> Table:
    """Return AUC, sensitivity and specificity of the nested headline in each subgroup."""
    rows = [
        [
            _attribute(entry),
            entry.group,
            entry.n,
            Cell(" / ".join(_count(entry.patients.get(name)) for name in inputs.classes)),
            *(_figure(figure) for figure in (entry.auc, entry.sensitivity, entry.specificity)),
            Cell(entry.note),
        ]
        for entry in _headline_subgroups(inputs)
    ]
    columns: list[Column | str] = [
        "Attribute",
        "Group",
        Column("Patients", True),
        Column(" / ".join(inputs.classes), True),
        *(Column(METRICS[name][0], True) for name in ("auc", "sensitivity", "specificity")),
        "Note",
    ]
    return table("Subgroups of patients, nested headline", columns, rows)


def subgroups_figure(inputs: Inputs) -> Markup | str:
    """Return the AUC of the subgroups as a forest plot, with the overall AUC as a line."""
    overall = inputs.metrics.headline.patient.get("auc")
    rows = [
        _interval(f"{_attribute(entry)}: {entry.group}", entry.auc.value, entry.auc, f"n = {entry.n}")
        for entry in _headline_subgroups(inputs)
        if entry.auc and entry.auc.value is not None
    ]
    reference = overall.value if overall else None
    return forest(rows, "AUC of the nested headline by subgroup", reference, "AUC") if rows else ""


def _headline_subgroups(inputs: Inputs) -> list[Subgroup]:
    return [entry for entry in inputs.metrics.subgroups if entry.predictor == HEADLINE]


def _attribute(entry: Subgroup) -> str:
    return ATTRIBUTES.get(entry.attribute, entry.attribute.replace("_", " "))


def _count(value: int | None) -> str:
    return f"under {SMALLEST_CELL}" if value is None else str(value)


def _interval(name: str, value: float, figure: Figure, note: str = "") -> Interval:
    return Interval(name, value, figure.lower, figure.upper, f"{number(value)} · {note}".strip(" ·"))


def guards(inputs: Inputs) -> Table:
    """Return every guard, those that fired first."""
    ordered = sorted(inputs.metrics.guards, key=lambda guard: not guard.fired)
    rows = [
        [
            Cell("fired", badge="bad") if guard.fired else Cell("silent", badge="good"),
            guard.name.replace("_", " "),
            guard.statement,
            "; ".join(map(_finding, guard.findings)),
        ]
        for guard in ordered
    ]
    return table("Guards", ["State", "Guard", "Should hold", "Found"], rows)


def _finding(finding: Finding) -> str:
    details = [f"auc {number(finding.auc)}"] if finding.auc is not None else []
    details += [f"label {finding.label}"] if finding.label else []
    return f"{finding.what} ({', '.join(details)})" if details else finding.what


def fired(inputs: Inputs) -> int:
    """Return how many guards fired."""
    return sum(guard.fired for guard in inputs.metrics.guards)
