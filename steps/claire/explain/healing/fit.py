"""The healer of the explained network: trained on training scans, judged on validation scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from claire.core.command.progress import log
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.lesions import Gate
from claire.core.statistics.decisions import DEFAULT_THRESHOLD, decide
from claire.core.statistics.intervals import by_patient
from claire.explain import Parameters
from claire.explain.healing.gates import Healed, gates
from claire.explain.healing.healer import Healer, healed_hu, train_healer
from claire.explain.inputs import Inputs
from claire.explain.maps.attribution import density, random_map
from claire.explain.probe import Case, Cases, Probe, log_odds_of, logits_of_scans, probabilities, target_class
from claire.explain.refine import ChosenNetwork, steps_or_default

#: Default steps: (with a GPU, without).
HEAL_STEPS = (400, 60)
#: Maximum number of training scans for the healer.
POOL = 48
#: Voxels belong to the healed region above the first level of the mask, and are free of it up to the second.
HEALED_ABOVE, FREE_UP_TO = 0.5, 0.15


def fit_healer(
    inputs: Inputs, chosen: ChosenNetwork, cases: Cases, parameters: Parameters
) -> tuple[Healer | None, str]:
    """Train the healer on training scans by the network's own decision; return (healer, "") or (None, reason)."""
    steps = steps_or_default(parameters.heal_steps, HEAL_STEPS, chosen.probe)
    if not steps:
        return None, "no healer was asked for (--heal-steps 0)"
    pool = training_pool(inputs.cohort, inputs.roles["train"], POOL, parameters.seed)
    logits = logits_of_scans(chosen.probe, pool, cases, "training scans evaluated")
    positive = chosen.decide(logits) > 0
    if not positive.any() or positive.all():
        kind = "positive" if not positive.any() else "negative"
        return None, f"the network calls no training scan {kind}, so no healer could be trained"
    called = [(cases.loader(scan), target_class(logits[i])) for i, scan in enumerate(pool) if positive[i]]
    negative = [cases.loader(scan) for i, scan in enumerate(pool) if not positive[i]]
    log.info("training the healer: %d steps on %d called and %d other scans", steps, len(called), len(negative))
    return train_healer(chosen.probe, called, negative, steps, parameters.seed), ""


def training_pool(cohort: Cohort, scans: Sequence[Scan], limit: int, seed: int) -> list[Scan]:
    """Return at most `limit` training scans, drawn evenly from the classes, for the healer."""
    rng = np.random.default_rng(seed)
    pool: list[Scan] = []
    shuffled = [scans[i] for i in rng.permutation(len(scans))]
    by_class = [[scan for scan in shuffled if cohort.target(scan) == index] for index in range(len(cohort.classes))]
    while len(pool) < limit and any(by_class):
        pool += [members.pop() for members in by_class if members]
    return pool[:limit]


class HealedScan(NamedTuple):
    """What healing one scan called positive does: decisions that turn (1 or 0), and the healed log-odds."""

    flipped: float
    healed: float
    by_random: float
    by_dense: float
    judge: float


def judge_healer(
    chosen: ChosenNetwork, healer: Healer | None, judge: Probe | None, cases: Cases, seed: int, reason: str
) -> list[Gate]:
    """Return the gates, measured on the validation scans; without a healer they are closed for `reason`.

    `judge`: a network that the healer never saw. Each patient counts once, with the mean over the patient's scans.
    """
    if healer is None:
        return gates(None, seed, reason)
    called = chosen.decide(chosen.logits) > 0
    patients = np.array([scan.patient for scan in chosen.validation], str)
    healed = [
        _heal(
            chosen, healer, judge, cases.get(chosen.validation[i]), chosen.logits[i], np.random.default_rng([seed, i])
        )
        for i in map(int, np.flatnonzero(called))
    ]
    columns = by_patient(np.array(healed, float).reshape(len(healed), len(HealedScan._fields)), patients[called])
    flipped, log_odds, by_random, by_dense, by_judge = columns.T
    negative = ~called & ~chosen.positive
    odds = by_patient(-_reference_odds(chosen.logits[negative]), patients[negative])
    shares = [_mask_share(healer, cases.get(chosen.validation[i])) for i in np.flatnonzero(~called)]
    covered = by_patient(np.array(shares, float), patients[~called])
    verdicts = None if judge is None else by_judge
    return gates(Healed(flipped, log_odds, by_random, by_dense, odds, covered, verdicts), seed)


def _heal(
    chosen: ChosenNetwork,
    healer: Healer,
    judge: Probe | None,
    case: Case,
    before: np.ndarray,
    rng: np.random.Generator,
) -> HealedScan:
    """Heal a scan, and as many voxels of random and of dense lung; `before`: logits (classes,) before healing."""
    mask, infill = healer.heal(case)
    healed = healed_hu(case.view.hu, mask, infill)
    count = int((mask > HEALED_ABOVE).sum())
    free = (mask <= FREE_UP_TO) & case.lungs.numpy()
    volumes = [healed]
    for values in (random_map(case, rng), density(case, smoothed=True)):
        volumes.append(healed_hu(case.view.hu, _largest_values(np.where(free, values, -1), count), infill))
    logits = chosen.probe.evaluate([torch.from_numpy(volume) for volume in volumes], case.lungs)
    flipped, by_random, by_dense = chosen.decide(logits) != chosen.decide(before)
    judged = judge is not None and _turns(judge, case, healed)
    return HealedScan(flipped, float(-_reference_odds(logits[:1])[0]), by_random, by_dense, judged)


def _turns(judge: Probe, case: Case, healed: np.ndarray) -> bool:
    """Return whether a judge calls the scan positive, and the healed scan the reference class."""
    chances = probabilities(judge.evaluate([case.hu, torch.from_numpy(healed)], case.lungs))
    before, after = decide(chances, DEFAULT_THRESHOLD if chances.shape[-1] == 2 else None)
    return bool(before != 0 and after == 0)


def _largest_values(values: np.ndarray, count: int) -> np.ndarray:
    """Return a mask, float32, of the `count` largest values."""
    mask = np.zeros(values.size, np.float32)
    mask[np.argsort(-values, axis=None, kind="stable")[:count]] = 1
    return mask.reshape(values.shape)


def _reference_odds(logits: np.ndarray) -> np.ndarray:
    return log_odds_of(logits, 0) if len(logits) else np.zeros(0)


def _mask_share(healer: Healer, case: Case) -> float:
    mask, _ = healer.heal(case)
    return float(mask.sum() / max(int(case.lungs.sum()), 1))
