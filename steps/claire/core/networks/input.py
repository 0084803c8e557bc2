"""HU to network input: the one place where a variant's window, view and normalisation are applied."""

from __future__ import annotations

import torch
from torch import Tensor

from claire.core.contracts.variant import Variant
from claire.core.imaging.volume import AIR_HU


def to_input(hu: Tensor, variant: Variant, lungs: Tensor | None = None) -> Tensor:
    """Return the network's input, float32 in 0…1, of HU (…, slices, rows, columns); differentiable.

    `lungs`: a boolean mask of the same shape, outside which `view: lungs` is air; without it the HU are assumed to
    be masked already.
    """
    if variant.view == "lungs" and lungs is not None:
        hu = torch.where(lungs, hu, torch.full_like(hu, AIR_HU))
    return normalise(window(hu.float(), variant).clamp(0, 1), variant)


def window(hu: Tensor, variant: Variant) -> Tensor:
    """Map HU to window units, 0…1 within the variant's window, not clipped."""
    return (hu - (variant.window.centre - variant.window.width / 2)) / variant.window.width


def normalise(image: Tensor, variant: Variant) -> Tensor:
    """Return windowed slices, each stretched to its own range if the variant requires it."""
    if variant.normalisation != "slice":
        return image
    low = image.amin((-2, -1), keepdim=True)
    return (image - low) / (image.amax((-2, -1), keepdim=True) - low).clamp(min=1e-6)
