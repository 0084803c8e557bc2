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


@dataclass(frozen=True)
class Projection:
    """How the prepared grid of a scan becomes the grid of a network's input; linear in HU.

    2D: `slices` kept slices, as they are. 3D: the volume resampled to `slices` slices. Resampling is linear with
    anti-aliasing (a triangle as wide as an output pixel), masks use the nearest voxel. `shape`: (slices, rows, columns)
    of the prepared grid; `box`: (row0, row1, column0, column1) of it that the network sees; `rows`: index of each
    slice of the view among the kept slices.
    """

    shape: tuple[int, int, int]
    box: tuple[int, int, int, int]
    rows: np.ndarray
    size: int
    volume: bool

    @classmethod
    def of(cls, lungs: np.ndarray, variant: Variant) -> Projection:
        """Return the projection of a scan with these prepared lungs (slices, rows, columns)."""
        shape = (lungs.shape[0], lungs.shape[1], lungs.shape[2])
        box = lung_box(lungs) if variant.view == "box" else (0, shape[1], 0, shape[2])
        return cls(shape, box, pick_slices(shape[0], variant.slices), variant.size, variant.dimensions == "3D")

    def apply(self, hu: np.ndarray) -> np.ndarray:
        """Return prepared values (slices, rows, columns) on the view's grid, float32; not rounded."""
        row0, row1, column0, column1 = self.box
        cut = hu[slice(None) if self.volume else self.rows, row0:row1, column0:column1].astype(np.float32)
        if self.volume and len(cut) != len(self.rows):
            cut = np.tensordot(triangles(len(cut), len(self.rows)), cut, 1)
        seen: np.ndarray = triangles(row1 - row0, self.size) @ cut @ triangles(column1 - column0, self.size).T
        return seen

    def labels(self, mask: np.ndarray) -> np.ndarray:
        """Return a prepared mask or label map on the view's grid, by the nearest voxel."""
        row0, row1, column0, column1 = self.box
        return _resize_labels(mask[self.rows, row0:row1, column0:column1], self.size)

    def back(self, values: np.ndarray) -> np.ndarray:
        """Return values of the view's grid on the prepared grid, float32: linear in plane, 0 outside the box.

        Between the slices of the view the nearest one counts.
        """
        row0, row1, column0, column1 = self.box
        nearest = np.abs(np.arange(self.shape[0])[:, None] - self.rows[None]).argmin(1)
        fine = _linear(row1 - row0, self.size) @ values.astype(np.float32) @ _linear(column1 - column0, self.size).T
        full = np.zeros(self.shape, np.float32)
        full[:, row0:row1, column0:column1] = fine[nearest]
        return full

    def affine(self, scan: Scan) -> np.ndarray:
        """Return 4×4, (column, row, slice, 1) of the view's grid → RAS mm."""
        row0, row1, column0, column1 = self.box
        zoom = (self.size / (row1 - row0), self.size / (column1 - column0))
        return _view_affine(scan, self.rows, (row0, column0), zoom, len(self.rows))


def make_view(cohort: Cohort, scan: Scan, variant: Variant) -> View:
    """Return a scan on the grid of the variant's input: deterministic, without augmentation; HU are integers."""
    hu, lungs = cohort.voxels(scan)
    projection = Projection.of(lungs, variant)
    return View(np.rint(projection.apply(hu)), projection.labels(lungs), projection.rows, projection.affine(scan))


@lru_cache(maxsize=64)
def _linear(fine: int, coarse: int) -> np.ndarray:
    """Return the (fine, coarse) float32 matrix that interpolates `coarse` pixels at the centres of `fine` ones."""
    at = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    weights: np.ndarray = np.maximum(0, 1 - np.abs(np.arange(coarse) - at[:, None]))
    return weights.astype(np.float32)


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
