"""The adversarial part: a network refined against small changes of HU, and a healer that makes it change its mind.

Refine: projected gradient descent inside the lungs (Madry 2018). Heal: a generator proposes a mask and an infill, a
critic with spectral norm and hinge loss (Miyato 2018) tells healed from lesion-free lung. The network that is explained
is never altered by the healing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from claire.core.command.progress import progress
from claire.explain.probe import Case, Probe, log_odds

#: Radius and step of the attack in HU, and steps an attack (DESIGN: ε = 60 HU, 3 steps of 30).
EPSILON_HU, STEP_HU, ATTACK_STEPS = 60.0, 30.0, 3
#: Share of the learning rate of the training at which a trained network is refined.
REFINE_RATE = 0.2
#: Slices of a scan that one step of a 2D network sees.
STEP_SLICES = 8
#: HU at 0 and at ±1 of the healer's input, and centre and half-width of what it may paint.
INPUT_HU, PAINT_HU = (-850.0, 500.0), (-600.0, 450.0)
WEIGHTS = {"critic": 0.3, "size": 2.0, "variation": 2.0, "identity": 2.0, "inpaint": 1.0, "inpaint_critic": 0.1}
MARGIN = 2.0
#: The mask starts nearly closed: healing has to be learned, not unlearned.
MASK_BIAS = -3.0
HEAL_RATE, BETAS = 2e-3, (0.5, 0.9)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Let torch draw from `seed` within the block, and leave its generators outside untouched."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def some_slices(case: Case, dimensions: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return (hu, lungs) of a random part of a scan's slices, in order, for 2D networks; of all slices for 3D."""
    count = case.hu.shape[0]
    if dimensions == "3D" or count <= STEP_SLICES:
        return case.hu, case.lungs
    rows = np.sort(rng.permutation(count)[:STEP_SLICES])
    return case.hu[rows], case.lungs[rows]


# --- refine ---------------------------------------------------------------------------------------------------------


def attack(probe: Probe, hu: Tensor, lungs: Tensor, target: Tensor, radius: float) -> Tensor:
    """Return HU (B, slices, size, size) changed by at most `radius` within the lungs so that the loss rises."""
    step, change = radius * STEP_HU / EPSILON_HU, torch.zeros_like(hu)
    for _ in range(ATTACK_STEPS):
        change.requires_grad_(True)
        loss = functional.cross_entropy(probe.logits(hu + change, lungs), target)
        (slope,) = torch.autograd.grad(loss, change)
        change = (change.detach() + step * slope.sign() * lungs).clamp(-radius, radius)
    return hu + change


def refine(
    probe: Probe, cases: Sequence[tuple[Callable[[], Case], int]], steps: int, seed: int
) -> tuple[Probe, list[float]]:
    """Return a copy of the network trained on attacked scans, and its loss a step; the network given stays as it is.

    `cases`: (function that loads a scan, its class) of the training scans; each step takes one scan a class. The radius
    grows over the first third of the steps. Batch statistics are frozen throughout.
    """
    refined = Probe(copy.deepcopy(probe.network), probe.variant, probe.where)
    refined.network.requires_grad_(True)
    rng, losses = np.random.default_rng(seed), []
    optimiser = torch.optim.AdamW(refined.network.parameters(), probe.variant.rate * REFINE_RATE)
    by_class = {label: [load for load, one in cases if one == label] for label in sorted({one for _, one in cases})}
    for step in progress(range(steps), "refinement step"):
        radius = EPSILON_HU * min(1.0, 3 * (step + 1) / max(steps, 1))
        optimiser.zero_grad()
        loss = sum(
            _attacked_loss(refined, loads[rng.integers(len(loads))](), label, radius, rng)
            for label, loads in by_class.items()
        )
        optimiser.step()
        losses.append(float(loss) / len(by_class))
    refined.network.requires_grad_(False)
    return refined, losses


def _attacked_loss(probe: Probe, case: Case, label: int, radius: float, rng: np.random.Generator) -> float:
    hu, lungs = (part[None].to(probe.device) for part in some_slices(case, probe.variant.dimensions, rng))
    target = torch.tensor([label], device=probe.device)
    probe.network.requires_grad_(False)
    changed = attack(probe, hu, lungs, target, radius)
    probe.network.requires_grad_(True)
    loss = functional.cross_entropy(probe.logits(changed, lungs), target)
    loss.backward()
    return float(loss.detach())


# --- heal -----------------------------------------------------------------------------------------------------------


def _block(kind: type[nn.Module], inputs: int, outputs: int, stride: int | tuple[int, ...] = 1) -> nn.Sequential:
    return nn.Sequential(kind(inputs, outputs, 3, stride, 1), nn.GroupNorm(4, outputs), nn.LeakyReLU(0.1))


class Generator(nn.Module):
    """A small U-Net on half the resolution in plane: from (HU, lungs, hole) to a mask and an infill.

    2D networks: it works slice by slice; 3D: on the volume. `forward` takes and gives (B, slices, size, size).
    """

    def __init__(self, dimensions: str, width: int = 12) -> None:
        super().__init__()
        self.volume = dimensions == "3D"
        kind = nn.Conv3d if self.volume else nn.Conv2d
        half = (1, 2, 2) if self.volume else 2
        self.first = _block(kind, 3, width, half)
        self.second = _block(kind, width, 2 * width, half)
        self.middle = _block(kind, 2 * width, 2 * width)
        self.joined = _block(kind, 3 * width, width + 4)
        self.last = kind(width + 4, 2, 1)
        with torch.no_grad():
            self.last.bias.copy_(torch.tensor([MASK_BIAS, float(np.arctanh((-850 - PAINT_HU[0]) / PAINT_HU[1]))]))

    def forward(self, hu: Tensor, lungs: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mask in 0…1 within the lungs, infill in HU)."""
        scaled = ((hu - INPUT_HU[0]) / INPUT_HU[1]).clamp(-1, 2)
        planes = torch.stack([scaled, lungs.to(hu.dtype), hole.to(hu.dtype)], 1 if self.volume else 2)
        out = self._unet(planes if self.volume else planes.flatten(0, 1))
        mask, paint = out[:, 0], out[:, 1]
        if not self.volume:
            mask, paint = mask.unflatten(0, hu.shape[:2]), paint.unflatten(0, hu.shape[:2])
        return torch.sigmoid(mask) * lungs, PAINT_HU[0] + PAINT_HU[1] * torch.tanh(paint)

    def _unet(self, planes: Tensor) -> Tensor:
        mode = "trilinear" if self.volume else "bilinear"
        fine = self.first(planes)
        coarse = self.middle(self.second(fine))
        coarse = functional.interpolate(coarse, fine.shape[2:], mode=mode, align_corners=False)
        out = self.last(self.joined(torch.cat([coarse, fine], 1)))
        return functional.interpolate(out, planes.shape[2:], mode=mode, align_corners=False)


class Critic(nn.Module):
    """Patches of lung: high for lesion-free, low for healed. Takes (B, slices, size, size) HU and lungs."""

    def __init__(self, dimensions: str) -> None:
        super().__init__()
        self.volume = dimensions == "3D"
        kind = nn.Conv3d if self.volume else nn.Conv2d
        size, stride, pad = ((3, 4, 4), (1, 2, 2), 1) if self.volume else (4, 2, 1)
        self.net = nn.Sequential(
            spectral_norm(kind(2, 16, size, stride, pad)),
            nn.LeakyReLU(0.2),
            spectral_norm(kind(16, 24, size, stride, pad)),
            nn.LeakyReLU(0.2),
            spectral_norm(kind(24, 1, 1)),
        )

    def forward(self, hu: Tensor, lungs: Tensor) -> Tensor:
        """Return a score a patch."""
        scaled = ((hu - INPUT_HU[0]) / INPUT_HU[1]).clamp(-1, 2) * lungs
        planes = torch.stack([scaled, lungs.to(hu.dtype)], 1 if self.volume else 2)
        return self.net(planes if self.volume else planes.flatten(0, 1))


@dataclass
class Healer:
    """A trained generator; `history` holds the terms of its loss, a row a step."""

    generator: Generator
    device: torch.device
    history: list[dict[str, float]] = field(default_factory=list)

    @torch.no_grad()
    def heal(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Return (mask in 0…1, infill in HU), each (slices, size, size) float32; see `healed_hu`."""
        mask, paint = self.generator(*self._given(case, np.zeros(case.lungs.shape, bool)))
        return mask[0].cpu().numpy(), paint[0].cpu().numpy()

    @torch.no_grad()
    def inpaint(self, case: Case, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return HU for a hole (slices, size, size, bool), painted from what is around it."""
        _, paint = self.generator(*self._given(case, hole, rng))
        return paint[0].cpu().numpy()

    def _given(self, case: Case, hole: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, ...]:
        opened = torch.from_numpy(hole) & case.lungs
        hu = case.hu
        if rng is not None:
            hu = torch.where(opened, hole_noise(hu.shape, rng), hu)
        return tuple(part[None].to(self.device) for part in (hu, case.lungs, opened))


def hole_noise(shape: Iterable[int], rng: np.random.Generator) -> Tensor:
    """Return what stands in an open hole: noise around healthy lung."""
    return torch.from_numpy((INPUT_HU[0] + 100 * rng.standard_normal(tuple(shape))).astype(np.float32))


def random_hole(case_lungs: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a mask (slices, size, size) of one to three random ellipsoids within the lungs."""
    lungs = case_lungs.numpy()
    index = np.argwhere(lungs)
    hole = np.zeros(lungs.shape, bool)
    if not len(index):
        return torch.from_numpy(hole)
    grid = np.ogrid[tuple(slice(0, n) for n in lungs.shape)]
    for _ in range(int(rng.integers(1, 4))):
        centre = index[rng.integers(len(index))]
        radii = np.array([rng.uniform(0.5, 2.5), *rng.uniform(0.03, 0.10, 2) * lungs.shape[1]])
        away = sum(((axis - c) / max(r, 0.5)) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True))
        hole |= away < 1
    return torch.from_numpy(hole & lungs)


def train_healer(
    probe: Probe,
    called: Sequence[tuple[Callable[[], Case], int]],
    others: Sequence[Callable[[], Case]],
    steps: int,
    seed: int,
) -> Healer:
    """Train the healer of a network, one called and one other scan a step.

    `called`: (function that loads a scan that the network calls positive, the class whose log-odds are to fall);
    `others`: functions that load scans which it does not.
    """
    rng = np.random.default_rng(seed)
    with seeded(probe.device, seed):
        duel = _Duel(probe)
        for _ in progress(range(steps), "step of the healer"):
            load, target = called[rng.integers(len(called))]
            other = others[rng.integers(len(others))]
            duel.step(_batch(load(), probe, rng), _batch(other(), probe, rng), target, rng)
    duel.generator.eval().requires_grad_(False)
    return Healer(duel.generator, probe.device, duel.history)


def _batch(case: Case, probe: Probe, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    hu, lungs = some_slices(case, probe.variant.dimensions, rng)
    return hu[None].to(probe.device), lungs[None].to(probe.device)


class _Duel:
    """Generator against critic, under a network that stays as it is."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.generator = Generator(probe.variant.dimensions).to(probe.device)
        self.critic = Critic(probe.variant.dimensions).to(probe.device)
        self.by_generator = torch.optim.Adam(self.generator.parameters(), HEAL_RATE, BETAS)
        self.by_critic = torch.optim.Adam(self.critic.parameters(), HEAL_RATE, BETAS)
        self.history: list[dict[str, float]] = []

    def step(
        self, called: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], target: int, rng: np.random.Generator
    ) -> None:
        """Heal one scan, inpaint a hole in another; teach the critic, then the generator."""
        (hu, lungs), (clean, clean_lungs) = called, other
        mask, paint = self.generator(hu, lungs, torch.zeros_like(lungs))
        healed = (1 - mask) * hu + mask * paint
        hole = random_hole(clean_lungs[0].cpu(), rng)[None].to(clean.device)
        opened = torch.where(hole, hole_noise(clean.shape, rng).to(clean.device), clean)
        _, painted = self.generator(opened, clean_lungs, hole)
        filled = torch.where(hole, painted, clean)
        self._teach_critic((healed.detach(), lungs), (filled.detach(), clean_lungs), other)
        terms = {
            "counterfactual": self._counterfactual(healed, lungs, target),
            "critic": -self.critic(healed, lungs).mean(),
            "size": share(mask, lungs),
            "variation": variation(mask),
            "identity": self._identity(clean, clean_lungs),
            "inpaint": ((painted - clean).abs() * hole).sum() / hole.sum().clamp(min=1) / INPUT_HU[1],
            "inpaint_critic": -self.critic(filled, clean_lungs).mean(),
        }
        self.by_generator.zero_grad()
        sum(WEIGHTS.get(name, 1.0) * term for name, term in terms.items()).backward()
        self.by_generator.step()
        self.history.append({name: float(term.detach()) for name, term in terms.items()})

    def _teach_critic(
        self, healed: tuple[Tensor, Tensor], filled: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]
    ) -> None:
        fake = (functional.relu(1 + self.critic(*healed)).mean() + functional.relu(1 + self.critic(*filled)).mean()) / 2
        self.by_critic.zero_grad()
        (functional.relu(1 - self.critic(*real)).mean() + fake).backward()
        self.by_critic.step()

    def _counterfactual(self, healed: Tensor, lungs: Tensor, target: int) -> Tensor:
        with self.probe.quick():
            logits = self.probe.logits(healed, lungs)
        return functional.softplus(log_odds(logits.float(), target) + MARGIN).mean()

    def _identity(self, clean: Tensor, lungs: Tensor) -> Tensor:
        mask, paint = self.generator(clean, lungs, torch.zeros_like(lungs))
        return share(mask, lungs) + (mask * (paint - clean)).abs().mean() / INPUT_HU[1]


def healed_hu(hu: np.ndarray, mask: np.ndarray, infill: np.ndarray) -> np.ndarray:
    """Return (1 − mask) · HU + mask · infill, float32."""
    return ((1 - mask) * hu + mask * infill).astype(np.float32)


def share(mask: Tensor, lungs: Tensor) -> Tensor:
    """Return the mask's share of the lungs, a number."""
    return mask.sum() / lungs.sum().clamp(min=1)


def variation(mask: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring voxels along all three axes (total variation)."""
    return sum(mask.diff(dim=axis).abs().mean() for axis in (1, 2, 3) if mask.shape[axis] > 1)
