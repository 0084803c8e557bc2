"""The healer of the explained network: trained on training scans, judged on validation scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from claire.core.command.progress import log
from claire.core.statistics.intervals import by_patient
from claire.explain.cases import Cases
from claire.explain.healing.gates import Gate, Healed, gates
from claire.explain.healing.healer import Healer, healed_hu, train_healer
from claire.explain.maps.attribution import density, random_map
from claire.explain.network import HEAL_STEPS, Chosen, called_positive, look, scores, steps_of, training_pool
from claire.explain.probe import Case, decide, target_of

if TYPE_CHECKING:
    from claire.explain import Parameters
    from claire.explain.work import Work

#: Training scans from which the healer learns, at most.
POOL = 48


def train(work: Work, chosen: Chosen, cases: Cases, parameters: Parameters) -> tuple[Healer | None, str]:
    """Train the healer on training scans by the network's own decision; return (healer, "") or (None, why not)."""
    steps = steps_of(parameters.heal_steps, HEAL_STEPS, chosen.probe)
    if not steps:
        return None, "no healer was asked for (--heal-steps 0)"
    pool = training_pool(work.cohort, work.roles["train"], POOL, parameters.seed)
    logits = look(chosen.probe, pool, cases, "training scans seen")
    positive = scores(logits) >= chosen.operating_point if len(pool) else np.zeros(0, bool)
    if not positive.any() or positive.all():
        kind = "positive" if not positive.any() else "negative"
        return None, f"the network calls no training scan {kind}, so no healer could be trained"
    called = [(cases.loader(scan), target_of(logits[i])) for i, scan in enumerate(pool) if positive[i]]
    others = [cases.loader(scan) for i, scan in enumerate(pool) if not positive[i]]
    log.info("training the healer: %d steps on %d called and %d other scans", steps, len(called), len(others))
    return train_healer(chosen.probe, called, others, steps, parameters.seed), ""


def judge(chosen: Chosen, healer: Healer | None, work: Work, cases: Cases, seed: int, reason: str) -> list[Gate]:
    """Return the gates, measured on the validation scans; a patient counts once, with the mean of the scans."""
    if healer is None:
        return gates(None, seed, reason)
    called = called_positive(chosen)
    rows = [
        _healed(
            chosen, healer, work, cases.get(chosen.validation[i]), chosen.logits[i], np.random.default_rng([seed, i])
        )
        for i in np.flatnonzero(called)
    ]
    shares = [_mask_share(healer, cases.get(chosen.validation[i])) for i in np.flatnonzero(~called)]
    odds = -_reference_odds(chosen.logits[~called & ~chosen.positive]) if len(called) else np.zeros(0)
    patients = np.array([scan.patient for scan in chosen.validation], str)

    def column(name: str) -> np.ndarray:
        return by_patient(np.array([row[name] for row in rows], float), patients[called])

    verdicts = column("judge") if work.judge is not None else None
    odds = by_patient(odds, patients[~called & ~chosen.positive])
    masked = by_patient(np.array(shares, float), patients[~called])
    return gates(Healed(*map(column, ("flipped", "healed", "random", "dense")), odds, masked, verdicts), seed)


def _healed(
    chosen: Chosen, healer: Healer, work: Work, case: Case, before: np.ndarray, rng: np.random.Generator
) -> dict[str, float | bool]:
    mask, infill = healer.heal(case)
    healed = healed_hu(case.view.hu, mask, infill)
    volume = int((mask > 0.5).sum())
    free = (mask <= 0.15) & case.lungs.numpy()
    volumes = [healed]
    for values in (random_map(case, rng), density(case, smoothed=True)):
        volumes.append(healed_hu(case.view.hu, _largest(np.where(free, values, -1), volume), infill))
    logits = chosen.probe.evaluate([torch.from_numpy(one) for one in volumes], case.lungs)
    was, now = decide(before, chosen.operating_point), decide(logits, chosen.operating_point)
    found = {"flipped": now[0] != was, "random": now[1] != was, "dense": now[2] != was, "judge": False}
    if work.judge is not None:
        sick, well = decide(work.judge.evaluate([case.hu, torch.from_numpy(healed)], case.lungs), 0.5)
        found["judge"] = bool(sick != 0 and well == 0)
    return found | {"healed": float(-_reference_odds(logits[:1])[0])}


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    chosen = np.zeros(values.size, np.float32)
    chosen[np.argsort(-values, axis=None, kind="stable")[:count]] = 1
    return chosen.reshape(values.shape)


def _reference_odds(logits: np.ndarray) -> np.ndarray:
    from claire.explain.probe import log_odds_of

    return log_odds_of(logits, 0) if len(logits) else np.zeros(0)


def _mask_share(healer: Healer, case: Case) -> float:
    mask, _ = healer.heal(case)
    return float(mask.sum() / max(int(case.lungs.sum()), 1))
