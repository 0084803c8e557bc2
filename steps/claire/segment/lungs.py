"""Left and right lung of a chest CT without any weights: thresholds, components and shape.

The method is the classical one (Hu, Hoffman and Reinhardt 2001, "Automatic lung segmentation for accurate
quantitation of volumetric X-ray CT images", doi 10.1109/42.929615: threshold, airway removal, separation at the
anterior junction, smoothing), on a grid of about two millimetres, with a closing that keeps consolidations and pleural
ground glass inside. Every length scales with the body, so that children and images whose spacing is a placeholder keep
their proportions.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from claire.core.command.errors import RejectedScan
from claire.core.contracts.masks import LungFacts
from claire.core.imaging.affine import voxel_ml
from claire.core.imaging.volume import Volume
from claire.segment.air import body_mask, gas_level, gas_mask, ground_glass, lung_air
from claire.segment.grid import Grid, bounding_box, refine, working_grid
from claire.segment.shape import complete
from claire.segment.sides import LEFT, RIGHT, split_sides

__all__ = ["LEFT", "RIGHT", "segment_lungs"]

#: Lung and bowel are found with the lower threshold; the outline follows the higher one.
LUNG_HU, EDGE_HU = -400, -350
#: The lungs of a newborn hold about 80 ml.
SMALLEST_ML = 40.0


def segment_lungs(volume: Volume) -> tuple[np.ndarray, LungFacts]:
    """Return the lung mask of a scan, uint8 on its grid (0 none, 1 right, 2 left of the patient), and its QC facts.

    Facts: right_ml, left_ml, components (pieces of aerated lung before closing), cut_at_border, mean_hu,
    closed_fraction (share of the mask that closing added), warnings. Sides and up follow from the affine, so any
    orientation of the array works; slices should lie within 45° of the patient's axes.

    Raises RejectedScan: `not_chest` if there is no body, `no_lungs` if nothing in it looks like lung.
    """
    grid = working_grid(volume)
    body = body_mask(grid)
    if body.mean() < 0.02:
        raise RejectedScan("not_chest", "no body in the scan")
    box = bounding_box(body, margin=2)
    body_grid = grid.cut(box)
    sides, gas, components = _aerated(body_grid, body[box])
    surely, maybe = np.zeros(body.shape, np.uint8), np.zeros(body.shape, np.uint8)
    surely[box], maybe[box] = _complete_sides(body_grid, sides, gas, _centre(body[box], sides))
    mask = refine(volume, grid, surely, maybe, EDGE_HU)
    right_ml, left_ml = _millilitres(volume, mask)
    if right_ml + left_ml < SMALLEST_ML:
        raise RejectedScan("no_lungs", f"{right_ml + left_ml:.0f} ml of lung")
    closed = int(np.count_nonzero(surely[box][sides == 0])) / max(1, int(np.count_nonzero(surely)))
    cut_at_border = _cut_at_border(grid, surely > 0)
    return mask, LungFacts(
        right_ml=right_ml,
        left_ml=left_ml,
        components=components,
        cut_at_border=cut_at_border,
        mean_hu=round(float(volume.data[mask > 0].mean()), 1),
        closed_fraction=round(closed, 4),
        warnings=tuple(_warnings(right_ml, left_ml, cut_at_border, closed, grid.scale)),
    )


def _millilitres(volume: Volume, mask: np.ndarray) -> tuple[float, float]:
    right, left = (round(int(np.count_nonzero(mask == side)) * voxel_ml(volume.affine), 1) for side in (RIGHT, LEFT))
    return right, left


def _aerated(grid: Grid, body: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return aerated lung with its side (uint8), other gas (bool) and the number of the lung's pieces."""
    gas = gas_mask(grid, body, gas_level(grid, body))
    air, components = lung_air(grid, body, gas, LUNG_HU)
    if not air.any():
        raise RejectedScan("no_lungs", "no lung-like air inside the body")
    air = ground_glass(grid, body, air, gas)
    return split_sides(grid, air, _centre(body, air)[1]), gas, components


def _centre(body: np.ndarray, lung: np.ndarray) -> tuple[float, float]:
    """Return (row, column) of the centre of the body at the level of the lungs; the column is the midline."""
    _, rows, columns = np.nonzero(body[lung.any((1, 2))][::2, ::2, ::2])
    return 2 * float(np.median(rows)), 2 * float(np.median(columns))


def _complete_sides(
    grid: Grid, sides: np.ndarray, gas: np.ndarray, centre: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return certain lung and voxels that are lung if dark enough (the outermost ones), labelled by side, uint8."""
    surely, maybe = np.zeros_like(sides), np.zeros_like(sides)
    for side, other_side in ((RIGHT, LEFT), (LEFT, RIGHT)):
        lung = sides == side
        if not lung.any():
            continue
        free = ~gas & (sides != other_side)
        whole = complete(grid, lung, centre) & free
        inner = ndimage.binary_erosion(whole, border_value=1) | (whole & ~lung)
        surely[inner & (surely == 0)] = side
        maybe[ndimage.binary_dilation(whole) & free & (maybe == 0)] = side
    return surely, maybe


def _cut_at_border(grid: Grid, lungs: np.ndarray) -> bool:
    """Return whether the first or last slice or the edge of the field of view cuts through lung."""
    ends = max(lungs[0].sum(), lungs[-1].sum()) > grid.area(200)
    edge = ndimage.binary_dilation(grid.outside, iterations=2) if grid.outside.any() else grid.outside.copy()
    edge[:, (0, -1)] = edge[:, :, (0, -1)] = True
    return bool(ends or (lungs & edge).sum() * grid.voxel_ml > 1)


def _warnings(right_ml: float, left_ml: float, cut_at_border: bool, closed: float, scale: float) -> list[str]:
    """Return the warnings for review, one word each."""
    smaller, larger = sorted((right_ml, left_ml))
    conditions = {
        "one_lung": smaller < 0.1 * larger,
        "small_lungs": smaller + larger < 500 * scale**3,
        "cut_at_border": cut_at_border,
        "much_closed": round(closed, 4) > 0.3,
    }
    return [name for name, holds in conditions.items() if holds]
