"""Gates open on enough good evidence, each is driven shut on its own, and folds are pooled."""

from __future__ import annotations

import json

import pytest
from claire.core.contracts.gates import SHARES, Evidence, Gate, gates, needed, reliable

N = 40


def evidence(n: int = N, **changes: object) -> Evidence:
    """Return evidence of `n` patients a kind that opens every gate, with changes by gate or field."""
    shares = {name: (1.0 if rule.at_least else 0.0,) * n for name, rule in SHARES.items()}
    fields: dict[str, object] = {"auc": 0.9, "positives": n, "negatives": n, "shares": shares, "guards_fired": ()}
    for name, value in changes.items():
        if name in SHARES:
            shares[name] = value  # type: ignore[assignment]
        else:
            fields[name] = value
    return Evidence.model_validate(fields)


def by_name(*folds: Evidence) -> dict[str, Gate]:
    return {gate.name: gate for gate in gates(folds)}


def closed(*folds: Evidence) -> list[str]:
    return [gate.name for gate in gates(folds) if not gate.open]


def test_good_evidence_opens_every_gate() -> None:
    assert closed(evidence()) == []
    assert reliable(gates([evidence()]))


def test_the_patients_that_a_gate_needs_are_told_and_right() -> None:
    assert {name: needed(rule) for name, rule in SHARES.items()} == {
        "empty_lung": 36, "healed_odds": 6, "control_random": 36, "control_dense": 36, "flips_judge": 17,
        "negatives_stay": 36, "insertion": 6,
    }  # fmt: skip
    assert "empty_lung" in closed(evidence(35))
    assert closed(evidence(36)) == []
    assert by_name(evidence(35))["empty_lung"].statement.endswith("n=35, 36 patients called positive are needed")


@pytest.mark.parametrize("name", list(SHARES))
def test_each_share_closes_its_own_gate(name: str) -> None:
    rule = SHARES[name]
    bad = (0.0 if rule.at_least else 1.0,) * N
    assert closed(evidence(**{name: bad})) == [name]


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"auc": 0.55}, "better_than_chance", "not above 0.5"),
        ({"auc": None}, "better_than_chance", "a class is missing"),
        ({"guards_fired": ("one_label_kernel",)}, "shortcut_guards", "fired: one_label_kernel"),
        ({"guards_fired": None}, "shortcut_guards", "no winner.json of evaluate was given"),
        ({"flips_judge": (), "reasons": {"flips_judge": "no judge was given (--judge)"}}, "flips_judge", "no judge"),
    ],
)
def test_what_is_no_share_closes_its_gate_too(changes: dict[str, object], name: str, reason: str) -> None:
    assert closed(evidence(**changes)) == [name]
    assert reason in by_name(evidence(**changes))[name].statement


def test_a_share_that_only_the_estimate_reaches_is_not_enough() -> None:
    gate = by_name(evidence(empty_lung=(1.0,) * 37 + (0.0,) * 3))["empty_lung"]
    assert gate.value is not None
    assert gate.lower is not None
    assert gate.value > 0.9 > gate.lower
    assert not gate.open


def test_folds_are_pooled_and_open_what_one_cannot() -> None:
    folds = [evidence(12), evidence(12), evidence(12)]
    assert "empty_lung" in closed(folds[0])
    assert closed(*folds) == []
    assert by_name(*folds)["empty_lung"].n == 36


def test_one_bad_fold_closes_the_pooled_gate() -> None:
    assert closed(evidence(), evidence(12, empty_lung=(0.0,) * 12)) == ["empty_lung"]


def test_a_guard_that_was_asked_in_one_fold_only_is_closed() -> None:
    assert closed(evidence(), evidence(guards_fired=None)) == ["shortcut_guards"]


def test_patients_with_several_scans_are_rounded_against_the_gate() -> None:
    half = (1.0,) * 39 + (0.5,)
    assert (
        by_name(evidence(empty_lung=half))["empty_lung"].lower
        == by_name(evidence(empty_lung=(1.0,) * 39 + (0.0,)))["empty_lung"].lower
    )
    part = (0.0,) * 39 + (0.5,)
    assert (
        by_name(evidence(control_dense=part))["control_dense"].upper
        == by_name(evidence(control_dense=(0.0,) * 39 + (1.0,)))["control_dense"].upper
    )


def test_nothing_measured_closes_everything_and_is_plain_json() -> None:
    nothing = Evidence(auc=None, positives=0, negatives=0, shares={})
    judged = gates([nothing])
    assert not any(gate.open for gate in judged)
    json.dumps([gate.model_dump(mode="json") for gate in judged], allow_nan=False)
    assert not reliable(())
