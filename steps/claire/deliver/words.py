"""Numbers and verdicts in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from claire.core.contracts.lesions import Lesion
from claire.core.contracts.metrics import Figure
from claire.core.contracts.predictions import LIKELIEST, Decision, Verdict

#: Operating points in words.
POINTS = {"youden": "Youden's index", "sensitive": "sensitivity of 90 %", LIKELIEST: "likeliest class"}
#: Warnings of segment in words.
LUNG_WARNINGS = {
    "one_lung": "One lung has less than a tenth of the volume of the other",
    "small_lungs": "The lungs are small for the body: less than 500 ml in an adult",
    "cut_at_border": "A lung is cut by the first or last slice or by the edge of the field of view",
    "much_closed": "Much of the lung mask was closed over dense tissue",
}
CANNOT_TELL = "The model cannot tell"


def point_name(decision: Decision) -> str:
    """Return the operating point of a decision in words."""
    return POINTS.get(decision.point, decision.point)


def percent(probability: float) -> str:
    """Return a probability as a percentage; none is shown as certain."""
    if probability < 0.01:
        return "below 1 %"
    if probability > 0.99:
        return "above 99 %"
    return f"{probability * 100:.0f} %"


def spread(verdict: Verdict, name: str) -> str:
    """Return the probabilities that the single networks give a class: `81 % to 93 %`."""
    low, high = percent(verdict.low[name]), percent(verdict.high[name])
    return low if low == high else f"{low} to {high}"


def shown_class(verdict: Verdict) -> str:
    """Return the class whose probability is told: the positive one of two, else the decided one."""
    names = list(verdict.probability)
    return names[1] if len(names) == 2 else verdict.decision.decision


def agreement(decision: Decision, networks: int) -> str:
    """Return how many networks decide so: `all 5 networks agree`, `4 of 5 networks agree`."""
    if networks == 1:
        return "there is one network"
    if decision.agreeing == networks:
        return f"all {networks} networks agree"
    return f"{decision.agreeing} of {networks} networks agree"


def verdict_sentence(verdict: Verdict) -> str:
    """Return what the model says in one sentence."""
    name = shown_class(verdict)
    probability = f"a calibrated probability of “{name}” of {percent(verdict.probability[name])}"
    count = len(verdict.networks)
    several = f" ({spread(verdict, name)} by the single networks)" if count > 1 else ""
    if verdict.cannot_tell:
        return f"{CANNOT_TELL}. Its networks compute {probability}{several}, which is not to be relied on."
    decision = verdict.decision
    how = (
        "as the likeliest class" if decision.point == LIKELIEST else f"at the operating point of {point_name(decision)}"
    )
    return f"Called “{decision.decision}” {how}, with {probability}{several}; {agreement(decision, count)}."


def other_decisions(verdict: Verdict) -> list[str]:
    """Return what is decided at the other operating points, a sentence each; none where the model has no say."""
    if verdict.cannot_tell:
        return []
    count = len(verdict.networks)
    return [
        f"At the operating point of {point_name(each)}: “{each.decision}”; {agreement(each, count)}."
        for each in verdict.decisions[1:]
    ]


def figure_text(figure: Figure | None) -> str:
    """Return a figure with its interval: `0.85 (0.75 to 0.94)`."""
    if figure is None or figure.value is None:
        return "unknown"
    limits = "" if figure.lower is None or figure.upper is None else f" ({figure.lower:.2f} to {figure.upper:.2f})"
    return f"{figure.value:.2f}{limits}"


def place(lesion: Lesion) -> str:
    """Return side and zones of a lesion: `right, lower and middle zone`."""
    zones = list(dict.fromkeys(part.zone for part in lesion.parts)) or [lesion.zone]
    return f"{lesion.side}, {listed(zones)} zone{'s' * (len(zones) > 1)}"


def signed(value: float, digits: int) -> str:
    """Return a change with its sign, by the proper minus."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `1 scan` or `3 scans`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def lung_warning(name: str) -> str:
    """Return a warning of segment in words."""
    return LUNG_WARNINGS.get(name, name)


def capital(text: str) -> str:
    """Return a text whose first letter is a capital."""
    return text[:1].upper() + text[1:]
