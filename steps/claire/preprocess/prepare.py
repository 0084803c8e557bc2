"""Preparation of a scan for training: lung slices are kept, cropped to the body and resized in plane; values stay HU.

Nothing is resampled along the slices. Every voxel of the result maps back to the patient by the affine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from claire.core.command.errors import RejectedScan
from claire.core.imaging.components import largest
from claire.core.imaging.volume import PADDING_HU, Volume

TISSUE_HU = -400
#: Skin, muscle and breast stay in the crop up to this far from the lungs; arms beside the body do not widen it.
WALL_MM = 80.0
MARGIN_MM = 5.0


@dataclass(frozen=True)
class Prepared:
    """The prepared grid of one scan.

    `hu`: (kept, size, size) int16. `lungs`: the same shape, uint8 0/1/2. `slices`: index of each kept slice in the
    scan. `affine`: (column, row, kept slice, 1) → RAS mm, as if the kept slices were evenly spaced. `positions_mm`:
    position of each along the slices' normal. `crop`: (row0, row1, column0, column1) of the scan's slices, which may
    reach beyond them (filled with −1024 HU).
    """

    hu: np.ndarray
    lungs: np.ndarray
    slices: np.ndarray
    affine: np.ndarray
    positions_mm: np.ndarray
    crop: tuple[int, int, int, int]


@dataclass(frozen=True)
class Filter:
    """Which slices are kept: see `lung_slices`; a scan with fewer than `min_slices` of them is set aside."""

    min_lung_box: float
    min_lung_ratio: float
    min_slices: int


def prepare(
    volume: Volume, lungs: np.ndarray, size: int, lung_filter: Filter, origins_mm: np.ndarray | None = None
) -> Prepared:
    """Filter, crop and resize the slices of a scan.

    `origins_mm` (slices, 3): true RAS position of each slice's first pixel, if known more exactly than from the
    affine. Raises RejectedScan `too_few_lung_slices`.
    """
    slices = lung_slices(lungs, lung_filter)
    if len(slices) < lung_filter.min_slices:
        detail = f"{len(slices)} of {len(lungs)} slices, at least {lung_filter.min_slices} needed"
        raise RejectedScan("too_few_lung_slices", detail)
    crop = body_crop(volume, lungs, slices)
    affine, positions = prepared_affine(volume.affine, slices, crop, size, origins_mm)
    hu = np.stack([resize_hu(volume.data[z], crop, size) for z in slices])
    mask = np.stack([resize_mask(lungs[z], crop, size) for z in slices])
    return Prepared(hu, mask, slices, affine, positions, crop)


def lung_slices(lungs: np.ndarray, lung_filter: Filter) -> np.ndarray:
    """Return the indices of slices with enough lung, by the rule of the original pipeline.

    The box around all lung of a slice must cover `min_lung_box` of it, and lung must be at least `min_lung_ratio` of
    the rest of it.
    """
    pixels = lungs[0].size
    area = np.count_nonzero(lungs, axis=(1, 2))
    box = _extent(np.any(lungs, 2)) * _extent(np.any(lungs, 1))
    enough = (
        (area > 0) & (box >= lung_filter.min_lung_box * pixels) & (area >= lung_filter.min_lung_ratio * (pixels - area))
    )
    return np.flatnonzero(enough)


def _extent(present: np.ndarray) -> np.ndarray:
    """Return the length from the first to the last true value of each row; (n, length) → (n,)."""
    length = present.shape[1]
    return np.where(present.any(1), length - present.argmax(1) - present[:, ::-1].argmax(1), 0)


def body_crop(volume: Volume, lungs: np.ndarray, slices: np.ndarray) -> tuple[int, int, int, int]:
    """Return one crop for all kept slices: the body without distant arms, square in mm, with a margin."""
    _, *steps = volume.spacing_mm
    body = _body_outline(volume.data[slices])
    inside = lungs[slices].any(0)
    bounds = []
    for axis, step in enumerate(steps):
        wall, margin = round(WALL_MM / step), max(1, round(MARGIN_MM / step))
        low, high = _span(np.any(inside, 1 - axis))
        skin_low, skin_high = _span(np.any(body, 1 - axis)) if body.any() else (0, inside.shape[axis])
        first = min(low - margin, max(low - wall, skin_low - margin))
        bounds.append((first, max(high + margin, min(high + wall, skin_high + margin))))
    side = max((high - low) * step for (low, high), step in zip(bounds, steps, strict=True))
    spans = [
        _square(low, high, round(side / step), length)
        for (low, high), step, length in zip(bounds, steps, inside.shape, strict=True)
    ]
    return (*spans[0], *spans[1])


def _body_outline(slices: np.ndarray) -> np.ndarray:
    """Return the outline of the body over the slices, (rows, columns) bool: the largest component of tissue."""
    tissue = ndimage.binary_opening((slices > TISSUE_HU).mean(0) > 0.25, iterations=3)
    return largest(tissue)


def _span(present: np.ndarray) -> tuple[int, int]:
    indices = np.flatnonzero(present)
    return int(indices[0]), int(indices[-1]) + 1


def _square(low: int, high: int, side: int, length: int) -> tuple[int, int]:
    """Return a span of `side` around low…high, shifted into 0…length as far as possible."""
    start = (low + high - side) // 2
    start = max(0, min(start, length - side)) if side <= length else (length - side) // 2
    return start, start + side


def resize_hu(image: np.ndarray, crop: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Cut `crop` out of a slice, resize it to (size, size) int16: linear, anti-aliased (Pillow's triangle filter)."""
    cut = np.clip(_cut(image, crop, PADDING_HU), PADDING_HU, None).astype(np.float32)
    scaled = Image.fromarray(cut).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(np.rint(np.asarray(scaled)), np.int16)


def resize_mask(mask: np.ndarray, crop: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Cut `crop` out of a mask and resize it to (size, size) by the nearest pixel."""
    cut = _cut(mask, crop, 0)
    rows, columns = (((np.arange(size) + 0.5) * length / size).astype(int) for length in cut.shape)
    return cut[np.ix_(rows, columns)]


def _cut(image: np.ndarray, crop: tuple[int, int, int, int], fill: int) -> np.ndarray:
    row0, row1, column0, column1 = crop
    inside = image[max(row0, 0) : row1, max(column0, 0) : column1]
    before = (max(-row0, 0), max(-column0, 0))
    after = (row1 - row0 - inside.shape[0] - before[0], column1 - column0 - inside.shape[1] - before[1])
    return np.pad(inside, tuple(zip(before, after, strict=True)), constant_values=fill)


def prepared_affine(
    affine: np.ndarray,
    slices: np.ndarray,
    crop: tuple[int, int, int, int],
    size: int,
    origins_mm: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the affine of the prepared grid and the kept slices' positions along their normal in mm.

    Pixel centres: prepared pixel j lies at (j + ½)·scale − ½ + start of the crop.
    """
    if origins_mm is None:
        origins_mm = affine[:3, 3] + np.arange(slices[-1] + 1)[:, None] * affine[:3, 2]
    kept_origins = origins_mm[slices]
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal *= np.sign(normal @ affine[:3, 2]) / np.linalg.norm(normal)
    rows, columns = (crop[1] - crop[0]) / size, (crop[3] - crop[2]) / size
    prepared = np.eye(4)
    prepared[:3, 0], prepared[:3, 1] = affine[:3, 0] * columns, affine[:3, 1] * rows
    prepared[:3, 2] = (
        (kept_origins[-1] - kept_origins[0]) / (len(kept_origins) - 1) if len(kept_origins) > 1 else affine[:3, 2]
    )
    prepared[:3, 3] = (
        kept_origins[0] + affine[:3, 0] * (crop[2] + columns / 2 - 0.5) + affine[:3, 1] * (crop[0] + rows / 2 - 0.5)
    )
    return prepared, kept_origins @ normal
