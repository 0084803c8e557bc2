"""The grid that the lungs are found on: axes in patient order, voxels averaged to about two millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
from scipy import ndimage

from claire.core.imaging.volume import PADDING_HU, Volume

#: Edge of a working voxel in an adult, whose chest has a section of `ADULT_MM` squared; lengths scale with the body.
WORKING_MM = 1.8
ADULT_MM = 260.0
TISSUE_HU, DENSE_HU = -400, 400


@dataclass(frozen=True)
class Grid:
    """A scan averaged over blocks, axes [superior, anterior, right], all growing.

    `hu`: float32, clipped to −1024…400 HU. `spacing_mm`: of this grid. `outside`: bool, where the scanner measured
    nothing (padding beyond a round field of view). `scale`: size of the body over that of an adult, by which every
    length of the method is multiplied; it keeps children, phantoms and images with a made-up spacing in proportion.
    """

    hu: np.ndarray
    outside: np.ndarray
    spacing_mm: tuple[float, float, float]
    factors: tuple[int, int, int]
    scale: float

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of this grid in ml."""
        return float(np.prod(self.spacing_mm)) / 1000

    def cut(self, box: tuple[slice, ...]) -> Grid:
        """Return the part of the grid inside `box`."""
        return replace(self, hu=self.hu[box], outside=self.outside[box])

    def length(self, adult_mm: float) -> float:
        """Return a length of the method in mm of this body."""
        return adult_mm * self.scale

    def voxels(self, adult_mm: float, axis: int) -> int:
        """Return a length of the method in voxels along an axis, at least 1."""
        return max(1, round(self.length(adult_mm) / self.spacing_mm[axis]))

    def area(self, adult_mm2: float) -> float:
        """Return an area of the method in voxels of a transverse plane."""
        return adult_mm2 * self.scale**2 / (self.spacing_mm[1] * self.spacing_mm[2])


def canonical(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return a view of `data` [slice, row, column] whose axes are [superior, anterior, right], all growing."""
    axes, flips = _orientation(affine)
    return np.flip(data.transpose(axes), flips)


def _orientation(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the array axes along superior, anterior and right, and which of them must be flipped."""
    orientation = nib.io_orientation(affine)
    axes: list[int] = []
    flips: list[int] = []
    for target, world in enumerate((2, 1, 0)):
        column = int(np.flatnonzero(orientation[:, 0] == world)[0])
        axes.append(2 - column)
        if orientation[column, 1] < 0:
            flips.append(target)
    return tuple(axes), tuple(flips)


def working_grid(volume: Volume) -> Grid:
    """Average a scan to the working grid."""
    data = canonical(volume.data, volume.affine)
    axes, _ = _orientation(volume.affine)
    spacing = tuple(volume.spacing_mm[axis] for axis in axes)
    scale = _scale(data, spacing)
    factors = tuple(max(1, round(WORKING_MM * scale / step)) for step in spacing)
    factors = tuple(min(factor, size) for factor, size in zip(factors, data.shape, strict=True))
    hu = block_mean(data, factors)
    block_spacing = tuple(step * factor for step, factor in zip(spacing, factors, strict=True))
    return Grid(hu, _padding(data, factors, hu.shape), block_spacing, factors, scale)  # type: ignore[arg-type]  # three axes


def _scale(data: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Return the size of the body over an adult's, by the area of its sections in the middle half of a thinned scan."""
    steps = [max(1, size // 96) for size in data.shape[1:]]
    thin = data[len(data) // 4 : max(1, len(data) * 3 // 4) : max(1, len(data) // 32), :: steps[0], :: steps[1]]
    tissue = [ndimage.binary_opening(section > TISSUE_HU, iterations=2) for section in thin]
    areas = [ndimage.binary_fill_holes(section).sum() for section in tissue]
    side = np.sqrt(np.median(areas) * steps[0] * spacing[1] * steps[1] * spacing[2])
    return float(np.clip(side / ADULT_MM, 0.3, 1.2))


def block_mean(data: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Average blocks of a volume, HU clipped to air…dense; incomplete last blocks are averaged over fewer voxels."""
    shape = tuple(-(-size // factor) for size, factor in zip(data.shape, factors, strict=True))
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for offset in np.ndindex(*factors):
        part = data[offset[0] :: factors[0], offset[1] :: factors[1], offset[2] :: factors[2]]
        block = tuple(slice(size) for size in part.shape)
        total[block] += np.clip(part, PADDING_HU, DENSE_HU)
        count[block] += 1
    return total / count


def _padding(data: np.ndarray, factors: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Return the mask beyond a round field of view: the lowest value of the scan, constant, reaching the border."""
    thin = data[:: factors[0], :: factors[1], :: factors[2]]
    lowest = thin == thin.min()
    if lowest[:, (0, 0, -1, -1), (0, -1, 0, -1)].mean() < 0.5 or lowest.mean() > 0.9:
        return np.zeros(shape, bool)
    solid = ndimage.binary_opening(lowest, np.ones((1, 3, 3), bool))
    return np.asarray(solid & ndimage.binary_propagation(_border(shape) & solid, mask=solid))


def _border(shape: tuple[int, ...]) -> np.ndarray:
    border = np.zeros(shape, bool)
    border[:, (0, -1)] = border[:, :, (0, -1)] = True
    return border


def refine(volume: Volume, grid: Grid, surely: np.ndarray, maybe: np.ndarray, threshold: float) -> np.ndarray:
    """Transfer a labelled mask to the scan's voxels.

    `surely`: labels of working voxels that are entirely lung. `maybe`: labels of working voxels whose scan voxels
    are lung where they are darker than `threshold` HU. Returns uint8 on the scan's own grid.
    """
    result = np.zeros(volume.data.shape, np.uint8)
    data, result_view = canonical(volume.data, volume.affine), canonical(result, volume.affine)
    box = bounding_box(maybe)
    fine = tuple(
        np.arange(part.start * factor, min(part.stop * factor, size))
        for part, factor, size in zip(box, grid.factors, data.shape, strict=True)
    )
    coarse = [index // factor for index, factor in zip(fine, grid.factors, strict=True)]
    window = (slice(fine[1][0], fine[1][-1] + 1), slice(fine[2][0], fine[2][-1] + 1))
    for z, block in zip(fine[0], coarse[0], strict=True):
        certain, possible = (mask[block][coarse[1]][:, coarse[2]] for mask in (surely, maybe))
        result_view[z][window] = np.where(data[z][window] < threshold, np.maximum(certain, possible), certain)
    return result


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Return the box around all true voxels, grown by up to `margin` voxels; the whole grid for an empty mask."""
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(tuple(other_axis for other_axis in range(mask.ndim) if other_axis != axis)))
        box.append(slice(max(0, occupied[0] - margin), occupied[-1] + 1 + margin) if len(occupied) else slice(None))
    return tuple(box)
