"""The result in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from claire.core.contracts.external import Drop, ExternalCounts, ExternalFigure
from claire.core.contracts.metrics import Figure
from claire.evaluate.documents import CHANCE

WHO = {"all": "new patients", "with_say": "new patients in whom the model has a say"}
SHARES = {"cannot_tell": "The model cannot tell in", "out_of_cohort": "Out of the model's cohort are"}
IDEALS = {"calibration_slope": 1, "calibration_intercept": 0}
INSIDE = {
    "headline": "inside",
    "winner": "inside, selected as the best",
    "winner_corrected": "inside, corrected for the choice",
}
POINTS = {
    "youden": "at Youden's operating point",
    "sensitive": "at the operating point for a sensitivity of 0.90",
    "likeliest": "where the likeliest class is decided",
}


def sentences(counts: ExternalCounts, figures: Sequence[ExternalFigure], notes: Sequence[str]) -> Iterator[str]:
    """Yield what people need to know: AUC and its drop, whether it is at chance, decisions, and who was left out."""
    for each in figures:
        if each.metric == "auc":
            yield from _ranking(each)
        elif each.metric in ("sensitivity", "specificity"):
            yield _compared(each, each.metric.capitalize(), f" {POINTS[each.point]}")
        elif each.metric in SHARES:
            share = [_percent(end) for end in (each.figure.value, each.figure.lower, each.figure.upper)]
            yield f"{SHARES[each.metric]} {share[0]} ({share[1]} to {share[2]}) of {each.n} patients."
        elif each.metric in IDEALS:
            name = each.metric.replace("_", " ").capitalize()
            yield f"{name} {estimate(each.figure)} on {each.n} {WHO[each.who]}; the ideal is {IDEALS[each.metric]}."
    yield from (f"{note[0].upper()}{note[1:]}." for note in notes)
    yield from _left_out(counts)


def _ranking(area: ExternalFigure) -> Iterator[str]:
    yield _compared(area, "AUC", "")
    if not better_than_chance(area.figure):
        yield f"On these {area.n} patients the model is not shown to be better than chance, an AUC of {CHANCE}."


def better_than_chance(area: Figure) -> bool:
    """Return whether the lower limit of an AUC is above chance."""
    return area.lower is not None and area.lower > CHANCE


def estimate(measured: Figure) -> str:
    """Return a figure with its limits as text: `0.81 (0.72 to 0.89)`."""
    if measured.value is None:
        return "unknown"
    if measured.lower is None or measured.upper is None:
        return f"{measured.value:.2f} (no interval)"
    return f"{measured.value:.2f} ({measured.lower:.2f} to {measured.upper:.2f})"


def drop_text(drop: Drop) -> str:
    """Return a difference in words: `0.14 lower (0.03 to 0.24)`, or that none is shown."""
    value, lower, upper = drop.difference.value, drop.difference.lower, drop.difference.upper
    if value is None or lower is None or upper is None:
        return "the difference has no interval"
    if upper < 0:
        return f"{-value:.2f} lower ({-upper:.2f} to {-lower:.2f})"
    if lower > 0:
        return f"{value:.2f} higher ({lower:.2f} to {upper:.2f})"
    return f"no drop is shown (from {abs(lower):.2f} lower to {upper:.2f} higher)"


def _compared(each: ExternalFigure, name: str, where: str) -> str:
    if each.figure.value is None:
        return f"{name} is unknown on {each.n} {WHO[each.who]}{where}: a class is missing."
    begin = f"{name} {estimate(each.figure)} on {each.n} {WHO[each.who]}{where}"
    inside = [f"{estimate(drop.internal)} {INSIDE[drop.against]}: {drop_text(drop)}" for drop in each.drops]
    return "; ".join([begin, *inside]) + "."


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.0f} %"


def _left_out(counts: ExternalCounts) -> Iterator[str]:
    if counts.unlabelled_scans:
        yield (
            f"Without a label: {counts.unlabelled_scans} of {counts.predicted_scans} scans; "
            f"{counts.unlabelled_patients} of {counts.predicted_patients} patients are left out for it."
        )
    if counts.unused_labels:
        yield f"{counts.unused_labels} rows of the labels name no predicted scan."
