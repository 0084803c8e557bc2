"""Saliency maps of a scan's log-odds, on the grid of the network's input: (slices, size, size) float32.

They are baselines of the interventions, and may propose regions. `MAPS` names each as `METHODS` of the contract does: a
new map is a function here and a line there. The network is never altered.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, NoiseTunnel, Saliency
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from claire.core.imaging.opacities import smooth, smooth_in_lung
from claire.core.networks.input import to_input
from claire.core.networks.scan_network import ScanNetwork
from claire.explain.probe import Case, Probe, log_odds, log_odds_of

#: Noise of SmoothGrad (Smilkov 2017), in units of the input's range, and its samples.
NOISE, SAMPLES = 0.1, 8
#: Patches of occlusion along a side of a slice, and slabs along a volume.
PATCHES, SLABS = 8, 4
#: Indices of a patch along each axis, as NumPy's `ix_` returns them.
Patch = tuple[np.ndarray, ...]


class Question(NamedTuple):
    """What is asked: the log-odds of `target`, of a case under a network.

    `healthy`: (slices, size, size) HU of lungs without opacities; `steps`: points of integrated gradients.
    """

    probe: Probe
    case: Case
    target: int
    healthy: np.ndarray
    steps: int
    seed: int

    def score(self, image: Tensor) -> Tensor:
        """Return the log-odds (B,) of network inputs (B, slices, size, size)."""
        return log_odds(self.probe.logits_of_input(image), self.target)

    @property
    def image(self) -> Tensor:
        """The network's input (1, slices, size, size) of the scan."""
        return self.input_of(self.case.hu)

    def input_of(self, hu: Tensor) -> Tensor:
        """Return the network's input (1, slices, size, size) of HU."""
        return to_input(hu, self.probe.variant, self.case.lungs)[None].to(self.probe.torch_device)


def saliency_maps(
    probe: Probe, case: Case, healthy: np.ndarray, target: int, names: Sequence[str], steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the map of each of `names`; the same seed gives the same maps of a scan, and other noise for another."""
    scan_seed = zlib.crc32(f"{seed} {case.scan.scan}".encode())
    question = Question(probe, case, target, healthy, steps, scan_seed)
    cuda = [probe.torch_device] if probe.torch_device.type == "cuda" else []
    maps = {}
    for name in names:
        with torch.random.fork_rng(cuda):
            torch.manual_seed(scan_seed)
            maps[name] = MAPS[name](question)
    return maps


def gradient(question: Question) -> np.ndarray:
    """Return the absolute gradient (Simonyan 2014)."""
    return _numpy(Saliency(question.score).attribute(question.image.requires_grad_(True))[0])


def smoothgrad(question: Question) -> np.ndarray:
    """Return the mean absolute gradient over noisy copies (Smilkov 2017)."""
    tunnel = NoiseTunnel(Saliency(question.score))
    attributed = tunnel.attribute(
        question.image, nt_type="smoothgrad", nt_samples=SAMPLES, nt_samples_batch_size=1, stdevs=NOISE
    )
    return _numpy(attributed[0])


def integrated_gradients(question: Question) -> np.ndarray:
    """Return integrated gradients (Sundararajan 2017) from lungs filled with healthy HU, signed, in log-odds.

    Their sum is about z(scan) − z(healthy). Points by Gauss–Legendre, one at a time.
    """
    healthy = torch.from_numpy(np.asarray(question.healthy, np.float32))
    base = question.input_of(torch.where(question.case.lungs, healthy, question.case.hu))
    with question.probe.reduced_precision():
        attributed = IntegratedGradients(question.score).attribute(
            question.image, base, n_steps=question.steps, internal_batch_size=1
        )
    return _numpy(attributed[0])


def grad_cam(question: Question) -> np.ndarray:
    """Return Grad-CAM (Selvaraju 2017) at the last convolutional block, ≥ 0; of one gradient, so slices compare."""
    activation, slope = _last_block(question.probe.network, question.image, question.target)
    return _on_grid(_class_activation(activation, slope), question.case)


def grad_cam_pp(question: Question) -> np.ndarray:
    """Return Grad-CAM++ (Chattopadhay 2018) at the last convolutional block, ≥ 0."""
    activation, slope = _last_block(question.probe.network, question.image, question.target)
    return _on_grid(_class_activation_pp(activation, slope), question.case)


def guided_grad_cam(question: Question) -> np.ndarray:
    """Return Guided Grad-CAM with SmoothGrad squared, as the original pipeline used it, ≥ 0.

    captum's GuidedGradCam would multiply each slice by the Grad-CAM of all slices, so the parts are joined here. Guided
    backpropagation (Springenberg 2015) acts on ReLU modules, also those that work in place or are called repeatedly; a
    functional ReLU (DenseNet's last one) is left as it is, and a network without ReLU gets its gradient.
    """
    network = question.probe.network
    guided, total = GuidedBackprop(_LogOdds(question.probe, question.target)), np.zeros(question.case.hu.shape)
    for _ in range(SAMPLES):
        noisy = question.image + NOISE * torch.randn_like(question.image)
        cam = _on_grid(_class_activation(*_last_block(network, noisy, question.target)), question.case)
        total += (_numpy(guided.attribute(noisy.requires_grad_(True))[0]) * cam) ** 2
    return (total / SAMPLES).astype(np.float32)


def occlusion(question: Question) -> np.ndarray:
    """Return the fall of the log-odds when a patch of lung is filled with healthy HU (Zeiler 2014), signed.

    2D: patches of a slice, `PATCHES` along each side; 3D: blocks, `SLABS` along the slices. Every lung voxel lies in
    exactly one patch.
    """
    case, inside = question.case, question.case.lungs.numpy()
    count, size = inside.shape[0], inside.shape[-1]
    slabs = np.array_split(np.arange(count), count if question.probe.variant.dimensions == "2D" else min(SLABS, count))
    spans = np.array_split(np.arange(size), PATCHES)
    healthy = torch.from_numpy(np.asarray(question.healthy, np.float32))
    filled = torch.where(case.lungs, healthy, case.hu)
    features = question.probe.embed(list(case.hu), list(case.lungs)) if question.probe.slicewise else None
    whole = question.probe.scan_logits(case) if features is None else question.probe.pool([torch.stack(features)])[0]
    before = log_odds_of(whole, question.target)
    result = np.zeros(inside.shape, np.float32)
    for slab, rows in itertools.product(slabs, spans):
        patches = [patch for columns in spans if inside[patch := np.ix_(slab, rows, columns)].any()]
        if patches:
            for patch, after in zip(patches, _log_odds_without(question, patches, filled, features), strict=True):
                result[patch] = before - after
    return np.where(inside, result, 0)


def _log_odds_without(
    question: Question, patches: Sequence[Patch], filled: Tensor, features: Sequence[Tensor] | None
) -> np.ndarray:
    """Return the log-odds (patches,) of the scan with each patch `filled`; the patches are of one slab.

    `features`: those of the slices where slices are embedded one by one: only the altered slice is embedded again.
    """
    probe, case = question.probe, question.case
    if features is None:
        volumes = [_patched(case.hu, filled, patch) for patch in patches]
        return log_odds_of(probe.evaluate(volumes, case.lungs), question.target)
    row = int(patches[0][0].item())
    slices = [_patched(case.hu[row], filled[row], (rows[0], columns[0])) for _, rows, columns in patches]
    altered = probe.embed(slices, [case.lungs[row]] * len(slices))
    scans = [torch.stack([*features[:row], new, *features[row + 1 :]]) for new in altered]
    return log_odds_of(probe.pool(scans), question.target)


def _patched(hu: Tensor, filled: Tensor, patch: Patch) -> Tensor:
    """Return HU with the voxels of `patch` taken from `filled`."""
    altered = hu.clone()
    altered[patch] = filled[patch]
    return altered


def edges(question: Question) -> np.ndarray:
    """Return the strength of the edges of the windowed image in the lungs: what a map shows of any network."""
    image = question.image[0].cpu().numpy()
    strength = np.hypot(ndimage.sobel(image, 1), ndimage.sobel(image, 2))
    return np.where(question.case.lungs.numpy(), strength, 0).astype(np.float32)


def hu_raw(question: Question) -> np.ndarray:
    """Return HU above air in the lungs: the baseline for every method."""
    return _density(question.case, question.case.view.hu)


def hu_smoothed(question: Question) -> np.ndarray:
    """Return smoothed HU above air in the lungs."""
    view = question.case.view
    return _density(question.case, smooth_in_lung(view.hu, view.lungs, view.spacing_mm))


def random_map(question: Question) -> np.ndarray:
    """Return smooth noise in the lungs, ≥ 0: regions chosen at random."""
    view = question.case.view
    noise = np.random.default_rng(question.seed).standard_normal(view.lungs.shape)
    smoothed = smooth(noise, view.spacing_mm, 2 * float(min(view.spacing_mm)))
    return np.where(view.lungs > 0, smoothed - smoothed.min(), 0).astype(np.float32)


def _density(case: Case, hu: np.ndarray) -> np.ndarray:
    return np.where(case.view.lungs > 0, np.maximum(hu + 1000, 0), 0).astype(np.float32)


#: Every map by its name in the contract.
MAPS: Mapping[str, Callable[[Question], np.ndarray]] = {
    "gradient": gradient,
    "smoothgrad": smoothgrad,
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "guided_grad_cam": guided_grad_cam,
    "occlusion": occlusion,
    "hu_smoothed": hu_smoothed,
    "hu_raw": hu_raw,
    "edges": edges,
    "random": random_map,
}
#: The maps that are made by default: the two that may propose regions, and the baselines that cost nothing.
FEW = ("grad_cam", "integrated_gradients", "hu_smoothed", "hu_raw", "random")


class _LogOdds(nn.Module):
    """A network as the module that captum hooks, whose output is the log-odds (B,) of one class."""

    def __init__(self, probe: Probe, target: int) -> None:
        super().__init__()
        self.network, self.probe, self.target = probe.network, probe, target

    def forward(self, image: Tensor) -> Tensor:
        """Return the log-odds of network inputs (B, slices, size, size)."""
        return log_odds(self.probe.logits_of_input(image), self.target)


def _class_activation(activation: Tensor, slope: Tensor) -> Tensor:
    """Return Grad-CAM (B, 1, …) of activations (B, channels, …) and the gradient by them: weights are its means."""
    weight = slope.mean(tuple(range(2, slope.dim())), keepdim=True)
    return functional.relu((weight * activation).sum(1, keepdim=True))


def _class_activation_pp(activation: Tensor, slope: Tensor) -> Tensor:
    """Return Grad-CAM++ (B, 1, …): weights are sums of the positive gradient g times g² / (2g² + g³ ΣA)."""
    axes = tuple(range(2, slope.dim()))
    below = 2 * slope**2 + activation.sum(axes, keepdim=True) * slope**3
    alpha = slope**2 / torch.where(below != 0, below, torch.ones_like(below))
    weight = (alpha * functional.relu(slope)).sum(axes, keepdim=True)
    return functional.relu((weight * activation).sum(1, keepdim=True))


def _last_block(network: ScanNetwork, image: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Return the activations of the last convolutional block and the gradient of the log-odds by them.

    Each (slices, channels, h, w) in 2D or (1, channels, d, h, w) in 3D.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output if output.requires_grad else output.detach().requires_grad_(True))
        return kept[-1].clone()

    handle = network.feature_module.register_forward_hook(keep)
    try:
        score = log_odds(network(image).scan, target).sum()
    finally:
        handle.remove()
    (slope,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach(), slope


def _on_grid(raw: Tensor, case: Case) -> np.ndarray:
    """(slices, 1, h, w) or (1, 1, d, h, w) → (slices, size, size)."""
    shape = tuple(case.hu.shape)
    if raw.dim() == 4:
        return _numpy(functional.interpolate(raw, shape[1:], mode="bilinear", align_corners=False)[:, 0])
    return _numpy(functional.interpolate(raw, shape, mode="trilinear", align_corners=False)[0, 0])


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().float().cpu().numpy()
    return array
