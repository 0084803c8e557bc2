"""Which network is explained — as trained, or refined — and where it draws the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from claire.core.command.progress import progress
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.run import Predictions
from claire.core.statistics.decisions import operating_points
from claire.core.statistics.ranking import auc
from claire.explain.cases import Cases
from claire.explain.healing.gates import FEWEST, Refinement, judge_refinement, too_few
from claire.explain.healing.healer import refine
from claire.explain.probe import Probe, probabilities

if TYPE_CHECKING:
    from claire.explain import Parameters
    from claire.explain.work import Work

#: Steps where the flag is left out: (with a GPU, without).
REFINE_STEPS, HEAL_STEPS = (120, 24), (400, 60)


@dataclass(frozen=True)
class Chosen:
    """The explained network with its operating point (on 1 − p(reference)) and what it says of the validation scans.

    `logits`: (validation scans, classes). `difference`: largest difference between the probabilities that training
    wrote down for them and those computed here; None where the network was refined.
    """

    probe: Probe
    refinement: Refinement
    operating_point: float
    validation: list[Scan]
    logits: np.ndarray
    positive: np.ndarray
    difference: float | None

    @property
    def auc(self) -> float:
        """AUC of the explained network on the validation scans; NaN where a class is missing."""
        return auc(scores(self.logits), self.positive)


def scores(logits: np.ndarray) -> np.ndarray:
    """Return 1 − p(reference) of logits (…, classes)."""
    return 1 - probabilities(logits)[..., 0]


def steps_of(wanted: int | None, defaults: tuple[int, int], probe: Probe) -> int:
    """Return the steps that the flag asks for, or the default of the device."""
    return wanted if wanted is not None else defaults[0 if probe.device.type == "cuda" else 1]


def choose(work: Work, cases: Cases, parameters: Parameters) -> Chosen:
    """Return the explained network: refined where that is asked for and shown to do no harm on validation."""
    validation = work.roles["validation"]
    positive = np.array([work.cohort.target(scan) > 0 for scan in validation], bool)
    logits = look(work.probe, validation, cases, "validation scans seen")
    refined, refinement = _refined(work, cases, parameters, logits, positive)
    if refinement.taken and refined is not None:
        logits = look(refined, validation, cases, "validation scans seen again")
        point = operating_points(scores(logits), positive)[0]
        return Chosen(refined, refinement, point, validation, logits, positive, None)
    predicted = work.run.scans.get("validation")
    point = _operating_point(predicted)
    return Chosen(
        work.probe, refinement, point, validation, logits, positive, _difference(predicted, validation, logits)
    )


def look(probe: Probe, scans: list[Scan], cases: Cases, what: str) -> np.ndarray:
    """Return the logits (scans, classes) of scans as they are."""
    found = [probe.of(cases.get(scan)) for scan in progress(scans, what)]
    return np.array(found).reshape(len(scans), -1)


def _refined(
    work: Work, cases: Cases, parameters: Parameters, logits: np.ndarray, positive: np.ndarray
) -> tuple[Probe | None, Refinement]:
    steps, count = steps_of(parameters.refine_steps, REFINE_STEPS, work.probe), len(logits)
    if not steps:
        return None, Refinement(False, "not asked for", 0, n=count)
    if count < FEWEST:
        return None, Refinement(False, too_few(count), 0, n=count)
    labelled = [(cases.loader(scan), work.cohort.target(scan)) for scan in work.roles["train"]]
    refined, _ = refine(work.probe, labelled, steps, parameters.seed)
    after = look(refined, work.roles["validation"], cases, "validation scans seen by the refined network")
    patient = np.array([scan.patient for scan in work.roles["validation"]])
    return refined, judge_refinement(scores(logits), scores(after), positive, patient, steps, parameters.seed)


def _operating_point(predicted: Predictions | None) -> float:
    """Youden's point on the validation predictions that training wrote down; 0.5 where there are none."""
    if predicted is None or not len(predicted):
        return 0.5
    return operating_points(1 - predicted.probability[:, 0], predicted.target > 0)[0]


def _difference(predicted: Predictions | None, scans: list[Scan], logits: np.ndarray) -> float | None:
    if predicted is None or not len(scans):
        return None
    said = dict(zip(predicted.scan, predicted.probability, strict=True))
    now = probabilities(logits)
    found = [np.abs(said[scan.scan] - now[i]).max() for i, scan in enumerate(scans) if scan.scan in said]
    return round(float(max(found)), 6) if found else None


def called_positive(chosen: Chosen) -> np.ndarray:
    """Return which validation scans the network calls positive, (scans,) bool."""
    return scores(chosen.logits) >= chosen.operating_point if len(chosen.logits) else np.zeros(0, bool)


def training_pool(cohort: Cohort, scans: list[Scan], most: int, seed: int) -> list[Scan]:
    """Return at most `most` training scans, drawn evenly from the classes, for the healer."""
    rng, kept = np.random.default_rng(seed), []
    shuffled = [scans[i] for i in rng.permutation(len(scans))]
    by_class = [[scan for scan in shuffled if cohort.target(scan) == one] for one in range(len(cohort.classes))]
    while len(kept) < most and any(by_class):
        kept += [one.pop() for one in by_class if one]
    return kept[:most]
