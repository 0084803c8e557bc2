"""Geometry of a stack of slices: sorted, checked, with its affine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from claire.core.command.errors import RejectedScan
from claire.core.imaging.volume import PADDING_HU
from claire.core.sources.dicom import Plane

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_SAME_DIRECTION = 1e-3
_SAME_SPACING_MM = 1e-3
_AXIAL_DEGREES = 45.0
_TILT_DEGREES = 0.5
_STRAIGHT_PIXELS = 0.5


@dataclass(frozen=True)
class Stack:
    """Evenly spaced parallel slices, sorted along their normal.

    `order`: index of each sorted slice among the planes given; `positions`: (slices, 3) LPS mm of each slice's first
    voxel; `row`, `column`: unit vectors in which the column index and the row index grow; `spacing`: (between rows,
    between columns) mm; `step`: vector from slice to slice, mm.
    """

    order: np.ndarray
    positions: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    step: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        """Unit vector along which the slices are sorted."""
        return np.cross(self.row, self.column)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing along (slice, row, column) in mm."""
        return float(np.linalg.norm(self.step)), self.spacing[0], self.spacing[1]

    @property
    def tilt_degrees(self) -> float:
        """Angle between the step from slice to slice and the slices' normal: the tilt of the gantry."""
        along = float(self.step @ self.normal)
        return float(np.degrees(np.arctan2(np.linalg.norm(self.step - along * self.normal), along)))

    @property
    def tilted(self) -> bool:
        """Whether the tilt is more than rounding."""
        return self.tilt_degrees > _TILT_DEGREES

    @property
    def affine(self) -> np.ndarray:
        """4×4: (column, row, slice, 1) → RAS mm."""
        matrix = np.eye(4)
        matrix[:3, 0] = _LPS_TO_RAS @ self.row * self.spacing[1]
        matrix[:3, 1] = _LPS_TO_RAS @ self.column * self.spacing[0]
        matrix[:3, 2] = _LPS_TO_RAS @ self.step
        matrix[:3, 3] = _LPS_TO_RAS @ self.positions[0]
        return matrix


def make_stack(planes: Sequence[Plane], thickness: float | None = None) -> Stack:
    """Sort planes by position along their normal and check that they form one even stack.

    `thickness` in mm is the step if there is a single slice (1 mm without it).

    Raises RejectedScan: `inconsistent` (no geometry, spacings differ, uneven, not axial, not aligned),
    `mixed_orientation`, `coincident_slices`, `missing_slices`. A gantry tilt is not an error here.
    """
    if any(None in (plane.position, plane.orientation, plane.spacing) for plane in planes):
        raise RejectedScan("inconsistent", "position, orientation or pixel spacing is missing")
    row, column = _directions(planes)
    spacing = np.array([plane.spacing for plane in planes])
    if spacing.min() <= 0 or np.ptp(spacing, axis=0).max() > _SAME_SPACING_MM:
        raise RejectedScan("inconsistent", "pixel spacing differs between slices or is not positive")
    positions = np.array([plane.position for plane in planes], dtype=float)
    height = positions @ np.cross(row, column)
    order = np.argsort(height, kind="stable")
    _check_steps(height[order])
    positions = positions[order]
    step = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else None
    if step is None:
        step = np.cross(row, column) * (thickness if thickness and thickness > 0 else 1.0)
    stack = Stack(order, positions, row, column, (float(spacing[0, 0]), float(spacing[0, 1])), step)
    _check_alignment(stack)
    return stack


def _directions(planes: Sequence[Plane]) -> tuple[np.ndarray, np.ndarray]:
    """Return the common row and column direction as unit vectors."""
    directions = np.array([plane.orientation for plane in planes], dtype=float).reshape(-1, 2, 3)
    length = np.linalg.norm(directions, axis=2, keepdims=True)
    if np.abs(length - 1).max() > 0.05:
        raise RejectedScan("inconsistent", "the orientation is not a pair of unit vectors")
    row, column = (directions / length)[0]
    if np.abs(directions - directions[0]).max() > _SAME_DIRECTION * 10:
        raise RejectedScan("mixed_orientation", "slices of one series point in different directions")
    if abs(row @ column) > _SAME_DIRECTION * 10:
        raise RejectedScan("inconsistent", "rows and columns are not perpendicular")
    column = column - (row @ column) * row
    column /= np.linalg.norm(column)
    angle = float(np.degrees(np.arccos(min(1.0, abs(float(np.cross(row, column)[2]))))))
    if angle > _AXIAL_DEGREES:
        raise RejectedScan("inconsistent", f"slices are not axial ({angle:.0f} degrees off)")
    return row, column


def _check_steps(height: np.ndarray) -> None:
    steps = np.diff(height)
    if not len(steps):
        return
    usual = float(np.median(steps))
    close = int((steps < max(0.1 * usual, 0.01)).sum())
    if close:
        raise RejectedScan("coincident_slices", f"{close} of {len(height)} slices coincide with another one")
    ratio = steps / usual
    wide = ratio > 1.5
    whole = np.abs(ratio - np.round(ratio)) < 0.2
    if wide.any() and whole[wide].all():
        gap = int(np.round(ratio[wide] - 1).sum())
        raise RejectedScan("missing_slices", f"{gap} missing in {int(wide.sum())} gaps between {len(height)} slices")
    if np.abs(ratio - 1).max() > 0.2:
        raise RejectedScan("inconsistent", f"uneven distances, {steps.min():.2f} to {steps.max():.2f} mm")


def _check_alignment(stack: Stack) -> None:
    """Reject slices that are shifted in plane, except by a constant tilt."""
    index = np.arange(len(stack.positions))[:, None]
    deviation = stack.positions - stack.positions[0] - index * stack.step
    deviation = deviation - (deviation @ stack.normal)[:, None] * stack.normal
    if np.linalg.norm(deviation, axis=1).max() > max(_STRAIGHT_PIXELS * min(stack.spacing), 0.5):
        raise RejectedScan("inconsistent", "slices are shifted against each other in plane")


def straighten(data: np.ndarray, stack: Stack) -> tuple[np.ndarray, Stack]:
    """Undo a gantry tilt: shift each slice in plane so that the stack rises along its normal.

    `data` (slices, rows, columns) int16; the result has more rows or columns, so that nothing is cut off, filled with
    air. Linear interpolation in plane, none across slices.
    """
    offset = (stack.positions - stack.positions[0]) @ np.stack([stack.column, stack.row], axis=1) / stack.spacing
    first = np.floor(offset.min(axis=0))
    shape = np.array(data.shape[1:]) + np.ceil(offset.max(axis=0)).astype(int) - first.astype(int)
    straight = np.empty((len(data), *shape), data.dtype)
    for target, source, shift in zip(straight, data, offset - first, strict=True):
        framed = np.full(shape, PADDING_HU, np.float32)
        framed[: data.shape[1], : data.shape[2]] = source
        target[:] = np.rint(ndimage.shift(framed, shift, order=1, cval=PADDING_HU))
    along = float(stack.step @ stack.normal) * stack.normal
    corner = stack.positions[0] + first[0] * stack.spacing[0] * stack.column + first[1] * stack.spacing[1] * stack.row
    positions = corner + np.arange(len(data))[:, None] * along
    return straight, replace(stack, positions=positions, step=along)
