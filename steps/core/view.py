"""What a network sees of a scan: slices picked, view cut, resized, windowed — when read, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from steps.core.cohort import Cohort, Scan
from steps.core.variant import Variant, Window

AIR_HU = -1000


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
        """Volume of one voxel of this grid in ml; it stands for all of the scan between its slices."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def image(self, variant: Variant, hu: np.ndarray | None = None) -> np.ndarray:
        """Return the network's input, float32 in 0…1, of this view's HU or of `hu` in its place (an intervention)."""
        values = self.hu if hu is None else hu
        if variant.view == "lungs":
            values = np.where(self.lungs > 0, values, AIR_HU)
        return normalise(values, variant)


def normalise(hu: np.ndarray, variant: Variant) -> np.ndarray:
    """Map HU (slices, rows, columns) to 0…1 by the variant's window; `normalisation: slice` then stretches each slice."""
    image = apply_window(hu, variant.window)
    if variant.normalisation == "slice":
        low = image.min((1, 2), keepdims=True)
        image = (image - low) / np.maximum(image.max((1, 2), keepdims=True) - low, 1e-6)
    return image


def apply_window(hu: np.ndarray, window: Window) -> np.ndarray:
    """Map HU to 0…1, float32, clipped."""
    low = window.centre - window.width / 2
    return np.clip((hu.astype(np.float32) - low) / window.width, 0, 1)


def pick_slices(count: int, wanted: int) -> np.ndarray:
    """Return `wanted` indices spread evenly over `count` slices, repeating where there are too few."""
    return np.minimum((np.arange(wanted) + 0.5) * count / wanted, count - 1).astype(int)


def lung_box(lungs: np.ndarray, margin: int = 4) -> tuple[int, int, int, int]:
    """Return (row0, row1, column0, column1) of the square box around all lung of a scan, with a margin."""
    rows, columns = np.flatnonzero(lungs.any((0, 2))), np.flatnonzero(lungs.any((0, 1)))
    if not len(rows):
        return 0, lungs.shape[1], 0, lungs.shape[2]
    side = min(max(np.ptp(rows), np.ptp(columns)) + 1 + 2 * margin, *lungs.shape[1:])
    row = int(np.clip((rows[0] + rows[-1] + 1 - side) // 2, 0, lungs.shape[1] - side))
    column = int(np.clip((columns[0] + columns[-1] + 1 - side) // 2, 0, lungs.shape[2] - side))
    return row, row + int(side), column, column + int(side)


def make_view(cohort: Cohort, scan: Scan, variant: Variant) -> View:
    """Return a scan on the grid of the variant's input: deterministic, before any augmentation.

    2D: `variant.slices` kept slices, as they are. 3D: the volume resampled linearly to `variant.slices` slices.
    """
    hu, lungs = cohort.voxels(scan)
    row0, row1, column0, column1 = lung_box(lungs) if variant.view == "box" else (0, hu.shape[1], 0, hu.shape[2])
    rows = pick_slices(scan.count, variant.slices)
    zoom = (variant.size / (row1 - row0), variant.size / (column1 - column0))
    if variant.dimensions == "2D":
        cut, mask = hu[rows, row0:row1, column0:column1], lungs[rows, row0:row1, column0:column1]
        image, labels = _resize(cut, zoom), _resize_labels(mask, zoom)
    else:
        cut, mask = hu[:, row0:row1, column0:column1], lungs[:, row0:row1, column0:column1]
        image, labels = _resample_depth(_resize(cut, zoom), variant.slices), _resize_labels(mask[rows], zoom)
    return View(image, labels, rows, _view_affine(scan, rows, (row0, column0), zoom, variant.slices))


def _resize(hu: np.ndarray, zoom: tuple[float, float]) -> np.ndarray:
    """Resize in plane with anti-aliasing by an area-like prefilter: (n, r, c) → (n, size, size) float32."""
    image = hu.astype(np.float32)
    sigma = [max(0.0, (1 / factor - 1) / 2) for factor in zoom]
    if any(sigma):
        image = ndimage.gaussian_filter(image, (0, *sigma), truncate=2)
    return image if zoom == (1, 1) else ndimage.zoom(image, (1, *zoom), order=1, mode="nearest", grid_mode=True)


def _resize_labels(mask: np.ndarray, zoom: tuple[float, float]) -> np.ndarray:
    size = [round(n * factor) for n, factor in zip(mask.shape[1:], zoom, strict=True)]
    index = [((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(size, mask.shape[1:], strict=True)]
    return np.ascontiguousarray(mask[:, index[0]][:, :, index[1]])


def _resample_depth(image: np.ndarray, depth: int) -> np.ndarray:
    if image.shape[0] == depth:
        return image
    place = np.clip((np.arange(depth) + 0.5) * image.shape[0] / depth - 0.5, 0, image.shape[0] - 1)
    below = np.minimum(place.astype(int), max(image.shape[0] - 2, 0))
    above, part = np.minimum(below + 1, image.shape[0] - 1), (place - below).astype(np.float32)[:, None, None]
    return image[below] * (1 - part) + image[above] * part


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
