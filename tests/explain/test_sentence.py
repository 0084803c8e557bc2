"""The sentence of a scan: what it says in each case, with the document's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.contracts.lesions import Background, ExplainedScan, Lesion, LesionPart
from claire.explain.lesions.sentence import sentence

from tests.support.report_inputs import lesion


def made(index: int, crucial: bool = False, **changes: object) -> Lesion:
    fields: dict[str, object] = {"crucial": crucial, "side": "right", "zone": "lower", "volume_ml": 12.2, "parts": ()}
    return lesion(index, np.random.default_rng(0)).model_copy(update=fields | {"kind": "lesion"} | changes)


def scan(*lesions: Lesion, outcome: str = "TP", without: float | None = 0.08, **changes: object) -> ExplainedScan:
    fields: dict[str, object] = {
        "scan": "S1", "patient": "P1", "label": "positive", "probability": 0.93, "explained_class": "positive",
        "decision": "positive" if outcome in ("TP", "FP") else "negative", "outcome": outcome, "lesions": lesions,
        "probability_without": without,
        "background": Background(log_odds=-3, probability=0.05, decision="negative", share=0.1),
    }  # fmt: skip
    return ExplainedScan.model_validate(fields | changes)


def test_two_of_five_decide() -> None:
    others = [made(i) for i in range(2, 5)]
    said = sentence(scan(made(0, True), made(1, True, side="left", volume_ml=7.0), *others))
    assert said == (
        "Two of five opacities decide: right lower zone 12 ml, left lower zone 7 ml; without them p falls from 0.93 "
        "to 0.08."
    )


def test_one_of_two_and_the_only_one() -> None:
    assert sentence(scan(made(0, True), made(1))).startswith(
        "One of two opacities decides: right lower zone 12 ml; without it"
    )
    assert sentence(scan(made(0, True))).startswith("The only opacity decides: right lower zone 12 ml; without it p")


def test_many_are_named_in_part() -> None:
    said = sentence(scan(*(made(i, True) for i in range(6))))
    assert said.startswith("Six of six opacities decide:")
    assert "right lower zone 12 ml and two more; without them" in said


def test_a_lesion_in_two_zones_names_both() -> None:
    part = LesionPart(zone="lower", volume_ml=3, mean_hu=-300, centroid_lps_mm=(0, 0, 0))
    parts = (part, part.model_copy(update={"zone": "middle"}))
    assert "right lower and middle zones 12 ml" in sentence(scan(made(0, True, parts=parts), made(1)))


def test_a_lesion_in_all_zones_says_so() -> None:
    part = LesionPart(zone="lower", volume_ml=3, mean_hu=-300, centroid_lps_mm=(0, 0, 0))
    assert "right lung in all zones 12 ml" in sentence(scan(made(0, True, parts=(part,) * 3), made(1)))


def test_a_network_at_chance_names_no_lesion() -> None:
    said = sentence(scan(made(0, True)), better=False)
    assert said == "The network is not shown to be better than chance: p is 0.93, and no lesion is ranked or named."


def test_a_region_is_called_a_region() -> None:
    said = sentence(scan(made(0, True, kind="region"), made(1), made(2)))
    assert said.startswith(
        "One of two opacities and one region decides: right lower zone 12 ml (a region, not an opacity);"
    )


def test_regions_that_do_not_decide_are_not_counted() -> None:
    assert sentence(scan(made(0, True), made(1, kind="region"))).startswith("The only opacity decides")


@pytest.mark.parametrize(
    ("decision", "start"),
    [
        ("positive", "The call rests on no opacity that was measured: without all two opacities p is 0.05, from 0.93."),
        ("negative", "No lesion is named: without all two opacities p is 0.05, from 0.93, but no set"),
    ],
)
def test_without_a_crucial_set_the_background_is_told(decision: str, start: str) -> None:
    background = Background(log_odds=0, probability=0.05, decision=decision, share=None)
    assert sentence(scan(made(0), made(1), without=None, background=background)).startswith(start)


def test_a_scan_without_any_opacity_says_so() -> None:
    assert sentence(scan(without=None, background=None)) == "No opacity was found; p is 0.93."


def test_a_scan_that_is_not_called_names_its_strongest_or_none() -> None:
    assert "the strongest speaks for positive but is not enough" in sentence(scan(made(0), outcome="TN", without=None))
    weak = made(0, rank=None)
    assert "none speaks for positive beyond the noise" in sentence(scan(weak, outcome="TN", without=None))
