"""A trained network as a function of HU: the scan's logits, differentiable, also for altered voxels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from claire.core.command.progress import progress
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.core.imaging.affine import voxel_ml
from claire.core.networks.devices import Device
from claire.core.networks.input import to_input
from claire.core.networks.scan_network import GREY_DEVIATION, GREY_MEAN, ScanNetwork, ScanOutput
from claire.core.networks.view import Projection, View, make_view

#: Voxels of network input that are evaluated at once without gradients: bounds memory use on a laptop.
CHUNK_VOXELS = 32 * 224 * 224
#: Memory for cached scans, in bytes.
CACHE_BYTES = 512 * 2**20
#: Slices of a scan that one training step of a 2D network sees.
STEP_SLICES = 8


@dataclass(frozen=True)
class Case:
    """A scan as prepared, and on the grid of the network's input.

    `hu`: (slices, size, size) float32 and `lungs`, the same shape, bool: of the view. `prepared_hu`: (kept slices,
    rows, columns) int16 and `prepared_lungs`, the same shape, uint8 0/1/2: lesions are found, described and removed
    there, and `projection` says how the network sees it.
    """

    scan: Scan
    view: View
    hu: Tensor
    lungs: Tensor
    prepared_hu: np.ndarray
    prepared_lungs: np.ndarray
    projection: Projection

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the prepared grid along (slice, row, column) in mm."""
        return self.scan.spacing_mm

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of the prepared grid in ml."""
        return voxel_ml(self.scan.affine)


#: A function that loads a scan when it is called.
Loader = Callable[[], Case]


def make_case(cohort: Cohort, scan: Scan, variant: Variant) -> Case:
    """Return a scan on the grid that `variant`'s network sees."""
    view = make_view(cohort, scan, variant)
    prepared_hu, prepared_lungs = cohort.voxels(scan)
    return Case(
        scan,
        view,
        torch.from_numpy(np.ascontiguousarray(view.hu, np.float32)),
        torch.from_numpy(view.lungs > 0),
        prepared_hu,
        prepared_lungs,
        Projection.of(prepared_lungs, variant),
    )


class Cases:
    """The cohort's scans as a variant's network sees them; at most `CACHE_BYTES` of them stay in memory."""

    def __init__(self, cohort: Cohort, variant: Variant) -> None:
        self.cohort, self._variant = cohort, variant
        self._cache: OrderedDict[str, Case] = OrderedDict()
        self._capacity = max(2, CACHE_BYTES // (6 * variant.slices * variant.size**2))

    def get(self, scan: Scan) -> Case:
        """Return a scan on the network's grid."""
        if scan.scan not in self._cache:
            self._cache[scan.scan] = make_case(self.cohort, scan, self._variant)
            if len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        self._cache.move_to_end(scan.scan)
        return self._cache[scan.scan]

    def loader(self, scan: Scan) -> Loader:
        """Return a function that loads one scan."""
        return partial(self.get, scan)


def random_slices(hu: Tensor, lungs: Tensor, dimensions: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return (hu, lungs) of a random part of a view's slices, in order, for 2D networks; of all slices for 3D."""
    count = hu.shape[0]
    if dimensions == "3D" or count <= STEP_SLICES:
        return hu, lungs
    rows = np.sort(rng.permutation(count)[:STEP_SLICES])
    return hu[rows], lungs[rows]


class Probe:
    """A network with its variant and device; batches are (B, slices, size, size) HU with a mask of the lungs.

    The network is kept in evaluation mode with frozen weights. Log-odds are natural logarithms.
    """

    def __init__(self, network: ScanNetwork, variant: Variant, device: Device) -> None:
        self.network, self.variant, self.device = network.to(device.torch).eval(), variant, device
        self.network.requires_grad_(False)

    @property
    def torch_device(self) -> torch.device:
        """Where the network runs."""
        return self.device.torch

    def reduced_precision(self) -> AbstractContextManager[None]:
        """Return an autocast context if the device uses bf16: for gradients that are averaged anyway."""
        return self.device.autocast() if self.device.precision == "bf16" else nullcontext()

    @property
    def slicewise(self) -> bool:
        """Whether slices are embedded one by one and pooled, so that unchanged slices are not computed again."""
        return self.variant.dimensions == "2D" and type(self.network).forward is ScanNetwork.forward

    def logits(self, hu: Tensor, lungs: Tensor) -> Tensor:
        """Return the scan's logits (B, classes) of a batch of HU, with gradients."""
        return self.logits_of_input(to_input(hu, self.variant, lungs))

    def logits_of_input(self, image: Tensor) -> Tensor:
        """Return the logits (B, classes) of network inputs (B, slices, size, size).

        Where gradients of many slices are needed, slices are recomputed in the backward pass instead of being stored
        (Chen 2016, arXiv:1604.06174): peak memory is that of one chunk.
        """
        if not (self.slicewise and image.requires_grad and image.numel() > CHUNK_VOXELS):
            output: ScanOutput = self.network(image)
            return output.scan
        slices = image.flatten(0, 1)
        parts = slices.split(max(1, CHUNK_VOXELS // slices[0].numel()))
        features = torch.cat([checkpoint(self._features, part, use_reentrant=False) for part in parts])
        return self.network.pool(features.unflatten(0, image.shape[:2])).scan

    def _features(self, slices: Tensor) -> Tensor:
        grey = ((slices - GREY_MEAN) / GREY_DEVIATION).unsqueeze(1).expand(-1, self.network.channels, -1, -1)
        features: Tensor = self.network.backbone(grey.contiguous(memory_format=torch.channels_last))
        return features.float()

    @torch.no_grad()
    def embed(self, slices: Sequence[Tensor], lungs: Sequence[Tensor]) -> list[Tensor]:
        """Return the features (width,) of single slices of HU (size, size); for `slicewise` networks."""
        batch_size = max(1, CHUNK_VOXELS // slices[0].numel()) if slices else 1
        features: list[Tensor] = []
        for i in range(0, len(slices), batch_size):
            rows = slice(i, i + batch_size)
            hu, inside = (torch.stack(list(part[rows])).to(self.torch_device) for part in (slices, lungs))
            features += list(self._features(to_input(hu, self.variant, inside)).cpu())
        return features

    @torch.no_grad()
    def pool(self, features: Sequence[Tensor]) -> np.ndarray:
        """Return the logits (n, classes) float64 of n scans from the features of their slices (slices, width)."""
        logits = self.network.pool(torch.stack(list(features)).to(self.torch_device)).scan
        return _to_numpy(logits.double())

    @torch.no_grad()
    def evaluate(self, volumes: Sequence[Tensor], lungs: Tensor, coarse: bool = False) -> np.ndarray:
        """Return the logits (n, classes) float64 of n altered copies of one scan, in batches.

        `coarse`: in the precision of training, which is faster: for averages, not for small differences.
        """
        with self.device.autocast() if coarse else nullcontext():
            return self._evaluate(volumes, lungs)

    def _evaluate(self, volumes: Sequence[Tensor], lungs: Tensor) -> np.ndarray:
        batch_size = max(1, CHUNK_VOXELS // lungs.numel())
        inside = lungs.to(self.torch_device)
        logits = [
            self.logits(torch.stack(list(volumes[i : i + batch_size])).to(self.torch_device), inside).double().cpu()
            for i in range(0, len(volumes), batch_size)
        ]
        return _to_numpy(torch.cat(logits))

    def scan_logits(self, case: Case) -> np.ndarray:
        """Return the logits (classes,) float64 of an unaltered scan."""
        logits: np.ndarray = self.evaluate([case.hu], case.lungs)[0]
        return logits


def logits_of_scans(probe: Probe, scans: Sequence[Scan], cases: Cases, progress_label: str) -> np.ndarray:
    """Return the logits (scans, classes) float64 of unaltered scans; `progress_label` names them in the log."""
    logits = [probe.scan_logits(cases.get(scan)) for scan in progress(scans, progress_label)]
    return np.array(logits).reshape(len(scans), probe.network.classes)


def log_odds(logits: Tensor, target: int) -> Tensor:
    """Return the log-odds (B,) of class `target` against all others; of two classes, the difference of their logits."""
    other_classes = [index for index in range(logits.shape[-1]) if index != target]
    return logits[..., target] - torch.logsumexp(logits[..., other_classes], -1)


def log_odds_of(logits: np.ndarray, target: int) -> np.ndarray:
    """Return `log_odds` of an array (…, classes)."""
    return _to_numpy(log_odds(torch.from_numpy(np.ascontiguousarray(logits)), target))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of an array (…, classes)."""
    return _to_numpy(torch.softmax(torch.from_numpy(np.ascontiguousarray(logits)), -1))


def target_class(logits: np.ndarray) -> int:
    """Return the class whose log-odds are explained: the likeliest one that is not the reference."""
    return 1 + int(np.argmax(logits[1:]))


def _to_numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
