"""Evidence for the gates, under networks whose answer is known: a good one opens them, each bad one shuts its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from claire.core.contracts.cohort import Cohort
from claire.core.contracts.gates import gates
from claire.core.contracts.lesions import Refinement
from claire.core.contracts.variant import Variant
from claire.explain.evidence import Measured, measure_evidence
from claire.explain.probe import Case, Cases
from claire.explain.refine import ChosenNetwork

from tests.support.lungs import SHAPE, Dense, make_scan, two_lungs

CLASSES = ("negative", "positive")
PATIENTS = 80
VARIANT = Variant(architecture="python:x:y", view="whole", size=SHAPE[1], slices=SHAPE[0])


def cohort(noise: float = 0.0) -> Cohort:
    """Positives with two opacities each and, where asked for, a noisy kernel; negatives with healthy, quiet lungs."""
    scans, hus, masks = [], [], []
    for i in range(PATIENTS):
        positive, rng = i % 2 == 1, np.random.default_rng(i)
        first, second = rng.integers(9, 16, 2)
        spots = (np.s_[1:5, first : first + 9, 24:33], -300.0), (np.s_[6:10, second : second + 9, 6:15], -300.0)
        hu, lungs = two_lungs(*(spots if positive else ()))
        hu = hu + rng.normal(0, 5 + noise * positive, hu.shape)
        scans.append(
            make_scan(scan=f"S{i}", patient=f"P{i}", label=CLASSES[positive], first=i * SHAPE[0], count=SHAPE[0])
        )
        hus.append(np.rint(hu).astype(np.int16))
        masks.append(lungs)
    return Cohort(tuple(scans), CLASSES, "", np.concatenate(hus), np.concatenate(masks))


def measured(probe: Any, judge: Any = None, noise: float = 0.0, places: int = 0) -> Measured:
    made = cohort(noise)
    cases = Cases(made, VARIANT)
    logits = np.array([probe.scan_logits(cases.get(scan)) for scan in made.scans])
    positive = np.array([made.target(scan) > 0 for scan in made.scans])
    chosen = ChosenNetwork(
        probe, Refinement(taken=False, reason="", steps=0), 0.5, list(made.scans), logits, positive, None
    )
    return measure_evidence(chosen, judge, cases, (), places, seed=0)


def closed(found: Measured) -> list[str]:
    return [gate.name for gate in gates([found.evidence]) if not gate.open]


class Network:
    """A network given by its log-odds of (view, lungs)."""

    slicewise = False

    def odds(self, hu: torch.Tensor, lungs: torch.Tensor) -> float:
        raise NotImplementedError

    def evaluate(self, volumes: list[torch.Tensor], lungs: torch.Tensor) -> np.ndarray:
        odds = [self.odds(hu, lungs) for hu in volumes]
        return np.column_stack([np.zeros(len(odds)), odds])

    def scan_logits(self, case: Case) -> np.ndarray:
        logits: np.ndarray = self.evaluate([case.hu], case.lungs)[0]
        return logits


class KernelOnly(Network):
    """Decides on the noise outside the lungs: what is in them does not matter."""

    def odds(self, hu: torch.Tensor, lungs: torch.Tensor) -> float:
        return 4.0 if float(hu[~lungs].std()) > 20 else -4.0


class KernelPatched(KernelOnly):
    """The same, taught by healed copies: lungs without opacities are the reference. It flips when healed."""

    def odds(self, hu: torch.Tensor, lungs: torch.Tensor) -> float:
        opacity = ((hu > -600) & lungs).sum() > 20
        return super().odds(hu, lungs) if opacity else -4.0


class Healthy(Network):
    """Never saw healthy lungs: calls them positive, and lungs that are a little dense too."""

    def odds(self, hu: torch.Tensor, lungs: torch.Tensor) -> float:
        return 4.0


def test_a_network_that_decides_on_opacities_opens_every_gate() -> None:
    found = measured(Dense(right=0.3, left=0.3, bias=-3.0), judge=Dense(right=0.2, left=0.4, bias=-3.0))
    assert closed(found) == []
    assert found.healed_odds is not None
    assert found.healed_odds < -2


def test_without_a_judge_its_gate_says_so() -> None:
    found = measured(Dense(right=0.3, left=0.3, bias=-3.0))
    assert closed(found) == ["flips_judge"]
    assert found.evidence.reasons["flips_judge"] == "no judge was given (--judge)"


def test_a_judge_that_does_not_turn_closes_its_gate() -> None:
    assert closed(measured(Dense(right=0.3, left=0.3, bias=-3.0), judge=Healthy())) == ["flips_judge"]


def test_a_kernel_shortcut_closes_the_empty_lung_and_the_insertion() -> None:
    shut = closed(measured(KernelOnly(), judge=KernelOnly(), noise=40.0))
    assert {"empty_lung", "healed_odds", "insertion", "flips_judge"} <= set(shut)


def test_a_kernel_shortcut_that_was_taught_to_flip_is_caught_by_the_insertion() -> None:
    assert closed(measured(KernelPatched(), judge=KernelPatched(), noise=40.0)) == ["insertion"]


def test_a_network_that_calls_everything_positive_closes_the_gates_of_called_scans() -> None:
    shut = closed(measured(Healthy()))
    assert {"better_than_chance", "empty_lung", "healed_odds", "negatives_stay", "insertion"} <= set(shut)


def test_patients_with_two_scans_count_once() -> None:
    network = Dense(right=0.3, left=0.3, bias=-3.0)
    made = cohort()
    twice = tuple(scan.model_copy(update={"patient": f"P{i // 4 * 2 + i % 2}"}) for i, scan in enumerate(made.scans))
    made = Cohort(twice, CLASSES, "", made.hu, made.lungs)
    cases = Cases(made, VARIANT)
    logits = np.array([network.scan_logits(cases.get(scan)) for scan in made.scans])
    positive = np.array([made.target(scan) > 0 for scan in made.scans])
    refinement = Refinement(taken=False, reason="", steps=0)
    chosen = ChosenNetwork(network, refinement, 0.5, list(made.scans), logits, positive, None)  # type: ignore[arg-type]
    found = measure_evidence(chosen, None, cases, None, 0, 0).evidence
    assert len(found.shares["empty_lung"]) == found.positives == 20
    assert found.guards_fired is None


def test_the_audit_finds_that_large_lesions_turn_the_call_and_small_ones_do_not() -> None:
    audit = measured(Dense(right=0.3, left=0.3, bias=-4.0), places=160).insertion
    assert audit is not None
    cells = {(cell.axis, cell.level): cell for cell in audit.cells}
    assert audit.places == cells["all", "all"].n >= 160
    assert cells["size", "up to 50 ml"].rise > cells["size", "up to 10 ml"].rise
    assert audit.turning_ml is not None
    assert 10 < audit.turning_ml < 60


def test_no_audit_without_places_or_donors() -> None:
    assert measured(Dense(right=0.3, left=0.3, bias=-3.0), places=0).insertion is None
    assert measured(Dense(bias=-99.0), places=40).insertion is None
