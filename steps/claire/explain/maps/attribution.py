"""Saliency maps of a scan's log-odds that need no extra training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from torch import Tensor
from torch.nn import functional

from claire.core.networks.input import to_input
from claire.explain.lesions.candidates import smooth, smooth_in_lung
from claire.explain.probe import Case, Probe, log_odds


def grad_cam(probe: Probe, case: Case, target: int) -> np.ndarray:
    """Return Grad-CAM (Selvaraju 2017) of the scan's log-odds at the last convolutional block, ≥ 0, on the view's grid.

    2D: one map per slice, from one gradient, so that slices are comparable; 3D: a volume. (slices, size, size) float32.
    """

    image = to_input(case.hu, probe.variant, case.lungs)[None].to(probe.torch_device)
    method = LayerGradCam(lambda batch: log_odds(probe.network(batch).scan, target), probe.network.feature_module)
    raw = functional.relu(method.attribute(image).detach())
    on_grid: np.ndarray = _on_grid(raw, tuple(case.hu.shape)).cpu().numpy()
    return on_grid


def _on_grid(raw: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(slices, 1, h, w) or (1, 1, d, h, w) → (slices, size, size)."""
    if raw.dim() == 4:
        return functional.interpolate(raw, shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return functional.interpolate(raw, shape, mode="trilinear", align_corners=False)[0, 0]


def integrated_gradients(probe: Probe, case: Case, healthy: np.ndarray, target: int, steps: int) -> np.ndarray:
    """Return integrated gradients (Sundararajan 2017) from lungs filled with `healthy` HU, on the view's grid.

    (slices, size, size) float32, signed, in log-odds: the sum is about z(scan) − z(healthy). `steps` points by
    Gauss–Legendre, one at a time.
    """

    def score(batch: Tensor) -> Tensor:
        return log_odds(probe.logits_of_input(batch), target)

    image = to_input(case.hu, probe.variant, case.lungs)[None].to(probe.torch_device)
    filled = torch.where(case.lungs, torch.from_numpy(np.asarray(healthy, np.float32)), case.hu)
    base = to_input(filled, probe.variant, case.lungs)[None].to(probe.torch_device)
    with probe.reduced_precision():
        attributed = IntegratedGradients(score).attribute(image, base, n_steps=steps, internal_batch_size=1)
    attribution: np.ndarray = attributed[0].detach().float().cpu().numpy()
    return attribution


def as_regions(maps: Mapping[str, np.ndarray], case: Case) -> dict[str, np.ndarray]:
    """Return maps with contiguous strong regions: integrated gradients become their positive part, smoothed by 3 mm."""
    positive = np.maximum(maps["integrated_gradients"], 0)
    return {**maps, "integrated_gradients": smooth(positive, case.view, 3.0)}


def density(case: Case, smoothed: bool) -> np.ndarray:
    """Return HU above air in the lungs, raw or smoothed: the baseline for every method."""
    values = smooth_in_lung(case.view.hu, case.view) if smoothed else case.view.hu
    return np.where(case.view.lungs > 0, np.maximum(values + 1000, 0), 0).astype(np.float32)


def random_map(case: Case, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise in the lungs, ≥ 0: regions chosen at random."""
    noise = smooth(rng.standard_normal(case.view.lungs.shape), case.view, 2 * float(min(case.view.spacing_mm)))
    return np.where(case.view.lungs > 0, noise - noise.min(), 0).astype(np.float32)
