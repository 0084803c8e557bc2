"""Infills: lungs as they would be without an opacity, estimated from the clean lung around it.

Arrays are (slices, rows, columns); see `claire.core.imaging.opacities`. None of them knows the network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from claire.core.imaging.opacities import RIM_HU, Spacing, smooth, smooth_in_lung, widen

#: Standard deviation in mm of the neighbourhood from which the mean and noise of a hole are estimated.
NEIGHBOURHOOD_MM = 15.0
#: The local statistics are computed on a grid of at most this spacing in plane: they are smooth.
COARSE_MM = 4.0
NOISE_MM = 1.5
HEALTHY_HU, HEALTHY_SPREAD_HU = -850.0, 40.0
#: Infills that do not come from the network's own counterfactual: only these determine Δ and the ranking.
INDEPENDENT = ("constant", "noise")


class LungStatistics(NamedTuple):
    """Local mean and standard deviation of clean lung in HU, each (slices, rows, columns) float32."""

    mean: np.ndarray
    spread: np.ndarray


def lung_statistics(
    hu: np.ndarray, lungs: np.ndarray, spacing_mm: Spacing, avoid: np.ndarray | None = None
) -> LungStatistics:
    """Return the local statistics of clean lung.

    Clean is lung that is no denser than `RIM_HU` when smoothed (no opacity, no large vessel) and does not touch such
    lung or `avoid`; the neighbourhood is Gaussian (normalised convolution, Knutsson 1993). Where there is no clean lung
    nearby, the clean lung of the whole scan counts.
    """
    dirty = (smooth_in_lung(hu, lungs, spacing_mm) > RIM_HU) & (lungs > 0)
    clean = (lungs > 0) & ~widen(dirty if avoid is None else dirty | avoid)
    values = hu[clean].astype(np.float32) if clean.any() else np.array([HEALTHY_HU], np.float32)
    mean, spread = float(values.mean()), float(values.std()) or HEALTHY_SPREAD_HU
    factor = max(1, int(COARSE_MM / spacing_mm[1]))
    coarse = (spacing_mm[0], factor * spacing_mm[1], factor * spacing_mm[2])
    filled = np.where(clean, hu, 0).astype(np.float32)
    weight, first, second = (
        smooth(_sums(part, factor), coarse, NEIGHBOURHOOD_MM)
        for part in (clean.astype(np.float32), filled, filled * filled)
    )
    floor = 1e-3 * factor**2
    weight = weight + floor
    local = (first + floor * mean) / weight
    variance = (second + floor * (spread**2 + mean**2)) / weight - local**2
    shape = hu.shape
    return LungStatistics(_fine(local, shape), _fine(np.sqrt(np.maximum(variance, 1.0)), shape))


def _sums(values: np.ndarray, factor: int) -> np.ndarray:
    """Return the sums over blocks of `factor` × `factor` voxels in plane."""
    if factor == 1:
        return values
    rows, columns = (-size % factor for size in values.shape[1:])
    padded = np.pad(values, ((0, 0), (0, rows), (0, columns)))
    blocks = padded.reshape(len(padded), padded.shape[1] // factor, factor, padded.shape[2] // factor, factor)
    return np.asarray(blocks.sum((2, 4)))


def _fine(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return block values on the grid of `shape`, linear between the centres of the blocks."""
    if values.shape == shape:
        return values.astype(np.float32)
    factor = -(-shape[1] // values.shape[1])
    rows, columns = (
        np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, count - 1)
        for size, count in zip(shape[1:], values.shape[1:], strict=True)
    )
    return _between(_between(values, rows, 1), columns, 2).astype(np.float32)


def _between(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    low = at.astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    shape = [1, 1, 1]
    shape[axis] = -1
    part = (at - low).reshape(shape)
    return np.asarray(values.take(low, axis) * (1 - part) + values.take(high, axis) * part)


def lung_noise(shape: tuple[int, ...], spacing_mm: Spacing, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit standard deviation with the grain of lung (`NOISE_MM`), float32."""
    noise = smooth(rng.standard_normal(shape, dtype=np.float32), spacing_mm, NOISE_MM)
    return noise / max(float(noise.std()), 1e-6)


def fill(statistics: LungStatistics, infill: str, spacing_mm: Spacing, rng: np.random.Generator) -> np.ndarray:
    """Return lungs without lesions, float32 HU: `constant` is the local mean, `noise` adds the local spread."""
    if infill == "constant":
        return statistics.mean
    return np.asarray(statistics.mean + statistics.spread * lung_noise(statistics.mean.shape, spacing_mm, rng))


def random_hole(lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a mask of one to three random ellipsoids within the lungs, 3 to 10 % of the picture in radius."""
    inside = lungs > 0
    index = np.flatnonzero(inside)
    hole = np.zeros(inside.shape, bool)
    if not len(index):
        return hole
    grid = np.ogrid[tuple(slice(0, n) for n in inside.shape)]
    for _ in range(int(rng.integers(1, 4))):
        centre = np.unravel_index(index[rng.integers(len(index))], inside.shape)
        radii = np.array([rng.uniform(0.5, 2.5), *rng.uniform(0.03, 0.10, 2) * inside.shape[1]])
        away = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True))
        hole |= away < 1
    return hole & inside
