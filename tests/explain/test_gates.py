"""Gates fail closed: on few scans, on wide intervals, and where nothing was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
from claire.explain.healing.gates import Healed, gates, may_propose, reliable
from claire.explain.refine import judge_refinement


def healed(n: int = 60, flips: float = 1.0, control: float = 0.0, mask: float = 0.002, judge: bool = True) -> Healed:
    hits = np.arange(n) < flips * n
    controls = np.arange(n) < control * n
    rng = np.random.default_rng(0)
    odds, negative = rng.normal(-4, 0.3, n), rng.normal(-3, 1, n)
    return Healed(hits, odds, controls, controls, negative, np.full(n, mask), hits if judge else None)


def by_name(found: list) -> dict:
    return {gate.name: gate for gate in found}


def test_good_healing_opens_every_gate_that_is_evaluated() -> None:
    found = by_name(gates(healed(), 0))
    assert [name for name, gate in found.items() if not gate.open] == ["shortcut_guards"]
    assert "not evaluated in this version" in found["shortcut_guards"].statement


def test_few_scans_close_all_gates_and_say_so() -> None:
    found = gates(healed(n=6), 0)
    assert not any(gate.open for gate in found)
    assert "n=6 < 20" in by_name(found)["flips"].statement


def test_a_share_that_only_the_estimate_reaches_is_not_enough() -> None:
    gate = by_name(gates(healed(n=24, flips=0.92), 0))["flips"]
    assert gate.value > 0.9 > gate.lower
    assert not gate.open


@pytest.mark.parametrize(
    ("change", "name"),
    [({"control": 0.3}, "control_random"), ({"mask": 0.02}, "negative_mask"), ({"judge": False}, "flips_judge")],
)
def test_each_failure_closes_its_gate(change: dict, name: str) -> None:
    assert not by_name(gates(healed(**change), 0))[name].open


def test_healing_that_stays_above_true_negatives_closes_the_first_gate() -> None:
    made = healed()
    bad = Healed(**{**made.__dict__, "healed": made.healed + 5})
    assert not by_name(gates(bad, 0))["healed_odds"].open


def test_few_true_negatives_close_the_first_gate() -> None:
    made = healed()
    few = Healed(**{**made.__dict__, "negative_odds": made.negative_odds[:5]})
    assert "n=5 < 20" in by_name(gates(few, 0))["healed_odds"].statement


def test_without_a_healer_every_gate_names_the_reason() -> None:
    found = gates(None, 0, "the network calls no training scan positive")
    assert not reliable(found)
    assert all(gate.statement.endswith("the network calls no training scan positive") for gate in found)
    assert not may_propose(found)


def test_gates_of_nothing_are_closed_and_plain_json() -> None:
    nothing = Healed(*(np.zeros(0, kind) for kind in (bool, float, bool, bool, float, float)))
    found = gates(nothing, 0)
    assert not reliable(found)
    json.dumps([gate.model_dump(mode="json") for gate in found], allow_nan=False)


def test_a_mask_that_covers_healthy_lungs_may_not_propose() -> None:
    assert may_propose(gates(healed(n=6), 0))
    assert not may_propose(gates(healed(n=6, mask=0.1), 0))


@pytest.mark.parametrize(("noise", "taken"), [(0.0, True), (3.0, False)])
def test_refinement_is_taken_only_where_it_does_no_harm(noise: float, taken: bool) -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(60) % 2 == 1
    before = positive + rng.normal(0, 0.2, 60)
    after = before + rng.normal(0, noise, 60) if noise else before
    assert judge_refinement(before, after, positive, np.arange(60), 120, 0).taken is taken


def test_refinement_is_never_taken_on_few_scans() -> None:
    score = np.arange(10.0)
    found = judge_refinement(score, score, score > 4, np.arange(10), 120, 0)
    assert not found.taken
    assert "n=10 < 20" in found.reason
