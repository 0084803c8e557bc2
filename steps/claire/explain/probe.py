"""A trained network as a function of HU: the scan's logits, differentiable, and the same again for altered voxels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.core.networks.build import GREY_DEVIATION, GREY_MEAN, ScanNetwork
from claire.core.networks.devices import Device
from claire.core.networks.view import AIR_HU, View, make_view

#: Voxels of network input that are evaluated at once without gradients: bounds the memory of a laptop's job.
CHUNK_VOXELS = 32 * 224 * 224


@dataclass(frozen=True)
class Case:
    """A scan on the grid of the network's input. `hu`: (slices, size, size) float32; `lungs`: the same shape, bool."""

    scan: Scan
    view: View
    hu: Tensor
    lungs: Tensor

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of this grid along (slice, row, column) in mm."""
        columns, rows, slices = np.linalg.norm(self.view.affine[:3, :3], axis=0)
        return float(slices), float(rows), float(columns)


def make_case(cohort: Cohort, scan: Scan, variant: Variant) -> Case:
    """Return a scan on the grid that `variant`'s network sees."""
    view = make_view(cohort, scan, variant)
    hu = np.ascontiguousarray(view.hu, np.float32)
    return Case(scan, view, torch.from_numpy(hu), torch.from_numpy(view.lungs > 0))


class Probe:
    """A network with its variant and device; batches are (B, slices, size, size) HU beside a mask of the lungs.

    The network is held in evaluation mode with frozen weights. Log-odds are natural logarithms.
    """

    def __init__(self, network: ScanNetwork, variant: Variant, where: Device) -> None:
        self.network, self.variant, self.where = network.to(where.torch).eval(), variant, where
        self.network.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.where.torch

    def quick(self) -> AbstractContextManager[None]:
        """Return the context of bf16 where the device computes in it: for gradients that are averaged anyway."""
        return self.where.autocast() if self.where.precision == "bf16" else nullcontext()

    @property
    def slicewise(self) -> bool:
        """Whether slices are embedded one by one and pooled, so that unchanged slices need no second look."""
        return self.variant.dimensions == "2D" and type(self.network).forward is ScanNetwork.forward

    def image(self, hu: Tensor, lungs: Tensor) -> Tensor:
        """Return the network's input in 0…1 of HU (…, slices, rows, columns): as `View.image`, but differentiable."""
        variant = self.variant
        if variant.view == "lungs":
            hu = torch.where(lungs, hu, torch.full_like(hu, AIR_HU))
        image = ((hu - (variant.window.centre - variant.window.width / 2)) / variant.window.width).clamp(0, 1)
        if variant.normalisation == "slice":
            low = image.amin((-2, -1), keepdim=True)
            image = (image - low) / (image.amax((-2, -1), keepdim=True) - low).clamp(min=1e-6)
        return image

    def logits(self, hu: Tensor, lungs: Tensor) -> Tensor:
        """Return the scan's logits (B, classes) of a batch of HU, with gradients."""
        return self.answer(self.image(hu, lungs))

    def answer(self, image: Tensor) -> Tensor:
        """Return the logits (B, classes) of network inputs (B, slices, size, size).

        Where gradients of many slices are asked for, slices are computed again on the way back instead of being kept
        (Chen 2016, arXiv:1604.06174): memory is that of one chunk.
        """
        if not (self.slicewise and image.requires_grad and image.numel() > CHUNK_VOXELS):
            return self.network(image).scan
        slices = image.flatten(0, 1)
        parts = slices.split(max(1, CHUNK_VOXELS // slices[0].numel()))
        features = torch.cat([checkpoint(self._features, part, use_reentrant=False) for part in parts])
        return self.network.pool(features.unflatten(0, image.shape[:2])).scan

    def _features(self, slices: Tensor) -> Tensor:
        grey = ((slices - GREY_MEAN) / GREY_DEVIATION).unsqueeze(1).expand(-1, self.network.channels, -1, -1)
        return self.network.backbone(grey.contiguous(memory_format=torch.channels_last)).float()

    @torch.no_grad()
    def embed(self, slices: Sequence[Tensor], lungs: Sequence[Tensor]) -> list[Tensor]:
        """Return the features of single slices of HU; for `slicewise` networks."""
        at_once = max(1, CHUNK_VOXELS // slices[0].numel()) if slices else 1
        found: list[Tensor] = []
        for i in range(0, len(slices), at_once):
            rows = slice(i, i + at_once)
            hu, inside = (torch.stack(list(part[rows])).to(self.device) for part in (slices, lungs))
            found += list(self._features(self.image(hu, inside)).cpu())
        return found

    @torch.no_grad()
    def pool(self, features: Sequence[Tensor]) -> np.ndarray:
        """Return the logits (n, classes) float64 of n scans from the features of their slices (slices, width)."""
        return self.network.pool(torch.stack(list(features)).to(self.device)).scan.double().cpu().numpy()

    @torch.no_grad()
    def evaluate(self, volumes: Sequence[Tensor], lungs: Tensor, coarse: bool = False) -> np.ndarray:
        """Return the logits (n, classes) float64 of n altered copies of one scan, a few at a time.

        `coarse`: in the precision of training, which is faster: for averages, not for small differences.
        """
        with self.where.autocast() if coarse else nullcontext():
            return self._evaluate(volumes, lungs)

    def _evaluate(self, volumes: Sequence[Tensor], lungs: Tensor) -> np.ndarray:
        at_once = max(1, CHUNK_VOXELS // lungs.numel())
        inside = lungs.to(self.device)
        found = [
            self.logits(torch.stack(list(volumes[i : i + at_once])).to(self.device), inside).double().cpu()
            for i in range(0, len(volumes), at_once)
        ]
        return torch.cat(found).numpy()

    def of(self, case: Case) -> np.ndarray:
        """Return the logits (classes,) of a scan as it is."""
        return self.evaluate([case.hu], case.lungs)[0]


def log_odds(logits: Tensor, target: int) -> Tensor:
    """Return the log-odds (B,) of class `target` against all others; of two classes, the difference of their logits."""
    others = [index for index in range(logits.shape[-1]) if index != target]
    return logits[..., target] - torch.logsumexp(logits[..., others], -1)


def log_odds_of(logits: np.ndarray, target: int) -> np.ndarray:
    """Return `log_odds` of an array (…, classes)."""
    return log_odds(torch.from_numpy(np.ascontiguousarray(logits)), target).numpy()


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of an array (…, classes)."""
    return torch.softmax(torch.from_numpy(np.ascontiguousarray(logits)), -1).numpy()


def decide(logits: np.ndarray, operating_point: float) -> np.ndarray:
    """Return the decided class of each row: the reference (0) unless 1 − p(reference) reaches the operating point,
    then the likeliest of the others."""
    chances = probabilities(logits)
    return np.where(1 - chances[..., 0] >= operating_point, 1 + chances[..., 1:].argmax(-1), 0)


def target_of(logits: np.ndarray) -> int:
    """Return the class whose log-odds are explained: the likeliest one that is not the reference."""
    return 1 + int(np.argmax(logits[1:]))
