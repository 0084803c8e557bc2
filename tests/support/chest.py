"""A small chest in HU for tests of segmentation and preparation: body, ribs, two lungs, windpipe, heart, bowel gas."""

from __future__ import annotations

import numpy as np
from claire.core.imaging.volume import Volume

SHAPE, STEP_MM = (44, 80, 96), 4.0


def make_chest(seed: int = 0) -> tuple[Volume, np.ndarray]:
    """Return a chest (slices from feet to head, rows to the back, columns to the left) and its lungs, 0/1/2."""
    z, y, x = (axis * STEP_MM - (size - 1) * STEP_MM / 2 for axis, size in zip(np.indices(SHAPE), SHAPE, strict=True))
    body = ellipse(x, y, 165, 115)
    chest = ball(x, y, z + 20, 136, 92, 105) & (np.abs(x) > 26) & ~heart(x, y, z) & ~dome(x, y, z)
    lungs = np.where(x < 0, 1, 2).astype(np.uint8) * chest
    cage = ball(x, y, z + 20, 147, 103, 116) & ~ball(x, y, z + 20, 139, 95, 108)
    ribs = cage & (np.abs(z % 20 - 10) < 5) & (np.abs(x) > 30)
    windpipe, gas = (np.hypot(x, y - 10) < 9) & (z > -10), ball(x - 72, y + 30, z + 72, 25, 20, 10)
    hu = np.where(body, 40.0, -1000.0)
    for part, value in ((ribs, 500), (lungs > 0, -860), (windpipe, -990), (gas, -990)):
        hu[part] = value
    hu += np.random.default_rng(seed).normal(0, 15, SHAPE)
    affine = np.diag([-STEP_MM, -STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = 190, 158, -300
    return Volume(hu.astype(np.int16), affine), lungs


def ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    """Return the inside of an ellipse."""
    return (x / a) ** 2 + (y / b) ** 2 < 1


def ball(x: np.ndarray, y: np.ndarray, z: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    """Return the inside of an ellipsoid."""
    return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1


def dome(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return what lies under the diaphragm."""
    return ball(np.abs(x) - 72, y, z + 110, 60, 80, 75) | (z < -75)


def heart(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the inside of the heart."""
    return ball(x - 20, y + 30, z + 20, 55, 45, 45)


def consolidate(volume: Volume, lungs: np.ndarray, centre: tuple[int, int, int], radius_mm: float) -> Volume:
    """Return the chest with the lung within a ball as dense as soft tissue."""
    away = np.indices(lungs.shape) - np.array(centre)[:, None, None, None]
    dense = (np.sqrt((away**2).sum(0)) * STEP_MM < radius_mm) & (lungs > 0)
    return Volume(np.where(dense, 40, volume.data).astype(np.int16), volume.affine)
