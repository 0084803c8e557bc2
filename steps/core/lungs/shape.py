"""The shape of a lung: holes, vessels and consolidations belong to it though they are not dark."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from steps.core.lungs.air import IN_PLANE
from steps.core.lungs.grid import Grid

BINS = 180
BONE_HU = 180


def close_ball(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Close a mask with a ball, by two distance transforms; the border of the volume does not erode it."""
    pad = [int(np.ceil(radius_mm / step)) + 1 for step in spacing_mm]
    wide = np.pad(mask, [(n, n) for n in pad])
    grown = ndimage.distance_transform_edt(~wide, spacing_mm) <= radius_mm
    closed = ndimage.distance_transform_edt(grown, spacing_mm) > radius_mm
    return mask | closed[tuple(slice(n, -n) for n in pad)]


def complete(grid: Grid, lung: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Return one lung with its vessels, fissures and consolidations.

    A small ball closes vessels and the hilum; holes are filled in 3D (in 2D the dome of the diaphragm is a hole);
    towards the ribs, where the lung is convex, its convex outline bridges consolidations that touch the pleura.
    """
    box = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in ndimage.find_objects(lung.astype(np.uint8))[0])
    part = lung[box]
    part = ndimage.binary_fill_holes(close_ball(part, grid.length(7), grid.spacing_mm))
    part = part | costal_fill(grid, part, grid.hu[box], (centre[0] - box[1].start, centre[1] - box[2].start))
    part = fill_small(ndimage.binary_fill_holes(part), grid.area(200))
    whole = lung.copy()
    whole[box] |= part
    return whole


def fill_small(mask: np.ndarray, largest: float) -> np.ndarray:
    """Fill the holes of each transverse section up to `largest` voxels; the dome of the diaphragm is larger."""
    labels, count = ndimage.label(~mask, IN_PLANE)
    small = np.bincount(labels.ravel(), minlength=count + 1) <= largest
    edge = np.concatenate([labels[:, (0, -1)].ravel(), labels[:, :, (0, -1)].ravel()])
    small[edge] = False
    return mask | small[labels]


def costal_fill(grid: Grid, lung: np.ndarray, hu: np.ndarray, origin: tuple[float, float]) -> np.ndarray:
    """Return what lies between a lung and its convex outline on the side of the ribs, slice by slice.

    `origin`: (row, column) of the body's centre, around which the lungs lie: outward is away from it. Beside the spine and behind the sternum the outline is left alone, and bone is never filled.
    """
    added = np.zeros(lung.shape, bool)
    grid_rows, grid_columns = np.indices(lung.shape[1:])
    radius = np.hypot(grid_rows - origin[0], grid_columns - origin[1])
    angle = np.arctan2(grid_rows - origin[0], grid_columns - origin[1])
    bins = ((angle + np.pi) / (2 * np.pi) * BINS).astype(int) % BINS
    for z in range(len(lung)):
        if lung[z].sum() > 8:
            outer = np.zeros(BINS)
            np.maximum.at(outer, bins[lung[z]], radius[lung[z]])
            added[z] = _outline(lung[z]) & (outer[bins] > 0) & (radius > outer[bins])
    costal = np.abs(np.arange(lung.shape[2]) - origin[1]) > grid.length(40) / grid.spacing_mm[2]
    return added & ~lung & costal & (hu < BONE_HU)


def _outline(section: np.ndarray) -> np.ndarray:
    """Return the convex hull of a section of a lung."""
    from scipy.spatial import ConvexHull, QhullError
    from skimage.draw import polygon

    points = np.argwhere(section ^ ndimage.binary_erosion(section))
    hull = np.zeros(section.shape, bool)
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return hull
    hull[polygon(corners[:, 0], corners[:, 1], section.shape)] = True
    return hull
