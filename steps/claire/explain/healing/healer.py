"""The healer: a generator that changes the explained network's decision, trained against a critic.

The generator proposes a mask and an infill; a critic with spectral norm and hinge loss (Miyato 2018) distinguishes
healed from lesion-free lung. Healing never alters the explained network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from claire.core.command.progress import progress
from claire.core.imaging.infill import HEALTHY_HU, random_hole
from claire.explain.probe import Case, Loader, Probe, log_odds, random_slices

#: HU at 0 and at ±1 of the healer's input, and centre and half-width of what it may paint.
INPUT_HU, PAINT_HU = (-850.0, 500.0), (-600.0, 450.0)
#: HU of healthy lung: what the healer paints before training, and standard deviation of the noise in a hole.
HOLE_NOISE_HU = 100.0
#: Weights of the generator's loss; unnamed terms have weight 1.
WEIGHTS = {"critic": 0.3, "size": 2.0, "variation": 2.0, "identity": 2.0, "inpaint": 1.0, "inpaint_critic": 0.1}
#: Log-odds that a healed scan should fall below 0.
MARGIN = 2.0
#: The mask starts nearly closed, so that healing has to be learned.
MASK_BIAS = -3.0
HEAL_RATE, BETAS = 2e-3, (0.5, 0.9)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch within the block and restore its generators afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _block(kind: type[nn.Module], inputs: int, outputs: int, stride: int | tuple[int, ...] = 1) -> nn.Sequential:
    return nn.Sequential(kind(inputs, outputs, 3, stride, 1), nn.GroupNorm(4, outputs), nn.LeakyReLU(0.1))


def _scaled(hu: Tensor) -> Tensor:
    return ((hu - INPUT_HU[0]) / INPUT_HU[1]).clamp(-1, 2)


class Generator(nn.Module):
    """A small U-Net on half the resolution in plane: from (HU, lungs, hole) to a mask and an infill.

    2D networks: it works slice by slice; 3D: on the volume. `forward` takes and returns (B, slices, size, size).
    """

    def __init__(self, dimensions: str, width: int = 12) -> None:
        super().__init__()
        self.volume = dimensions == "3D"
        kind: type[nn.Module] = nn.Conv3d if self.volume else nn.Conv2d
        half = (1, 2, 2) if self.volume else 2
        self.first = _block(kind, 3, width, half)
        self.second = _block(kind, width, 2 * width, half)
        self.middle = _block(kind, 2 * width, 2 * width)
        self.joined = _block(kind, 3 * width, width + 4)
        self.last = kind(width + 4, 2, 1)
        bias = torch.tensor([MASK_BIAS, float(np.arctanh((HEALTHY_HU - PAINT_HU[0]) / PAINT_HU[1]))])
        self.last.bias = nn.Parameter(bias)

    def forward(self, hu: Tensor, lungs: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mask in 0…1 within the lungs, infill in HU)."""
        planes = torch.stack([_scaled(hu), lungs.to(hu.dtype), hole.to(hu.dtype)], 1 if self.volume else 2)
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
    """Scores patches of lung: high for lesion-free, low for healed. Takes (B, slices, size, size) HU and lungs."""

    def __init__(self, dimensions: str) -> None:
        super().__init__()
        self.volume = dimensions == "3D"
        kind: type[nn.Module] = nn.Conv3d if self.volume else nn.Conv2d
        size, stride, pad = ((3, 4, 4), (1, 2, 2), 1) if self.volume else (4, 2, 1)
        self.net = nn.Sequential(
            spectral_norm(kind(2, 16, size, stride, pad)),
            nn.LeakyReLU(0.2),
            spectral_norm(kind(16, 24, size, stride, pad)),
            nn.LeakyReLU(0.2),
            spectral_norm(kind(24, 1, 1)),
        )

    def forward(self, hu: Tensor, lungs: Tensor) -> Tensor:
        """Return one score per patch."""
        planes = torch.stack([_scaled(hu) * lungs, lungs.to(hu.dtype)], 1 if self.volume else 2)
        scores: Tensor = self.net(planes if self.volume else planes.flatten(0, 1))
        return scores


@dataclass
class Healer:
    """A trained generator; `history` holds the terms of its loss by step."""

    generator: Generator
    device: torch.device
    history: list[dict[str, float]] = field(default_factory=list)

    @torch.no_grad()
    def heal(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Return (mask in 0…1, infill in HU), each (slices, size, size) float32; see `healed_hu`."""
        mask, paint = self.generator(*self._input(case))
        return mask[0].cpu().numpy(), paint[0].cpu().numpy()

    def _input(self, case: Case) -> tuple[Tensor, ...]:
        hole = torch.zeros_like(case.lungs)
        return tuple(part[None].to(self.device) for part in (case.hu, case.lungs, hole))


def hole_noise(shape: Iterable[int], rng: np.random.Generator) -> Tensor:
    """Return the HU that fill an open hole, float32: noise around healthy lung."""
    return torch.from_numpy((HEALTHY_HU + HOLE_NOISE_HU * rng.standard_normal(tuple(shape))).astype(np.float32))


def train_healer(
    probe: Probe, called: Sequence[tuple[Loader, int]], negative: Sequence[Loader], steps: int, seed: int
) -> Healer:
    """Train the healer of a network, one called and one negative scan per step.

    `called`: (function that loads a scan that the network calls positive, the class whose log-odds are to fall);
    `negative`: functions that load scans that it calls negative.
    """
    rng = np.random.default_rng(seed)
    with seeded(probe.torch_device, seed):
        duel = _Duel(probe)
        for _ in progress(range(steps), "step of the healer"):
            load, target = called[int(rng.integers(len(called)))]
            load_negative = negative[int(rng.integers(len(negative)))]
            duel.step(_batch(load(), probe, rng), _batch(load_negative(), probe, rng), target, rng)
    duel.generator.eval().requires_grad_(False)
    return Healer(duel.generator, probe.torch_device, duel.history)


def _batch(case: Case, probe: Probe, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    hu, lungs = random_slices(case.hu, case.lungs, probe.variant.dimensions, rng)
    return hu[None].to(probe.torch_device), lungs[None].to(probe.torch_device)


class _Duel:
    """Generator against critic, under a frozen network. Batches are (hu, lungs)."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.generator = Generator(probe.variant.dimensions).to(probe.torch_device)
        self.critic = Critic(probe.variant.dimensions).to(probe.torch_device)
        self.generator_optimiser = torch.optim.Adam(self.generator.parameters(), HEAL_RATE, BETAS)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), HEAL_RATE, BETAS)
        self.history: list[dict[str, float]] = []

    def step(
        self, called: tuple[Tensor, Tensor], negative: tuple[Tensor, Tensor], target: int, rng: np.random.Generator
    ) -> None:
        """Heal one scan, inpaint a hole in another; train the critic, then the generator."""
        (hu, lungs), (clean, clean_lungs) = called, negative
        mask, paint = self.generator(hu, lungs, torch.zeros_like(lungs))
        healed = (1 - mask) * hu + mask * paint
        hole = torch.from_numpy(random_hole(clean_lungs[0].cpu().numpy(), rng))[None].to(clean.device)
        opened = torch.where(hole, hole_noise(clean.shape, rng).to(clean.device), clean)
        _, painted = self.generator(opened, clean_lungs, hole)
        filled = torch.where(hole, painted, clean)
        self._train_critic((healed.detach(), lungs), (filled.detach(), clean_lungs), negative)
        terms = {
            "counterfactual": self._counterfactual(healed, lungs, target),
            "critic": -self.critic(healed, lungs).mean(),
            "size": share(mask, lungs),
            "variation": variation(mask),
            "identity": self._identity(clean, clean_lungs),
            "inpaint": ((painted - clean).abs() * hole).sum() / hole.sum().clamp(min=1) / INPUT_HU[1],
            "inpaint_critic": -self.critic(filled, clean_lungs).mean(),
        }
        self.generator_optimiser.zero_grad()
        _sum([WEIGHTS.get(name, 1.0) * term for name, term in terms.items()]).backward()
        self.generator_optimiser.step()
        self.history.append({name: float(term.detach()) for name, term in terms.items()})

    def _train_critic(
        self, healed: tuple[Tensor, Tensor], filled: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]
    ) -> None:
        fake = (functional.relu(1 + self.critic(*healed)).mean() + functional.relu(1 + self.critic(*filled)).mean()) / 2
        self.critic_optimiser.zero_grad()
        (functional.relu(1 - self.critic(*real)).mean() + fake).backward()
        self.critic_optimiser.step()

    def _counterfactual(self, healed: Tensor, lungs: Tensor, target: int) -> Tensor:
        with self.probe.reduced_precision():
            logits = self.probe.logits(healed, lungs)
        return functional.softplus(log_odds(logits.float(), target) + MARGIN).mean()

    def _identity(self, clean: Tensor, lungs: Tensor) -> Tensor:
        mask, paint = self.generator(clean, lungs, torch.zeros_like(lungs))
        loss: Tensor = share(mask, lungs) + (mask * (paint - clean)).abs().mean() / INPUT_HU[1]
        return loss


def healed_hu(hu: np.ndarray, mask: np.ndarray, infill: np.ndarray) -> np.ndarray:
    """Return (1 − mask) · HU + mask · infill, float32."""
    return np.asarray((1 - mask) * hu + mask * infill, np.float32)


def share(mask: Tensor, lungs: Tensor) -> Tensor:
    """Return the mask's share of the lungs, a scalar."""
    return mask.sum() / lungs.sum().clamp(min=1)


def variation(mask: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring voxels along all three axes (total variation), a scalar."""
    return _sum([mask.diff(dim=axis).abs().mean() for axis in (1, 2, 3) if mask.shape[axis] > 1])


def _sum(terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars, added one after the other."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
