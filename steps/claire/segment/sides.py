"""Right and left lung: two components, or one that is split where the lungs touch."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from claire.segment.grid import Grid

RIGHT, LEFT = 1, 2
#: A component below this share of both lungs is not a second lung but a piece of the other.
SMALLEST_SHARE = 0.04


def split_sides(grid: Grid, lung: np.ndarray, midline: float) -> np.ndarray:
    """Label aerated lung as right (1) and left (2), uint8; axes [superior, anterior, right].

    Lungs that touch, mostly along the anterior junction, are separated by erosion until they come apart and by
    flooding back over the HU, so that the cut follows the septum.
    """
    core = lung
    for step in range(6):
        core = ndimage.binary_erosion(core) if step else core
        labels, count = ndimage.label(core)
        if not count:
            break
        markers = _markers(labels, count, midline, lung.sum())
        if markers is not None:
            return _flood(grid, lung, markers, step)
    return _by_midline(lung, midline)


def _markers(labels: np.ndarray, count: int, midline: float, total: int) -> np.ndarray | None:
    """Return markers of both lungs, or None while one component holds both."""
    voxel_indices = np.flatnonzero(labels)
    voxel_labels = labels.ravel()[voxel_indices]
    sizes = np.bincount(voxel_labels, minlength=count + 1)[1:]
    centre = np.bincount(voxel_labels, voxel_indices % labels.shape[2], minlength=count + 1)[1:] / sizes
    order = np.argsort(sizes)[::-1]
    first = order[0]
    opposite = [i for i in order[1:] if (centre[i] > midline) != (centre[first] > midline)]
    if not opposite or sizes[opposite[0]] < SMALLEST_SHARE * total:
        return None
    sides = np.where(centre > midline, RIGHT, LEFT)
    return np.asarray(np.concatenate([[0], sides])[labels], np.uint8)


def _flood(grid: Grid, lung: np.ndarray, markers: np.ndarray, step: int) -> np.ndarray:
    """Assign the eroded voxels to the sides; only those between the innermost markers need a watershed."""
    if step == 0:
        return markers
    columns = np.arange(lung.shape[2])
    inner_right = np.flatnonzero((markers == RIGHT).any((0, 1)))[0] - step - 1
    inner_left = np.flatnonzero((markers == LEFT).any((0, 1)))[-1] + step + 1
    outer = np.where(columns > inner_left, RIGHT, np.where(columns < inner_right, LEFT, 0))
    sides = np.asarray(outer.astype(np.uint8) * lung)
    between = slice(max(0, inner_right), inner_left + 1)
    if inner_right <= inner_left:
        smooth = ndimage.gaussian_filter(grid.hu[:, :, between], 0.7)
        seeds = markers[:, :, between].astype(np.int32)
        sides[:, :, between] = watershed(smooth, seeds, mask=lung[:, :, between])
    return sides


def _by_midline(lung: np.ndarray, midline: float) -> np.ndarray:
    """Label lungs that cannot be separated (a single lung) by the side of most of their voxels."""
    columns = np.nonzero(lung)[2]
    side = RIGHT if np.median(columns) > midline else LEFT
    return lung.astype(np.uint8) * np.uint8(side)
