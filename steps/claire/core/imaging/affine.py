"""Spacing and volume from an affine: 4×4, (column, row, slice, 1) → RAS mm."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema


def _matrix(value: Any) -> np.ndarray:
    try:
        matrix = np.asarray(value, dtype=float)
    except TypeError as error:
        raise ValueError("is not a 4×4 matrix of finite numbers") from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("is not a 4×4 matrix of finite numbers")
    return matrix


_ROW = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
#: The type of an affine in a contract: an array in memory, four rows of four numbers in JSON.
Affine = Annotated[
    np.ndarray,
    PlainValidator(_matrix),
    PlainSerializer(lambda matrix: matrix.tolist()),
    WithJsonSchema({"type": "array", "items": _ROW, "minItems": 4, "maxItems": 4}),
]


def spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    """Return the spacing along (slice, row, column) in mm."""
    columns, rows, slices = np.linalg.norm(affine[:3, :3], axis=0)
    return float(slices), float(rows), float(columns)


def voxel_ml(affine: np.ndarray) -> float:
    """Return the volume of a voxel in ml."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000
