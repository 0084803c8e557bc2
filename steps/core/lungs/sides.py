"""Which lung is the right one: two components, or one that is cut where the lungs touch."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from steps.core.lungs.grid import Grid

RIGHT, LEFT = 1, 2
#: A lung this much smaller than both together is no second lung but a piece of the other.
SMALLEST_SHARE = 0.04


def split_sides(grid: Grid, lung: np.ndarray, midline: float) -> np.ndarray:
    """Label aerated lung as right (1) and left (2), uint8; axes [superior, anterior, right].

    Lungs that touch, mostly along the anterior junction, are parted by eroding them until they come apart and by
    flooding back from there over the HU, so that the cut follows the septum.
    """
    for step in range(6):
        core = ndimage.binary_erosion(lung, iterations=step) if step else lung
        labels, count = ndimage.label(core)
        if not count:
            break
        markers = _markers(labels, count, midline, lung.sum())
        if markers is not None:
            return _flood(grid, lung, markers, step)
    return _by_midline(lung, midline)


def _markers(labels: np.ndarray, count: int, midline: float, total: int) -> np.ndarray | None:
    """Return markers of both lungs, or None while one component holds both."""
    places = np.flatnonzero(labels)
    names = labels.ravel()[places]
    size = np.bincount(names, minlength=count + 1)[1:]
    centre = np.bincount(names, places % labels.shape[2], minlength=count + 1)[1:] / size
    order = np.argsort(size)[::-1]
    first = order[0]
    opposite = [i for i in order[1:] if (centre[i] > midline) != (centre[first] > midline)]
    if not opposite or size[opposite[0]] < SMALLEST_SHARE * total:
        return None
    sides = np.where(centre > midline, RIGHT, LEFT)
    return np.concatenate([[0], sides]).astype(np.uint8)[labels]


def _flood(grid: Grid, lung: np.ndarray, markers: np.ndarray, step: int) -> np.ndarray:
    if step == 0:
        return markers
    from skimage.segmentation import watershed

    smooth = ndimage.gaussian_filter(grid.hu, 0.7)
    return watershed(smooth, markers.astype(np.int32), mask=lung).astype(np.uint8)


def _by_midline(lung: np.ndarray, midline: float) -> np.ndarray:
    """Label what cannot be parted: one lung alone, by the side that most of it lies on."""
    columns = np.nonzero(lung)[2]
    side = RIGHT if np.median(columns) > midline else LEFT
    return lung.astype(np.uint8) * np.uint8(side)
