"""Shapes on a grid in mm: signed distances, partial volume, smooth random fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A point in mm, (x, y, z).
Point = tuple[float, float, float]
#: A box of voxels: slices of the three axes of a volume.
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm, LPS, float32: `x` (1, 1, columns), `y` (1, rows, 1), `z` (slices, 1, 1) growing upwards."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    pixel: float
    spacing: float
    thickness: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        return self.z.size, self.y.size, self.x.size

    @property
    def affine(self) -> np.ndarray:
        """4×4, (column, row, slice, 1) → RAS mm."""
        affine = np.diag([-self.pixel, -self.pixel, self.spacing, 1.0])
        affine[:3, 3] = [-float(self.x.flat[0]), -float(self.y.flat[0]), float(self.z.flat[0])]
        return affine

    def positions_mm(self, voxels: np.ndarray) -> np.ndarray:
        """Return the (z, y, x) in mm of voxels (slice, row, column), both (n, 3)."""
        return np.stack([axis.reshape(-1)[voxels[:, i]] for i, axis in enumerate((self.z, self.y, self.x))], 1)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return self.pixel**2 * self.spacing / 1000


def paint(target: np.ndarray, occupancy: np.ndarray, hu: float) -> None:
    """Blend `hu` into `target` in place, by the share of each voxel that it fills."""
    target += occupancy * (np.float32(hu) - target)


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """Return the share of a voxel that lies inside, float32, from the distance in mm (positive inside)."""
    return np.clip(distance / width + 0.5, 0, 1).astype(np.float32)


def ellipse(x: np.ndarray, y: np.ndarray, a: np.ndarray | float, b: np.ndarray | float, power: float = 2) -> np.ndarray:
    """Return the approximate distance in mm from a superellipse, positive inside."""
    radius: np.ndarray = (np.abs(x / a) ** power + np.abs(y / b) ** power) ** (1 / power)
    return (1 - radius) * ((a + b) / 2)


def waves(grid: Grid, rng: np.random.Generator, wavelength: float, count: int) -> np.ndarray:
    """Return a smooth random field of about unit variance: a few plane waves, so that it is the same on every grid."""
    direction = rng.normal(size=(count, 3))
    k = direction / np.linalg.norm(direction, axis=1, keepdims=True) * (2 * np.pi / wavelength)
    k = (k * rng.uniform(0.6, 1.4, (count, 1))).astype(np.float32)[:, :, None]
    flat = (k[:, :1] * grid.x.reshape(1, 1, -1) + k[:, 1:2] * grid.y.reshape(1, -1, 1)).reshape(count, -1)
    upright = k[:, 2] * grid.z.reshape(1, -1) + rng.uniform(0, 2 * np.pi, (count, 1)).astype(np.float32)
    plane, column = np.concatenate([np.sin(flat), np.cos(flat)]), np.concatenate([np.cos(upright), np.sin(upright)])
    field: np.ndarray = (column.T @ plane).reshape(grid.shape)
    return field * np.float32(np.sqrt(2 / count))


def tube(field: np.ndarray, grid: Grid, start: Point, end: Point, radius: float) -> None:
    """Raise `field` to the distance in mm from a straight tube, positive inside, near the tube."""
    box = bounding_box(grid, start, end, radius + 16)
    if box is None:
        return
    distance = radius - axis_distance(grid, box, start, end)[0]
    np.maximum(field[box], distance, out=field[box])


def bounding_box(grid: Grid, start: Point, end: Point, margin: float) -> Box | None:
    """Return the voxels within `margin` mm of the box around a segment, None where the grid has none."""
    spans: list[slice] = []
    for axis, i in ((grid.z, 2), (grid.y, 1), (grid.x, 0)):
        values = axis.reshape(-1)
        low, high = min(start[i], end[i]) - margin, max(start[i], end[i]) + margin
        first, last = int(np.searchsorted(values, low)), int(np.searchsorted(values, high))
        if first >= last:
            return None
        spans.append(slice(first, last))
    return spans[0], spans[1], spans[2]


def axis_distance(grid: Grid, box: Box, start: Point, end: Point, slab: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (distance from the segment, share along it); `slab` mm along z count as no distance (slice thickness)."""
    p = [grid.x[:, :, box[2]] - start[0], grid.y[:, box[1]] - start[1], grid.z[box[0]] - start[2]]
    d = np.subtract(end, start).astype(np.float32)
    along = np.clip((p[0] * d[0] + p[1] * d[1] + p[2] * d[2]) / max(float(d @ d), 1e-6), 0, 1)
    offset = [p[i] - along * d[i] for i in range(3)]
    rise = np.maximum(np.abs(offset[2]) - slab / 2, 0) if slab else offset[2]
    return np.sqrt(offset[0] ** 2 + offset[1] ** 2 + rise**2), along
