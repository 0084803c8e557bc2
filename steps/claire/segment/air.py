"""Air inside the body: body mask, airways, lungs and gas in the bowel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from claire.core.imaging.components import largest
from claire.core.imaging.volume import AIR_HU
from claire.segment.grid import TISSUE_HU, Grid

#: Fat has about −100 HU; anything darker in the chest contains air.
GROUND_GLASS_HU = -200
IN_PLANE = np.array([[[0] * 3] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0] * 3] * 3], bool)


def body_mask(grid: Grid) -> np.ndarray:
    """Return the body with everything inside it, bool; the table and blankets are left out."""
    tissue = grid.hu > TISSUE_HU
    radius = grid.voxels(4, 2)
    solid = ndimage.binary_opening(tissue, IN_PLANE, iterations=radius)
    body = largest(solid)
    return np.asarray(body | _inside(grid, ~body))


def _inside(grid: Grid, outside_body: np.ndarray) -> np.ndarray:
    """Return the parts of `outside_body` that the body encloses within a slice.

    A lung cut by the field of view also touches the border: it is recognised by its HU and by touching more body than
    border.
    """
    labels, count = ndimage.label(outside_body & ~grid.outside, IN_PLANE)
    edge = ndimage.binary_dilation(grid.outside, IN_PLANE) if grid.outside.any() else grid.outside.copy()
    edge[:, (0, -1)] = edge[:, :, (0, -1)] = True
    contact = np.bincount(labels[edge], minlength=count + 1)
    touching = np.bincount(labels[ndimage.binary_dilation(~outside_body, IN_PLANE)], minlength=count + 1)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    as_air = np.bincount(labels[grid.hu < -940], minlength=count + 1) / np.maximum(area, 1)
    cut_lung = (touching > contact) & (as_air < 0.5) & (area > grid.area(500))
    keep = (contact == 0) | cut_lung
    keep[0] = False
    return np.asarray(keep[labels])


def gas_level(grid: Grid, body: np.ndarray) -> float:
    """Return the HU below which air in the body is gas rather than lung: half-way between lung median and air."""
    inside = grid.hu[body & (grid.hu < -500) & (grid.hu > -965)]
    lung = float(np.median(inside)) if inside.size else -850.0
    return min((lung + AIR_HU) / 2, -880.0)


def gas_mask(grid: Grid, body: np.ndarray, level: float) -> np.ndarray:
    """Return the gas that soft tissue encloses, with the blur at its wall, bool: trachea, bronchi, oesophagus, bowel.

    Decided section by section: as dark as air, with soft tissue around it at a distance of a few millimetres. Bronchi
    inside the lung are surrounded by lung. A tip of lung with noise or emphysema is dark only in parts; the HU are
    blurred first because sharp kernels make thin tips of lung too dark.
    """
    blur = (0, *(grid.length(1.6) / step for step in grid.spacing_mm[1:]))
    lumen = body & (ndimage.gaussian_filter(grid.hu, blur, truncate=2) < level) & ~grid.outside
    labels, count = ndimage.label(lumen, IN_PLANE)
    gas = np.zeros(body.shape, bool)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    reach = grid.voxels(2.4, 2) + 1
    margin = 2 * reach + 1
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if area[label] < grid.area(8):
            continue
        window = (box[0], *(slice(max(0, part.start - margin), part.stop + margin) for part in box[1:]))
        core, hu = labels[window] == label, grid.hu[window]
        if np.median(hu[core]) > (level + AIR_HU) / 2:
            continue
        core = ndimage.binary_dilation(core, IN_PLANE, iterations=grid.voxels(2.4, 2), mask=core | (hu < level))
        surroundings = ndimage.binary_dilation(core, IN_PLANE, iterations=reach)
        shell = surroundings & ~ndimage.binary_erosion(surroundings, IN_PLANE)
        if (hu[shell] > -500).mean() > 0.6:
            gas[window] |= ndimage.binary_dilation(core, np.ones((1, 3, 3), bool), iterations=2) & (hu < TISSUE_HU)
    return gas


def lung_air(grid: Grid, body: np.ndarray, gas: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Return the aerated lung, bool, and the number of its components.

    Bowel is recognised by its gas, room air enclosed by the arms by its HU; both are left out.
    """
    dark = body & (grid.hu < threshold) & ~grid.outside
    labels, count = ndimage.label(dark)
    share = np.bincount(labels[gas], minlength=count + 1) / np.maximum(np.bincount(labels.ravel()), 1)
    labels, count = ndimage.label(dark & ~gas & (share < 0.15)[labels])
    if not count:
        return np.zeros(body.shape, bool), 0
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    mean = np.bincount(labels.ravel(), grid.hu.ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    large = np.flatnonzero(sizes * grid.voxel_ml > 2.5 * grid.scale**3)
    lung_like = [label for label in large if _is_lung(grid, labels == label, mean[label])]
    if not lung_like:
        return np.zeros(body.shape, bool), 0
    largest_size = max(sizes[label] for label in lung_like)
    lung_labels = [label for label in lung_like if sizes[label] > 0.04 * largest_size]
    lung = np.isin(labels, lung_labels)
    near = ndimage.binary_dilation(lung, iterations=grid.voxels(6.5, 2))
    islands = np.flatnonzero((sizes > 0) & (sizes <= 0.04 * largest_size) & (mean > -900))
    beside_gas = np.unique(labels[ndimage.binary_dilation(gas, iterations=2)])
    touched = np.setdiff1d(np.intersect1d(np.unique(labels[near]), islands), beside_gas)
    return lung | np.isin(labels, touched), len(lung_labels)


def _is_lung(grid: Grid, mask: np.ndarray, mean: float) -> bool:
    core = ndimage.binary_erosion(mask)
    level = float(np.median(grid.hu[core])) if core.sum() > 0.1 * mask.sum() else mean
    return -960 < level < -300


def ground_glass(grid: Grid, body: np.ndarray, lung: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Return `lung` with adjacent ground glass, of HU between lung and fat and several voxels thick.

    The blur at every border of the lung has these HU too, but it is thin.
    """
    grey = body & (grid.hu < GROUND_GLASS_HU) & ~excluded & ~grid.outside
    thick = ndimage.binary_opening(grey | lung, IN_PLANE, iterations=grid.voxels(2.4, 2))
    return np.asarray(ndimage.binary_propagation(lung, mask=lung | (thick & grey)))
