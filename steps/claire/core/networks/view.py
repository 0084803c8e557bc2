"""A network's view of a scan: slices are picked, cropped and resized in memory whenever it is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant, Window
from claire.core.imaging.affine import spacing_mm, voxel_ml
from claire.core.imaging.volume import AIR_HU


@dataclass(frozen=True)
class View:
    """A scan on the grid of a network's input.

    `hu`: (slices, size, size) float32 HU; `lungs`: the same shape, uint8 0/1/2; `rows`: index of each slice among the
    scan's kept slices; `affine`: (column, row, slice, 1) of this grid → RAS mm.
    """

    hu: np.ndarray
    lungs: np.ndarray
    rows: np.ndarray
    affine: np.ndarray

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel of this grid in ml; it includes the space between its slices."""
        return voxel_ml(self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of this grid along (slice, row, column) in mm."""
        return spacing_mm(self.affine)


def apply_window(hu: np.ndarray, window: Window) -> np.ndarray:
    """Map HU to 0…1, float32, clipped."""
    low = window.centre - window.width / 2
    image: np.ndarray = np.clip((hu.astype(np.float32) - low) / window.width, 0, 1)
    return image


def pick_slices(count: int, picked: int) -> np.ndarray:
    """Return `picked` indices spread evenly over `count` slices, repeated if there are too few."""
    return np.minimum((np.arange(picked) + 0.5) * count / picked, count - 1).astype(int)


def lung_box(lungs: np.ndarray, margin: int = 4) -> tuple[int, int, int, int]:
    """Return (row0, row1, column0, column1) of the square box around all lung of a scan, with a margin."""
    shadow = np.bitwise_or.reduce(lungs, axis=0)
    rows, columns = np.flatnonzero(shadow.any(1)), np.flatnonzero(shadow.any(0))
    if not len(rows):
        return 0, lungs.shape[1], 0, lungs.shape[2]
    side = min(max(np.ptp(rows), np.ptp(columns)) + 1 + 2 * margin, *lungs.shape[1:])
    row = int(np.clip((rows[0] + rows[-1] + 1 - side) // 2, 0, lungs.shape[1] - side))
    column = int(np.clip((columns[0] + columns[-1] + 1 - side) // 2, 0, lungs.shape[2] - side))
    return row, row + int(side), column, column + int(side)


def make_view(cohort: Cohort, scan: Scan, variant: Variant) -> View:
    """Return a scan on the grid of the variant's input: deterministic, without augmentation; HU are integers.

    2D: `variant.slices` kept slices, as they are. 3D: the volume resampled to `variant.slices` slices. Resampling is
    linear with anti-aliasing (a triangle as wide as an output pixel), masks use the nearest voxel.
    """
    hu, lungs = cohort.voxels(scan)
    row0, row1, column0, column1 = lung_box(lungs) if variant.view == "box" else (0, hu.shape[1], 0, hu.shape[2])
    rows = pick_slices(scan.count, variant.slices)
    zoom = (variant.size / (row1 - row0), variant.size / (column1 - column0))
    cut = hu[rows if variant.dimensions == "2D" else slice(None), row0:row1, column0:column1].astype(np.float32)
    if variant.dimensions == "3D" and scan.count != variant.slices:
        cut = np.tensordot(triangles(scan.count, variant.slices), cut, 1)
    image = triangles(row1 - row0, variant.size) @ cut @ triangles(column1 - column0, variant.size).T
    mask = lungs[rows, row0:row1, column0:column1]
    affine = _view_affine(scan, rows, (row0, column0), zoom, variant.slices)
    return View(np.rint(image), _resize_labels(mask, variant.size), rows, affine)


@lru_cache(maxsize=64)
def triangles(old: int, new: int) -> np.ndarray:
    """Return the (new, old) float32 matrix that resamples `old` pixels to `new`, linear, anti-aliased.

    The weights of an output pixel form a triangle around its centre, as wide as the larger of the two pixels.
    """
    width = max(old / new, 1.0)
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    weights: np.ndarray = np.maximum(0, 1 - np.abs(np.arange(old) - centre[:, None]) / width)
    normalised: np.ndarray = weights / weights.sum(1, keepdims=True)
    return normalised.astype(np.float32)


def _resize_labels(mask: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (((np.arange(size) + 0.5) * old / size).astype(int) for old in mask.shape[1:])
    return np.ascontiguousarray(mask[:, rows][:, :, columns])


def _view_affine(
    scan: Scan, rows: np.ndarray, corner: tuple[int, int], zoom: tuple[float, float], depth: int
) -> np.ndarray:
    step = scan.count / depth
    grid = np.diag([1 / zoom[1], 1 / zoom[0], step, 1.0])
    grid[:3, 3] = [
        corner[1] + 0.5 / zoom[1] - 0.5,
        corner[0] + 0.5 / zoom[0] - 0.5,
        step / 2 - 0.5 if depth > 1 else float(rows[0]),
    ]
    return scan.affine @ grid


def cut_hu(cohort: Cohort, scan: Scan, variant: Variant) -> np.ndarray:
    """Return a scan's view as (slices, size, size) int16 HU; for `view: lungs` air outside the lungs."""
    view = make_view(cohort, scan, variant)
    hu = np.where(view.lungs > 0, view.hu, AIR_HU) if variant.view == "lungs" else view.hu
    return hu.astype(np.int16)
