"""Left and right lung of a chest CT without any weights: thresholds, components and shape.

The method is the classical one (Hu, Hoffman and Reinhardt 2001, "Automatic lung segmentation for accurate
quantitation of volumetric X-ray CT images", doi 10.1109/42.929615: threshold, gas removal, separation at the anterior
junction, smoothing), on a grid of about two millimetres, with a closing that keeps consolidations and pleural ground
glass inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from steps.core.errors import RejectedScan
from steps.core.lungs.air import body_mask, gas_level, gas_mask, ground_glass, lung_air
from steps.core.lungs.grid import Grid, from_canonical, refine, working_grid
from steps.core.lungs.shape import complete
from steps.core.lungs.sides import LEFT, RIGHT, split_sides
from steps.core.volume import Volume

__all__ = ["LEFT", "RIGHT", "segment_lungs"]

#: Lung and bowel hold together at the lower threshold; the outline follows the higher one.
LUNG_HU, EDGE_HU = -400, -350
#: The lungs of a newborn hold about 80 ml.
SMALLEST_ML = 40.0


def segment_lungs(volume: Volume) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the lung mask of a scan, uint8 on its grid (0 none, 1 right, 2 left of the patient), and its QC facts.

    Raises RejectedScan: `not_chest` where there is no body, `no_lungs` where nothing in it looks like lung.
    """
    grid = working_grid(volume)
    body = body_mask(grid)
    if body.mean() < 0.02:
        raise RejectedScan("not_chest", "no body in the scan")
    level = gas_level(grid, body)
    gas = gas_mask(grid, body, level)
    air, components = lung_air(grid, body, gas, LUNG_HU)
    if not air.any():
        raise RejectedScan("no_lungs", "no air like lung inside the body")
    midline = 2 * float(np.median(np.nonzero(body[air.any((1, 2))][::2, ::2, ::2])[2]))
    air = ground_glass(grid, body, air, gas)
    aerated = split_sides(grid, air, midline)
    surely, maybe = _whole_lungs(grid, aerated, gas, midline)
    mask = refine(volume, grid, surely, maybe, EDGE_HU)
    millilitres = _millilitres(mask, volume)
    if sum(millilitres) < SMALLEST_ML:
        raise RejectedScan("no_lungs", f"{sum(millilitres):.0f} ml of lung")
    facts = {
        "right_ml": round(millilitres[0], 1),
        "left_ml": round(millilitres[1], 1),
        "components": components,
        "cut_at_border": _cut_at_border(grid, surely > 0),
        "mean_hu": round(float(volume.data[mask > 0].mean()), 1),
        "closed_fraction": round(float(((surely > 0) & ~air).sum() / max(1, (surely > 0).sum())), 4),
    }
    return mask, {**facts, "warnings": _warnings(facts)}


def _millilitres(mask: np.ndarray, volume: Volume) -> tuple[float, float]:
    voxel_ml = float(abs(np.linalg.det(volume.affine[:3, :3]))) / 1000
    return tuple(int(np.count_nonzero(mask == side)) * voxel_ml for side in (RIGHT, LEFT))  # type: ignore[return-value]


def _cut_at_border(grid: Grid, lungs: np.ndarray) -> bool:
    """Return whether the first or last slice or the edge of the field of view cuts through lung."""
    ends = max(lungs[0].sum(), lungs[-1].sum()) > grid.area(300)
    edge = ndimage.binary_dilation(grid.outside, iterations=2) if grid.outside.any() else grid.outside.copy()
    edge[:, (0, -1)] = edge[:, :, (0, -1)] = True
    return bool(ends or (lungs & edge).sum() * grid.voxel_ml > 1)


def _warnings(facts: dict[str, Any]) -> list[str]:
    """Return what somebody should look at, as words."""
    smaller, larger = sorted((facts["right_ml"], facts["left_ml"]))
    found = {
        "one_lung": smaller < 0.1 * larger,
        "small_lungs": smaller + larger < 800,
        "cut_at_border": facts["cut_at_border"],
        "much_closed": facts["closed_fraction"] > 0.3,
    }
    return [name for name, holds in found.items() if holds]


def _whole_lungs(grid: Grid, aerated: np.ndarray, gas: np.ndarray, midline: float) -> tuple[np.ndarray, np.ndarray]:
    surely, maybe = np.zeros_like(aerated), np.zeros_like(aerated)
    for side in (RIGHT, LEFT):
        lung = aerated == side
        if not lung.any():
            continue
        whole = complete(grid, lung, midline) & ~gas & (surely == 0)
        inner = ndimage.binary_erosion(whole, border_value=1) | (whole & ~lung)
        surely[inner & (aerated != 3 - side)] = side
        maybe[ndimage.binary_dilation(whole) & ~gas & (maybe == 0)] = side
    return surely, maybe
