"""Opacities: lung that is denser than air-filled lung, found by HU.

Arrays are (slices, rows, columns); `lungs` is 0 outside the lungs, 1 right, 2 left; spacing is (slice, row, column)
in mm. Opacities are lesions or large vessels: what they are to a network, its interventions tell.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from claire.core.imaging.volume import AIR_HU

Spacing = tuple[float, float, float]
#: Smoothed HU above which lung counts as opacity: ground glass starts near −700 (Hansell 2008: −700 … −500).
OPACITY_HU = -700.0
#: HU above which a voxel that touches an opacity belongs to its rim.
RIM_HU = -760.0
SMOOTHING_MM = 1.5
#: Radius in plane of what is opened away: vessels up to twice as wide.
OPENING_MM = 3.0
SMALLEST_ML = 1.0
#: A lesion that runs aslant touches itself at edges and corners alone where slices are thick.
TOUCHING = ndimage.generate_binary_structure(3, 3)
#: Neighbours within a slice: a thick slice above or below is not near.
IN_PLANE = ndimage.generate_binary_structure(3, 1)[1:2]


def smooth(values: np.ndarray, spacing_mm: Spacing, millimetres: float = SMOOTHING_MM) -> np.ndarray:
    """Return a Gaussian smoothing of `values` by a standard deviation in mm, float32."""
    smoothed: np.ndarray = ndimage.gaussian_filter(
        np.asarray(values, np.float32), millimetres / np.array(spacing_mm), truncate=3
    )
    return smoothed


def smooth_in_lung(
    hu: np.ndarray, lungs: np.ndarray, spacing_mm: Spacing, millimetres: float = SMOOTHING_MM
) -> np.ndarray:
    """Return HU smoothed within the lungs only, so that chest wall and heart do not bleed in; air elsewhere."""
    inside = (lungs > 0).astype(np.float32)
    weight = smooth(inside, spacing_mm, millimetres)
    return np.where(inside > 0, smooth(hu * inside, spacing_mm, millimetres) / np.maximum(weight, 1e-3), AIR_HU)


def opacities(hu: np.ndarray, lungs: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """Return the mask of lung whose smoothed HU exceeds `OPACITY_HU`, with its rim (`RIM_HU`), without thin vessels.

    What an in-plane opening by `OPENING_MM` removes is a vessel; the rim reaches as far as that.
    """
    smoothed = smooth_in_lung(hu, lungs, spacing_mm)
    inside, steps = lungs > 0, max(1, round(OPENING_MM / spacing_mm[1]))
    dense = (smoothed > OPACITY_HU) & inside
    core = ndimage.binary_opening(dense, IN_PLANE, steps)
    solid = ndimage.binary_dilation(core, IN_PLANE, steps) & dense
    rim = inside & (smoothed > RIM_HU)
    return np.asarray(ndimage.binary_dilation(solid, IN_PLANE, steps) & rim | solid)


def widen(mask: np.ndarray) -> np.ndarray:
    """Return a mask widened by one voxel in plane: a lesion's rim is part of it."""
    return np.asarray(ndimage.binary_dilation(mask, IN_PLANE))


def drop_small(labels: np.ndarray, voxel_ml: float, smallest_ml: float = SMALLEST_ML) -> np.ndarray:
    """Return a label map without components below `smallest_ml`, and below 3 voxels; labels become 1 … n."""
    sizes = np.bincount(labels.ravel())
    large = sizes >= max(3.0, smallest_ml / voxel_ml)
    large[0] = False
    new_label = np.zeros(len(sizes), np.int32)
    new_label[large] = np.arange(1, int(large.sum()) + 1)
    return np.asarray(new_label[labels])


def connected(mask: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return the label map, int32, of the connected parts of a mask; none reaches from one lung into the other."""
    labels = np.zeros(mask.shape, np.int32)
    for side in (1, 2):
        parts, _ = ndimage.label(mask & (lungs == side), TOUCHING)
        labels[parts > 0] = parts[parts > 0] + labels.max(initial=0)
    return labels


def lesions(hu: np.ndarray, lungs: np.ndarray, spacing_mm: Spacing, voxel_ml: float) -> np.ndarray:
    """Return the label map, int32 1 … n, of whole opacities of at least `SMALLEST_ML`."""
    return drop_small(connected(opacities(hu, lungs, spacing_mm), lungs), voxel_ml)
