"""The shape of a lung: holes, vessels and consolidations belong to it although they are not dark."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import polygon

from claire.segment.air import IN_PLANE
from claire.segment.grid import Grid, bounding_box

BONE_HU = 180
#: Sectors around the body's centre, 3° each.
BINS = 120
#: A bridge over a dent of the pleura is on average at most this far from the nearest rib: half the space
#: between two ribs plus the bulge of the lung beyond the bridge.
RIB_MM = 15.0


def close_disk(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Close each transverse section with a disk, by two distance transforms, without erosion at the border."""
    pad = [0, *(int(np.ceil(radius_mm / step)) + 1 for step in spacing_mm[1:])]
    wide = np.pad(mask, [(n, n) for n in pad])
    closed = wide.copy()
    for z in np.flatnonzero(wide.any((1, 2))):
        grown = ndimage.distance_transform_edt(~wide[z], spacing_mm[1:]) <= radius_mm
        closed[z] |= ndimage.distance_transform_edt(grown, spacing_mm[1:]) > radius_mm
    return closed[:, pad[1] : -pad[1], pad[2] : -pad[2]]


def complete(grid: Grid, lung: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Return one lung with its vessels, fissures and consolidations.

    A small disk closes vessels and the hilum; holes are filled in 3D (in 2D the dome of the diaphragm is a hole);
    along the ribs, where the lung is convex, its convex outline bridges consolidations that touch the pleura.
    """
    box = bounding_box(lung, margin=grid.voxels(1.5 * RIB_MM, 2))
    part = lung[box]
    part = ndimage.binary_fill_holes(close_disk(part, grid.length(6), grid.spacing_mm))
    part = part | costal_fill(grid, part, grid.hu[box], (centre[0] - box[1].start, centre[1] - box[2].start))
    part = fill_small(ndimage.binary_fill_holes(part), grid.area(130))
    whole = lung.copy()
    whole[box] |= part
    return whole


def fill_small(mask: np.ndarray, largest: float) -> np.ndarray:
    """Fill the holes of each transverse section up to `largest` voxels; the dome of the diaphragm is larger."""
    labels, count = ndimage.label(~mask, IN_PLANE)
    small = np.bincount(labels.ravel(), minlength=count + 1) <= largest
    edge = np.concatenate([labels[:, (0, -1)].ravel(), labels[:, :, (0, -1)].ravel()])
    small[edge] = False
    return np.asarray(mask | small[labels])


def costal_fill(grid: Grid, lung: np.ndarray, hu: np.ndarray, origin: tuple[float, float]) -> np.ndarray:
    """Return the gaps between a lung and its convex outline along the ribs, section by section.

    A dent is filled where it faces away from `origin` (row, column), the body's centre, and the chord that bridges it
    runs along the ribs: dents for heart, diaphragm and hilum face inwards. Beside the spine and behind the sternum
    nothing is filled.
    """
    dents, chords = np.zeros(lung.shape, bool), np.zeros(lung.shape, bool)
    radius, bins = _polar(lung.shape[1:], origin)
    away = np.abs(np.arange(lung.shape[2]) - origin[1]) > grid.length(28) / grid.spacing_mm[2]
    for z in np.flatnonzero(lung.sum((1, 2)) > grid.area(100)):
        hull = _outline(lung[z])
        dents[z] = (
            hull
            & ~lung[z]
            & (radius > _farthest_by_sector(bins[lung[z]], radius[lung[z]])[bins])
            & (hu[z] < BONE_HU)
            & away
        )
        chords[z] = dents[z] & ~ndimage.binary_erosion(hull)
    bone = hu > BONE_HU
    if not dents.any() or not bone.any():
        return dents & False
    to_bone = ndimage.distance_transform_edt(~bone, grid.spacing_mm)
    labels, count = ndimage.label(dents, IN_PLANE)
    length = np.bincount(labels[chords], minlength=count + 1)
    distance = np.bincount(labels[chords], to_bone[chords], minlength=count + 1) / np.maximum(length, 1)
    along_ribs = (length > 0) & (distance < grid.length(RIB_MM))
    along_ribs[0] = False
    return np.asarray(along_ribs[labels])


def _polar(shape: tuple[int, ...], origin: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each pixel from `origin` and the index of its sector."""
    rows, columns = np.indices(shape)
    angle = np.arctan2(rows - origin[0], columns - origin[1])
    return np.hypot(rows - origin[0], columns - origin[1]), ((angle / (2 * np.pi) + 0.5) * BINS).astype(int) % BINS


def _farthest_by_sector(bins: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return the largest radius of a lung section per sector, interpolated for sectors without lung."""
    farthest = np.zeros(BINS)
    np.maximum.at(farthest, bins, radius)
    occupied = np.flatnonzero(farthest)
    return np.interp(np.arange(BINS), occupied, farthest[occupied], period=BINS)


def _outline(section: np.ndarray) -> np.ndarray:
    """Return the convex hull of a section of a lung."""
    points = np.argwhere(section ^ ndimage.binary_erosion(section))
    hull = np.zeros(section.shape, bool)
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return hull
    hull[polygon(corners[:, 0], corners[:, 1], section.shape)] = True
    return hull
