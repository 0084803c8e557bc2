"""Ways to refine a trained network, so that the question which lesions decided has an answer for it.

`healed`: it learns from copies without their opacities, labelled as the reference class (core/networks/healed.py).
`rounds`: in alternating rounds a healer proposes what to heal, against a critic, and the network learns from these
copies too. `attacked`: projected gradient descent inside the lungs (Madry 2018). Batch statistics are frozen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from claire.core.command.progress import progress
from claire.core.networks.healed import Alteration, Healable, altered, draw_infill, make_healable
from claire.explain.healing.healer import Healer, healed_hu, train_healer
from claire.explain.probe import Case, Loader, Probe, random_slices, target_class

#: Radius and step of the attack in HU, and steps per attack.
EPSILON_HU, STEP_HU, ATTACK_STEPS = 60.0, 30.0, 3
#: Share of the learning rate of the training at which a trained network is refined.
REFINE_RATE = 0.3
#: Alternating rounds, and steps of the healer in each.
ROUNDS, HEALER_STEPS = 3, 60
#: Share of the copies that show the healer's work, once there is a healer.
HEALER_SHARE = 0.5

#: Adds the gradients of a scan's loss to a network's: (network, scan, class, share of the steps that are done, random
#: numbers).
Loss = Callable[[Probe, Case, int, float, np.random.Generator], None]


def refine_network(probe: Probe, labelled: Sequence[tuple[Loader, int]], kind: str, steps: int, seed: int) -> Probe:
    """Return a refined copy of the network; `probe` is not changed.

    `labelled`: (function that loads a scan, its class) of the training scans; each step takes one scan per class.
    """
    refined = Probe(copy.deepcopy(probe.network), probe.variant, probe.device)
    if kind == "attacked":
        _train(refined, labelled, steps, seed, _attacked_loss)
        return refined
    copies = Copies()
    if kind == "healed":
        _train(refined, labelled, steps, seed, copies.loss)
        return refined
    for number in range(ROUNDS):
        _train(refined, labelled, -(-steps // ROUNDS), seed + number, copies.loss)
        copies.healer = _healer(refined, labelled, seed + number)
    _train(refined, labelled, -(-steps // ROUNDS), seed + ROUNDS, copies.loss)
    return refined


def _train(probe: Probe, labelled: Sequence[tuple[Loader, int]], steps: int, seed: int, loss_of: Loss) -> None:
    probe.network.requires_grad_(True)
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(probe.network.parameters(), probe.variant.learning_rate * REFINE_RATE)
    by_class = _by_class(labelled)
    for step in progress(range(steps), "refinement step"):
        optimiser.zero_grad()
        for target, loaders in by_class.items():
            loss_of(probe, loaders[int(rng.integers(len(loaders)))](), target, (step + 1) / steps, rng)
        torch.nn.utils.clip_grad_norm_(probe.network.parameters(), 5.0)
        optimiser.step()
    probe.network.requires_grad_(False)


def _by_class(labelled: Sequence[tuple[Loader, int]]) -> Mapping[int, list[Loader]]:
    targets = sorted({target for _, target in labelled})
    return {target: [load for load, label in labelled if label == target] for target in targets}


class Copies:
    """The loss of a scan with random holes under its own label, and of its healed copy under the reference's."""

    def __init__(self) -> None:
        self.healer: Healer | None = None
        self._known: dict[str, Healable] = {}

    def loss(self, probe: Probe, case: Case, label: int, done: float, rng: np.random.Generator) -> None:
        """Add the gradients of both."""
        for healed, target in ((False, label), (True, 0)):
            hu = self._healed(case, rng) if healed else self._filled(case, False, rng)
            slices, lungs = random_slices(hu, case.lungs, probe.variant.dimensions, rng)
            _backward(probe, slices[None], lungs[None], target)

    def _healed(self, case: Case, rng: np.random.Generator) -> Tensor:
        if self.healer is not None and rng.random() < HEALER_SHARE:
            mask, infill = self.healer.heal(case)
            return torch.from_numpy(healed_hu(case.view.hu, mask, infill))
        return self._filled(case, True, rng)

    def _filled(self, case: Case, healed: bool, rng: np.random.Generator) -> Tensor:
        if case.scan.scan not in self._known:
            self._known[case.scan.scan] = make_healable(case.view)
        alteration = Alteration(healed, draw_infill(rng), int(rng.integers(2**31)))
        slices = np.arange(len(case.hu))
        hu = altered(case.view.hu, self._known[case.scan.scan], slices, alteration)
        return torch.from_numpy(hu.astype(np.float32))


def _healer(probe: Probe, labelled: Sequence[tuple[Loader, int]], seed: int) -> Healer | None:
    """Train a healer against the network as it is; None where it calls all training scans alike."""
    logits = [probe.scan_logits(load()) for load, _ in labelled]
    called = [(load, target_class(row)) for (load, _), row in zip(labelled, logits, strict=True) if row.argmax() > 0]
    negative = [load for (load, _), row in zip(labelled, logits, strict=True) if row.argmax() == 0]
    return train_healer(probe, called, negative, HEALER_STEPS, seed) if called and negative else None


def attack(probe: Probe, hu: Tensor, lungs: Tensor, target: Tensor, radius: float) -> Tensor:
    """Return HU (B, slices, size, size) changed by at most `radius` within the lungs so that the loss rises."""
    step, change = radius * STEP_HU / EPSILON_HU, torch.zeros_like(hu)
    for _ in range(ATTACK_STEPS):
        change.requires_grad_(True)
        loss = functional.cross_entropy(probe.logits(hu + change, lungs), target)
        (slope,) = torch.autograd.grad(loss, change)
        change = (change.detach() + step * slope.sign() * lungs).clamp(-radius, radius)
    return hu + change


def _attacked_loss(probe: Probe, case: Case, label: int, done: float, rng: np.random.Generator) -> None:
    """Add the gradient of an attacked scan's loss; the radius grows over the first third of the steps."""
    drawn = random_slices(case.hu, case.lungs, probe.variant.dimensions, rng)
    hu, lungs = (part[None].to(probe.torch_device) for part in drawn)
    target = torch.tensor([label], device=probe.torch_device)
    probe.network.requires_grad_(False)
    attacked = attack(probe, hu, lungs, target, EPSILON_HU * min(1.0, 3 * done))
    probe.network.requires_grad_(True)
    _backward(probe, attacked, lungs, label)


def _backward(probe: Probe, hu: Tensor, lungs: Tensor, label: int) -> None:
    device = probe.torch_device
    logits = probe.logits(hu.to(device), lungs.to(device))
    functional.cross_entropy(logits, torch.tensor([label], device=device)).backward()
