"""The explained network: as trained, or refined where that is shown to be harmless.

The trained network itself is never altered; see `refining` for the ways to refine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from claire.core.command.documents import finite
from claire.core.contracts.cohort import Scan
from claire.core.contracts.lesions import Refinement
from claire.core.contracts.run import Predictions
from claire.core.statistics.decisions import DEFAULT_THRESHOLD, decide, operating_points, positive_score
from claire.core.statistics.ranking import auc
from claire.explain import Parameters
from claire.explain.inputs import Inputs
from claire.explain.probe import Cases, Probe, logits_of_scans, probabilities
from claire.explain.refining import refine_network

#: Default steps: (with a GPU, without).
REFINE_STEPS = (240, 80)
#: Minimum number of validation scans for judging a refined network.
FEWEST = 20
#: Bootstrap samples of the AUC loss of a refined network.
LOSS_SAMPLES = 500


@dataclass(frozen=True)
class ChosenNetwork:
    """The explained network, its operating point and its logits on the validation scans.

    `operating_point`: on 1 − p(reference); None for more than two classes, where the likeliest class is called.
    `logits`: (validation scans, classes); `positive`: (validation scans,) whether they are labelled positive.
    `difference`: largest difference between the probabilities that training wrote for these scans and those computed
    here; None if the network was refined.
    """

    probe: Probe
    refinement: Refinement
    operating_point: float | None
    validation: list[Scan]
    logits: np.ndarray
    positive: np.ndarray
    difference: float | None

    @property
    def auc(self) -> float:
        """AUC of the explained network on the validation scans; NaN if a class is missing."""
        return auc(scores(self.logits), self.positive)

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """Return the decided class of logits (…, classes); 0 is the reference, anything else is called positive."""
        return decide(probabilities(logits), self.operating_point)


def scores(logits: np.ndarray) -> np.ndarray:
    """Return 1 − p of the reference class, from logits (…, classes)."""
    return positive_score(probabilities(logits))


def steps_or_default(steps: int | None, defaults: tuple[int, int], probe: Probe) -> int:
    """Return the steps set by the flag, or the default of the device: (with a GPU, without)."""
    return steps if steps is not None else defaults[0 if probe.torch_device.type == "cuda" else 1]


def choose_network(inputs: Inputs, cases: Cases, parameters: Parameters) -> ChosenNetwork:
    """Return the explained network: refined if requested and shown to be harmless on the validation scans."""
    validation = inputs.roles["validation"]
    positive = np.array([inputs.cohort.target(scan) > 0 for scan in validation], bool)
    logits = logits_of_scans(inputs.probe, validation, cases, "validation scans evaluated")
    refined, refinement = _refined(inputs, cases, parameters, logits, positive)
    if refinement.taken and refined is not None:
        logits = logits_of_scans(refined, validation, cases, "validation scans evaluated again")
        point = _operating_point(probabilities(logits), positive)
        return ChosenNetwork(refined, refinement, point, validation, logits, positive, None)
    predicted = inputs.run.scans.get("validation")
    point = predicted_operating_point(predicted, len(inputs.cohort.classes))
    difference = _difference(predicted, validation, logits)
    return ChosenNetwork(inputs.probe, refinement, point, validation, logits, positive, difference)


def predicted_operating_point(predicted: Predictions | None, classes: int) -> float | None:
    """Return Youden's point on the validation predictions that training wrote; 0.5 without, None for > 2 classes."""
    if predicted is None:
        return DEFAULT_THRESHOLD if classes == 2 else None
    return _operating_point(predicted.probability, predicted.target > 0)


def _operating_point(probability: np.ndarray, positive: np.ndarray) -> float | None:
    if probability.shape[-1] > 2:
        return None
    return operating_points(positive_score(probability), positive)[0]


def _difference(predicted: Predictions | None, scans: Sequence[Scan], logits: np.ndarray) -> float | None:
    if predicted is None:
        return None
    written = dict(zip(predicted.scan, predicted.probability, strict=True))
    pairs = zip(scans, probabilities(logits), strict=True)
    differences = [np.abs(written[scan.scan] - computed).max() for scan, computed in pairs if scan.scan in written]
    return round(float(max(differences)), 6) if differences else None


def _refined(
    inputs: Inputs, cases: Cases, parameters: Parameters, logits: np.ndarray, positive: np.ndarray
) -> tuple[Probe | None, Refinement]:
    kind, count = refinement_of(parameters.refine, inputs.run.variant.augmentation), len(logits)
    steps = steps_or_default(parameters.refine_steps, REFINE_STEPS, inputs.probe)
    if kind == "none" or not steps:
        healed = inputs.run.variant.augmentation == "healed"
        reason = "not needed: it learned from healed copies" if healed else "not asked for"
        return None, Refinement(taken=False, reason=reason, steps=0, n=count)
    if count < FEWEST:
        return None, Refinement(taken=False, reason=too_few(count), steps=0, kind=kind, n=count)
    labelled = [(cases.loader(scan), inputs.cohort.target(scan)) for scan in inputs.roles["train"]]
    refined = refine_network(inputs.probe, labelled, kind, steps, parameters.seed)
    validation = inputs.roles["validation"]
    after = logits_of_scans(refined, validation, cases, "validation scans evaluated by the refined network")
    patients = np.array([scan.patient for scan in validation])
    judged = judge_refinement(scores(logits), scores(after), positive, patients, parameters.auc_loss, parameters.seed)
    return refined, judged.model_copy(update={"kind": kind, "steps": steps})


def refinement_of(asked: str, augmentation: str) -> str:
    """Return the kind of refinement: `auto` heals a network that did not learn from healed copies."""
    if asked != "auto":
        return asked
    return "none" if augmentation == "healed" else "healed"


def judge_refinement(
    before: np.ndarray, after: np.ndarray, positive: np.ndarray, patients: np.ndarray, allowed: float, seed: int
) -> Refinement:
    """Take a refined network unless the upper 95 % limit of its AUC loss exceeds `allowed` (paired patient bootstrap).

    `before`, `after`: scores (scans,); `positive`, `patients`: the same length. Fewer than `FEWEST` scans: not taken.
    """
    n, area_before, area_after = len(before), auc(before, positive), auc(after, positive)
    if n < FEWEST or not math.isfinite(area_before):
        return Refinement(taken=False, reason=too_few(n), steps=0, n=n)
    upper = _loss_limit(before, after, positive, patients, seed)
    return Refinement(
        taken=upper <= allowed,
        reason=f"upper 95 % limit of the AUC loss {upper:.3f}, at most {allowed:g} allowed, {n} validation scans",
        steps=0,
        auc_before=finite(area_before, 6),
        auc_after=finite(area_after, 6),
        loss_upper=finite(upper, 6),
        n=n,
    )


def too_few(n: int) -> str:
    """Return the reason why `n` validation scans are too few for a judgement."""
    return f"n={n} < {FEWEST} validation scans: that it does no harm could not be shown"


def _loss_limit(before: np.ndarray, after: np.ndarray, positive: np.ndarray, patients: np.ndarray, seed: int) -> float:
    rng, losses = np.random.default_rng(seed), []
    members = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    for _ in range(LOSS_SAMPLES):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        losses.append(auc(before[rows], positive[rows]) - auc(after[rows], positive[rows]))
    finite_losses = np.array(losses)[np.isfinite(losses)]
    return float(np.quantile(finite_losses, 0.95)) if len(finite_losses) else math.inf
