"""The healer of the explained network, trained on training scans by the network's own decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from claire.core.command.progress import log
from claire.core.contracts.cohort import Cohort, Scan
from claire.explain import Parameters
from claire.explain.healing.healer import Healer, train_healer
from claire.explain.inputs import Inputs
from claire.explain.probe import Cases, logits_of_scans, target_class
from claire.explain.refine import ChosenNetwork

#: Maximum number of training scans for the healer.
POOL = 48


def fit_healer(inputs: Inputs, chosen: ChosenNetwork, cases: Cases, parameters: Parameters) -> Healer | None:
    """Train the healer if asked for; None, with a line in the log, where the network calls all training scans alike."""
    if not parameters.heal_steps:
        return None
    pool = training_pool(inputs.cohort, inputs.roles["train"], POOL, parameters.seed)
    logits = logits_of_scans(chosen.probe, pool, cases, "training scans evaluated")
    positive = chosen.decide(logits) > 0
    if not positive.any() or positive.all():
        kind = "positive" if not positive.any() else "negative"
        log.warning("the network calls no training scan %s, so no healer could be trained", kind)
        return None
    called = [(cases.loader(scan), target_class(logits[i])) for i, scan in enumerate(pool) if positive[i]]
    negative = [cases.loader(scan) for i, scan in enumerate(pool) if not positive[i]]
    log.info("training the healer: %d steps on %d called, %d others", parameters.heal_steps, len(called), len(negative))
    return train_healer(chosen.probe, called, negative, parameters.heal_steps, parameters.seed)


def training_pool(cohort: Cohort, scans: Sequence[Scan], limit: int, seed: int) -> list[Scan]:
    """Return at most `limit` training scans, drawn evenly from the classes, for the healer."""
    rng = np.random.default_rng(seed)
    pool: list[Scan] = []
    shuffled = [scans[i] for i in rng.permutation(len(scans))]
    by_class = [[scan for scan in shuffled if cohort.target(scan) == index] for index in range(len(cohort.classes))]
    while len(pool) < limit and any(by_class):
        pool += [members.pop() for members in by_class if members]
    return pool[:limit]
