"""The result of a scan in one sentence of plain words."""

from __future__ import annotations

from collections.abc import Sequence

from claire.core.contracts.lesions import CALLED, ExplainedScan, Lesion

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
#: Crucial lesions that are named one by one.
NAMED = 4
ALL_ZONES = 3
NOT_BETTER = "The network is not shown to be better than chance: p is {p}, and no lesion is ranked or named."


def sentence(scan: ExplainedScan, better: bool = True, unranked: str = NOT_BETTER) -> str:
    """Return which lesions decided the call of a scan, with the probabilities that show it.

    `better`: whether the network is shown to be better than chance; if not, no lesion is named and `unranked` is the
    sentence, with the probability in place of `{p}`.
    """
    if not better:
        return unranked.format(p=_p(scan.probability))
    count = len(scan.lesions)
    if not count:
        return f"No opacity was found; p is {_p(scan.probability)}."
    if scan.outcome not in CALLED:
        return _not_called(scan)
    crucial = [lesion for lesion in scan.lesions if lesion.crucial]
    if not crucial or scan.probability_without is None:
        return _no_crucial(scan)
    alone = _things(scan.lesions).startswith("one ") and len(crucial) == 1
    chosen = f"The only {_noun(crucial)}" if alone else f"{_word(len(crucial))} of {_things(scan.lesions)}"
    verb = "decides" if len(crucial) == 1 else "decide"
    pronoun = "it" if len(crucial) == 1 else "them"
    fall = "falls" if scan.probability_without < scan.probability else "goes"
    return _capital(
        f"{chosen} {verb}: {_places(crucial)}; without {pronoun} p {fall} from {_p(scan.probability)} "
        f"to {_p(scan.probability_without)}."
    )


def _not_called(scan: ExplainedScan) -> str:
    strongest = scan.lesions[0]
    head = f"Not called (p = {_p(scan.probability)}): {_things(scan.lesions)} found"
    if strongest.rank is None or strongest.delta <= 0:
        return f"{head}, none speaks for {scan.explained_class} beyond the noise of the infills."
    return f"{head}; the strongest speaks for {scan.explained_class} but is not enough: {_place(strongest)}."


def _no_crucial(scan: ExplainedScan) -> str:
    everything = f"all {_things(scan.lesions)}" if len(scan.lesions) > 1 else f"the only {_noun(scan.lesions)}"
    if scan.background is None:
        return f"No crucial set was sought among {_things(scan.lesions)}; p is {_p(scan.probability)}."
    after = f"p is {_p(scan.background.probability)}, from {_p(scan.probability)}"
    if scan.background.decision == scan.decision:
        return f"The call rests on no opacity that was measured: without {everything} {after}."
    return f"No lesion is named: without {everything} {after}, but no set that stands out of the noise turns the call."


def _things(lesions: Sequence[Lesion]) -> str:
    """Return "five opacities"; regions count only where one of them is crucial, or where there is nothing else."""
    parts = []
    shown = [lesion for lesion in lesions if lesion.kind == "lesion"]
    if any(lesion.crucial for lesion in lesions if lesion.kind == "region") or not shown:
        shown = list(lesions)
    for kind, noun, plural in (("lesion", "opacity", "opacities"), ("region", "region", "regions")):
        count = sum(lesion.kind == kind for lesion in shown)
        if count:
            parts.append(f"{_word(count)} {noun if count == 1 else plural}")
    return " and ".join(parts)


def _noun(lesions: Sequence[Lesion]) -> str:
    return "opacity" if lesions[0].kind == "lesion" else "region"


def _places(crucial: Sequence[Lesion]) -> str:
    more = len(crucial) - NAMED
    named = ", ".join(map(_place, crucial[:NAMED]))
    return f"{named} and {_word(more)} more" if more > 0 else named


def _place(lesion: Lesion) -> str:
    zones = [part.zone for part in lesion.parts] or [lesion.zone]
    where = f"{lesion.side} {' and '.join(zones)} zone{'s' * (len(zones) > 1)}"
    if len(zones) == ALL_ZONES:
        where = f"{lesion.side} lung in all zones"
    volume = f"{lesion.volume_ml:.0f} ml" if lesion.volume_ml >= 1 else "below 1 ml"
    return f"{where} {volume}" + (" (a region, not an opacity)" if lesion.kind == "region" else "")


def _word(count: int) -> str:
    return WORDS[count] if count < len(WORDS) else str(count)


def _p(probability: float) -> str:
    return f"{probability:.2f}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
