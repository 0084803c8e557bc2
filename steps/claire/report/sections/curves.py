"""The curves: ROC, precision and recall, calibration, decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from claire.report.figures import Axes, Line, Point, line_chart
from claire.report.inputs import Inputs
from claire.report.sections.provenance import Trail, trail

HEADLINE, TREAT_ALL = "headline", "treat all"
NESTED = "nested headline"
LOWEST_BENEFIT = -0.1


@dataclass(frozen=True)
class Chart:
    """A figure with its title, caption and trail to its runs; `empty` says why there is no picture."""

    id: str
    title: str
    svg: Markup | str
    empty: str
    caption: str
    trail: Trail


@dataclass(frozen=True)
class _Curve:
    variant: str
    positive: str
    fold: int | None
    points: list[Point]
    band: list[tuple[float, float, float]]


def charts(inputs: Inputs) -> list[Chart]:
    """Return all curves; a curve that could not be measured is replaced by the reason."""
    if not inputs.curves:
        return []
    required = [_roc(inputs), _precision(inputs), _calibration(inputs), _decision(inputs)]
    return required + [chart for chart in (_folds(inputs), _by_slices(inputs)) if chart.svg]


def shown_variants(inputs: Inputs) -> list[str]:
    """Return the variants that charts show next to the headline: the winner and the reference."""
    return list(dict.fromkeys((inputs.metrics.winner.variant, inputs.metrics.reference)))


def nested_variants(inputs: Inputs) -> list[str]:
    """Return the variants that the nested headline chose in any fold."""
    return list(dict.fromkeys(entry.variant for entry in inputs.metrics.headline.selection))


def _roc(inputs: Inputs) -> Chart:
    return _chart(
        inputs,
        "roc",
        "ROC",
        Axes("1 − specificity (false alarms among negatives)", "Sensitivity", guide=((0, 0), (1, 1))),
        _select(inputs, "roc"),
        "Patients; mean over folds, weighted by pairs, with the pointwise 95 % band of the headline. Dashed: chance.",
    )


def _precision(inputs: Inputs) -> Chart:
    share = _prevalence(inputs)
    guide = ((0.0, share), (1.0, share)) if share is not None else None
    return _chart(
        inputs,
        "pr",
        "Precision and recall",
        Axes("Recall (sensitivity)", "Precision", guide=guide),
        _select(inputs, "pr"),
        "Patients. Dashed: the precision of calling everyone positive.",
    )


def _calibration(inputs: Inputs) -> Chart:
    note = inputs.metrics.headline.calibration.note
    return _chart(
        inputs,
        "calibration",
        "Calibration",
        Axes("Predicted probability", "Share of positives", guide=((0, 0), (1, 1))),
        _select(inputs, "calibration", only=[HEADLINE]),
        "Patients in ten bins, with Wilson intervals; probabilities corrected for the prior. Dashed: ideal.",
        f"Not shown: {note}. Calibration needs at least 50 patients per class." if note else "Not measured.",
        marks=True,
    )


def _decision(inputs: Inputs) -> Chart:
    curves = _select(inputs, "decision", only=[HEADLINE, *shown_variants(inputs), TREAT_ALL])
    highest_benefit = max(
        [upper for curve in curves for *_, upper in curve.band] + [y for curve in curves for _, y in curve.points],
        default=1.0,
    )
    share = _prevalence(inputs)
    prevalence_text = f" at a prevalence of {share:.2f} ({_origin(inputs)})" if share is not None else ""
    return _chart(
        inputs,
        "decision",
        "Decision curve",
        Axes(
            "Threshold probability",
            "Net benefit",
            (0, 1),
            (LOWEST_BENEFIT, max(highest_benefit, 0.1) * 1.05),
            ((0, 0), (1, 0)),
        ),
        [_cut_at_lowest_benefit(curve) for curve in curves],
        f"Net benefit{prevalence_text}; dashed: acting on no one.",
    )


def _folds(inputs: Inputs) -> Chart:
    winner = inputs.metrics.winner.variant
    curves = [curve for curve in _read(inputs, "roc", "patient") if curve.fold is not None and curve.variant == winner]
    lines = [Line(f"fold {curve.fold}" + _class_suffix(inputs, curve), curve.points) for curve in curves]
    axes = Axes("1 − specificity", "Sensitivity", guide=((0, 0), (1, 1)))
    alt = f"ROC curves of the single folds of variant {winner}"
    return Chart(
        "figure-folds",
        "ROC of the winner's folds",
        line_chart(axes, lines, alt) if lines else "",
        "",
        "How much the folds differ; each has few patients.",
        trail(inputs, [winner]),
    )


def _by_slices(inputs: Inputs) -> Chart:
    return _chart(
        inputs,
        "by-slices",
        "ROC over the share of positive slices",
        Axes("1 − specificity", "Sensitivity", guide=((0, 0), (1, 1))),
        _select(inputs, "roc_by_slices", "scan"),
        "Scans, the original's way: the score is the share of slices called positive at 0.5.",
    )


def _chart(
    inputs: Inputs,
    name: str,
    title: str,
    axes: Axes,
    curves: Sequence[_Curve],
    caption: str,
    empty: str = "This curve was not measured.",
    marks: bool = False,
) -> Chart:
    lines = [
        Line(_name(inputs, curve), curve.points, curve.band if curve.variant == HEADLINE else (), marks)
        for curve in curves
    ]
    alt = f"{title}: {', '.join(line.name for line in lines)}. {caption}"
    variants = [name for name in nested_variants(inputs) if any(curve.variant == HEADLINE for curve in curves)]
    variants += [curve.variant for curve in curves if curve.variant not in (HEADLINE, TREAT_ALL)]
    svg = line_chart(axes, lines, alt) if lines else ""
    return Chart(f"figure-{name}", title, svg, empty, caption, trail(inputs, variants))


def _select(inputs: Inputs, kind: str, level: str = "patient", only: Sequence[str] | None = None) -> list[_Curve]:
    variants = list(only) if only is not None else [HEADLINE, *shown_variants(inputs)]
    curves = [curve for curve in _read(inputs, kind, level) if curve.fold is None and curve.variant in variants]
    return sorted(curves, key=lambda curve: variants.index(curve.variant))


def _read(inputs: Inputs, kind: str, level: str) -> list[_Curve]:
    curves: dict[tuple[str, str, int | None], _Curve] = {}
    for row in inputs.curves:
        if row.curve != kind or row.level != level:
            continue
        key = row.variant, row.label, row.fold
        curve = curves.setdefault(key, _Curve(*key, [], []))
        if row.x is not None and row.y is not None:
            curve.points.append((row.x, row.y))
            if row.lower is not None and row.upper is not None:
                curve.band.append((row.x, row.lower, row.upper))
    return [curve for curve in curves.values() if curve.points]


def _cut_at_lowest_benefit(curve: _Curve) -> _Curve:
    points = [(x, y) for x, y in curve.points if y >= LOWEST_BENEFIT]
    band = [(x, max(lower, LOWEST_BENEFIT), max(upper, LOWEST_BENEFIT)) for x, lower, upper in curve.band]
    return _Curve(curve.variant, curve.positive, curve.fold, points, band)


def _name(inputs: Inputs, curve: _Curve) -> str:
    if curve.variant == TREAT_ALL:
        return "acting on everyone"
    if curve.variant == HEADLINE:
        return NESTED + _class_suffix(inputs, curve)
    named = {"winner": inputs.metrics.winner.variant, "reference": inputs.metrics.reference}
    roles = [role for role, name in named.items() if curve.variant == name]
    return f"{' and '.join(roles)} {curve.variant}" + _class_suffix(inputs, curve)


def _class_suffix(inputs: Inputs, curve: _Curve) -> str:
    return f", {curve.positive} against the rest" if len(inputs.classes) > 2 and curve.positive else ""


def _prevalence(inputs: Inputs) -> float | None:
    return inputs.metrics.prevalence if len(inputs.classes) == 2 else None


def _origin(inputs: Inputs) -> str:
    return "that of the cohort" if inputs.metrics.prevalence_from == "cohort" else "as stated"
