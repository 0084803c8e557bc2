"""How well the variants do: headline, leaderboard, comparisons, effects of the axes, subgroups, guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from claire.report.figures import Interval, forest, whisker
from claire.report.inputs import Inputs, Row
from claire.report.sections.curves import HEADLINE
from claire.report.sections.provenance import anchor
from claire.report.tables import NONE, Cell, Column, Table, figure_cell, floating, interval, number, table

#: Metrics by their column in the leaderboard: heading, and what they are for people.
METRICS = {
    "auc": ("AUC", "area under the ROC curve"),
    "accuracy": ("Accuracy", "share of right calls at the operating point"),
    "sensitivity": ("Sensitivity", "share of positives that are called"),
    "specificity": ("Specificity", "share of negatives that are passed"),
    "precision": ("Precision", "share of calls that are right, in this cohort"),
    "recall": ("Recall", "as sensitivity"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "auprg": ("AUPRG", "area under the precision-recall-gain curve"),
    "log_loss": ("Log loss", "lower is better"),
    "odds_ratio": ("Odds ratio", "diagnostic odds ratio, Haldane–Anscombe"),
    "brier": ("Brier", "mean squared error of the probability; lower is better"),
    "ppv": ("PPV", "positive predictive value at the stated prevalence"),
    "npv": ("NPV", "negative predictive value at the stated prevalence"),
}
EXTRA_AUCS = {
    "scan_auc": ("AUC of scans", "each scan by itself"),
    "slice_auc": ("AUC of slices", "slices that somebody labelled"),
    "slice_inherited_auc": ("AUC of slices, inherited labels", "original's slice metrics (inherited labels)"),
}
ATTRIBUTES = {"age_band": "age", "thickness": "slice thickness"}


@dataclass(frozen=True)
class Headline:
    """The one figure of the summary: what it is, its value and interval, in plain words, and how it came about."""

    name: str
    value: str
    interval: str
    words: str
    method: str


def headline(inputs: Inputs) -> Headline | None:
    """Return the nested patient AUC; None where nothing was evaluated."""
    document = inputs.metrics.get(HEADLINE) or {}
    area = (document.get("patient") or {}).get("auc") or {}
    value = floating(area.get("value"))
    if value is None:
        return None
    of_hundred = round(100 * value)
    if len(inputs.classes) == 2:
        negative, positive = inputs.classes
        words = (
            f"Of one {positive} and one {negative} patient whom the networks had never seen, drawn at random, the "
            f"{positive} one gets the higher score {of_hundred} times in 100. Chance is 50."
        )
    else:
        words = f"Mean over {len(inputs.classes)} classes, each against the rest: {of_hundred} of 100; chance is 50."
    limits = interval(area.get("lower"), area.get("upper"))
    return Headline("AUC of patients, nested", number(value), limits, words, str(document.get("statement", "")))


def facts(inputs: Inputs) -> list[tuple[str, str]]:
    """Return the few further figures of the summary."""
    patient = (inputs.metrics.get(HEADLINE) or {}).get("patient") or {}
    found = [(METRICS[name][0], _words(patient.get(name) or {})) for name in ("sensitivity", "specificity")]
    winner = inputs.metrics.get("winner") or {}
    if winner:
        found.append(("Winner (selected)", f"{winner.get('variant')}: AUC {_words(winner.get('auc') or {})}"))
        found.append(("Winner, corrected for the choice", f"AUC {_words(winner.get('auc_corrected') or {})}"))
    variants = inputs.metrics.get("variants") or {}
    found.append(("Variants", f"{len(variants)} in {len(_folds(inputs))} folds"))
    return [(name, text) for name, text in found if not text.endswith(NONE)]


def _words(figure: Mapping[str, Any]) -> str:
    limits = interval(figure.get("lower"), figure.get("upper"))
    return number(figure.get("value")) + (f" ({limits})" if limits else "")


def _folds(inputs: Inputs) -> list[Any]:
    return (inputs.metrics.get("n") or {}).get("folds") or sorted({row["fold"] for row in inputs.folds if row["fold"]})


def leaderboard(inputs: Inputs) -> Table:
    """Return a line a variant with every metric and its interval; columns without any figure are left out."""
    rows = inputs.leaderboard
    names = {**METRICS, **EXTRA_AUCS}
    if all(row.get("recall") == row.get("sensitivity") for row in rows):
        names.pop("recall")
    shown = [name for name in names if any(floating(row.get(name)) is not None for row in rows)]
    limits = _limits(rows)
    columns = [
        Column("Rank", True, "by validation AUC; below, the 95 % interval of the rank on test patients"),
        Column("Variant"),
        Column("What sets it apart"),
        *(Column(names[name][0], True, names[name][1]) for name in shown),
        Column("AUC on validation", True, "what the winner is chosen by"),
        Column("Folds", True),
    ]
    lines = [
        [
            Cell(row.get("rank", ""), _rank_limits(row), floating(row.get("rank"))),
            _variant_cell(inputs, row),
            Cell(_differs(row)),
            *(_metric_cell(row, name, limits) for name in shown),
            Cell(number(row.get("auc_validation")), sort=floating(row.get("auc_validation"))),
            Cell(row.get("folds", ""), sort=floating(row.get("folds"))),
        ]
        for row in rows
    ]
    return table("Variants", columns, lines, sortable=True)


def _differs(row: Row) -> str:
    given = row.get("differs") or ", ".join(row[key] for key in ("dimensions", "view", "architecture") if row.get(key))
    return given.replace("_", " ").replace("=", " ").replace("torchvision:", "").replace("monai:", "monai ")


def _variant_cell(inputs: Inputs, row: Row) -> Cell:
    notes = []
    if row.get("winner") == "yes":
        corrected = (inputs.metrics.get("winner") or {}).get("auc_corrected") or {}
        notes.append(f"winner: selected; corrected AUC {_words(corrected)}")
    if row.get("reference") == "yes":
        notes.append("reference")
    if row.get("labels") == "inherited":
        notes.append("inherited labels")
    if row.get("complete") == "no":
        notes.append("folds are missing")
    return Cell(row["variant"], "; ".join(notes), link=anchor("variant", row["variant"]))


def _rank_limits(row: Row) -> str:
    low, high = floating(row.get("rank_lower")), floating(row.get("rank_upper"))
    return f"{low:g} to {high:g}" if low is not None and high is not None else ""


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    ends = [floating(row.get(name)) for row in rows for name in ("auc", "auc_lower", "auc_upper")]
    known = [end for end in ends if end is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _metric_cell(row: Row, name: str, limits: tuple[float, float]) -> Cell:
    cell = figure_cell(row.get(name), row.get(f"{name}_lower"), row.get(f"{name}_upper"))
    value = floating(row.get(name))
    if name != "auc" or value is None:
        return cell
    picture = whisker(value, floating(row.get("auc_lower")), floating(row.get("auc_upper")), limits)
    return Cell(cell.text, cell.note, cell.sort, picture)


def missing(inputs: Inputs) -> Table:
    """Return the runs that are not there or cannot be used."""
    rows = [
        [entry.get("variant"), entry.get("fold"), entry.get("why")] for entry in inputs.metrics.get("missing") or []
    ]
    return table("Runs left out", ["Variant", Column("Fold", True), "Why"], rows)


def performance(inputs: Inputs) -> Table:
    """Return every metric of the nested headline, for patients and scans, and at the sensitive operating point."""
    document = inputs.metrics.get(HEADLINE) or {}
    levels = [
        ("Patients", document.get("patient")),
        ("Scans", document.get("scan")),
        ("Patients, at ≥ 90 % sensitivity", document.get("at_sensitivity_90")),
        ("External patients", document.get("external")),
    ]
    levels = [(name, figures) for name, figures in levels if figures]
    rows = [
        [Cell(heading, meaning), *(_figure((figures or {}).get(name)) for _, figures in levels)]
        for name, (heading, meaning) in METRICS.items()
        if any((figures or {}).get(name) for _, figures in levels)
    ]
    share = floating(inputs.metrics.get("prevalence"))
    origin = "the cohort's" if inputs.metrics.get("prevalence_from") == "cohort" else "as stated"
    note = f"PPV and NPV hold at a prevalence of {share:.3f} ({origin})." if share is not None else ""
    columns = ["Metric", *(Column(name, True) for name, _ in levels)]
    return table("Nested headline: all metrics", columns, rows if levels else [], note=note)


def _figure(figure: Mapping[str, Any] | None) -> Cell:
    given = figure or {}
    return figure_cell(given.get("value"), given.get("lower"), given.get("upper"))


def confusion(inputs: Inputs) -> Table:
    """Return the confusion matrix of the nested headline, patients."""
    found = (inputs.metrics.get(HEADLINE) or {}).get("confusion") or {}
    classes = [str(name) for name in found.get("classes") or []]
    rows = [[Cell(name), *counts] for name, counts in zip(classes, found.get("matrix") or [], strict=False)]
    columns = ["Labelled", *(Column(f"called {name}", True) for name in classes)]
    return table("Calls at the operating point (patients)", columns, rows)


def folds(inputs: Inputs) -> Table:
    """Return what the nested headline did in each fold."""
    rows = [
        [
            entry.get("fold"),
            Cell(str(entry.get("variant")), link=anchor("variant", str(entry.get("variant")))),
            Cell(" / ".join(map(str, entry.get("patients") or []))),
            _figure(entry.get("auc")),
            Cell(number(entry.get("auc_validation"))),
            Cell(number(entry.get("threshold"))),
            Cell(number(entry.get("threshold_sensitive"))),
            Cell(str(entry.get("note") or "")),
        ]
        for entry in (inputs.metrics.get(HEADLINE) or {}).get("folds") or []
    ]
    columns = [
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
    ends = [floating(row.get(name)) or 0.0 for row in inputs.comparisons for name in ("difference", "lower", "upper")]
    limits = (min(ends, default=0.0), max(ends, default=1.0))
    same = inputs.metrics.get("reference") == (inputs.metrics.get("winner") or {}).get("variant")
    rows = [
        [
            Cell("reference and winner" if same else row.get("against", ""), row.get("other", "")),
            Cell(row["variant"], link=anchor("variant", row["variant"])),
            Cell(number(row.get("auc"))),
            _difference(row, limits),
            Cell(_p(row.get("p")), sort=floating(row.get("p"))),
            Cell(_p(row.get("p_holm")), sort=floating(row.get("p_holm"))),
            Cell(_p(row.get("p_bootstrap")), sort=floating(row.get("p_bootstrap"))),
        ]
        for row in inputs.comparisons
        if not (same and row.get("against") == "winner")
    ]
    columns = [
        "Against", "Variant", Column("AUC", True), Column("Difference", True, "variant less the one compared with"),
        Column("p", True, "DeLong, paired, within folds"), Column("p, Holm", True, "corrected for all comparisons"),
        Column("p, bootstrap", True),
    ]  # fmt: skip
    return table("Differences of the patient AUC", columns, rows, sortable=True)


def _difference(row: Row, limits: tuple[float, float]) -> Cell:
    cell = figure_cell(row.get("difference"), row.get("lower"), row.get("upper"))
    value = floating(row.get("difference"))
    if value is None:
        return cell
    picture = whisker(value, floating(row.get("lower")), floating(row.get("upper")), limits, 0.0)
    return Cell(cell.text, cell.note, cell.sort, picture)


def _p(value: object) -> str:
    parsed = floating(value)
    return NONE if parsed is None else "< 0.001" if parsed < 0.001 else f"{parsed:.3f}"


def effects(inputs: Inputs) -> Table:
    """Return the main effect of each axis of the grid."""
    rows = []
    for axis in inputs.metrics.get("axes") or []:
        for place, entry in enumerate(axis.get("values") or []):
            absent = Cell("no matched pair" if place else "first value", sort="")
            rows.append(
                [
                    str(axis.get("axis", "")).replace("_", " "),
                    _setting(entry.get("value")),
                    entry.get("variants"),
                    _figure(entry.get("auc")),
                    _figure(entry["difference"]) if entry.get("difference") else absent,
                    entry.get("matched"),
                ]
            )
    columns = ["Axis", "Value", Column("Variants", True), Column("Mean AUC", True),
               Column("Difference to the first value", True), Column("Matched pairs", True)]  # fmt: skip
    note = "Differences are taken between variants that are alike in everything else."
    return table("Main effect of each axis of the grid", columns, rows, note=note)


def _setting(value: object) -> str:
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else str(value)


def effects_figure(inputs: Inputs) -> Markup | str:
    """Return the differences of the axes' values to the first as a forest plot."""
    rows = [
        _interval(f"{axis.get('axis')}: {_setting(entry.get('value'))}", entry["difference"])
        for axis in inputs.metrics.get("axes") or []
        for entry in axis.get("values") or []
        if floating((entry.get("difference") or {}).get("value")) is not None
    ]
    return forest(rows, "Difference of AUC to the first value of each axis", 0.0, "difference of AUC") if rows else ""


def subgroups(inputs: Inputs) -> Table:
    """Return AUC, sensitivity and specificity of the nested headline in each subgroup."""
    rows = [
        [
            _attribute(entry),
            str(entry.get("group")),
            entry.get("n"),
            Cell(" / ".join(_count((entry.get("patients") or {}).get(name)) for name in inputs.classes)),
            *(_figure(entry.get(name)) for name in ("auc", "sensitivity", "specificity")),
            Cell(str(entry.get("note") or "")),
        ]
        for entry in _headline_subgroups(inputs)
    ]
    columns = ["Attribute", "Group", Column("Patients", True), Column(" / ".join(inputs.classes), True),
               *(Column(METRICS[name][0], True) for name in ("auc", "sensitivity", "specificity")), "Note"]  # fmt: skip
    return table("Subgroups of patients, nested headline", columns, rows)


def subgroups_figure(inputs: Inputs) -> Markup | str:
    """Return the AUC of the subgroups as a forest plot, with the overall AUC as a line."""
    overall = (((inputs.metrics.get(HEADLINE) or {}).get("patient") or {}).get("auc") or {}).get("value")
    rows = [
        _interval(f"{_attribute(entry)}: {entry.get('group')}", entry["auc"], f"n = {entry.get('n')}")
        for entry in _headline_subgroups(inputs)
        if floating((entry.get("auc") or {}).get("value")) is not None
    ]
    return forest(rows, "AUC of the nested headline by subgroup", floating(overall), "AUC") if rows else ""


def _headline_subgroups(inputs: Inputs) -> list[Mapping[str, Any]]:
    return [entry for entry in inputs.metrics.get("subgroups") or [] if entry.get("predictor", HEADLINE) == HEADLINE]


def _attribute(entry: Mapping[str, Any]) -> str:
    name = str(entry.get("attribute"))
    return ATTRIBUTES.get(name, name.replace("_", " "))


def _count(value: object) -> str:
    return "under 5" if value is None else str(value)


def _interval(name: str, figure: Mapping[str, Any], note: str = "") -> Interval:
    value, lower, upper = (floating(figure.get(end)) for end in ("value", "lower", "upper"))
    return Interval(name, value or 0.0, lower, upper, f"{number(value)} · {note}".strip(" ·"))


def guards(inputs: Inputs) -> Table:
    """Return every guard, those that fired first."""
    found = sorted(inputs.metrics.get("guards") or [], key=lambda guard: not guard.get("fired"))
    rows = [
        [
            Cell("fired", badge="bad") if guard.get("fired") else Cell("silent", badge="good"),
            str(guard.get("name", "")).replace("_", " "),
            str(guard.get("statement", "")),
            "; ".join(_finding(entry) for entry in guard.get("found") or []),
        ]
        for guard in found
    ]
    return table("Guards", ["State", "Guard", "Holds where", "Found"], rows)


def _finding(entry: Mapping[str, Any]) -> str:
    rest = {
        name: number(value) if isinstance(value, float) else value for name, value in entry.items() if name != "what"
    }
    words = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{entry['what']} ({words})" if entry.get("what") and words else str(entry.get("what") or words)


def fired(inputs: Inputs) -> int:
    """Return how many guards fired."""
    return sum(bool(guard.get("fired")) for guard in inputs.metrics.get("guards") or [])
