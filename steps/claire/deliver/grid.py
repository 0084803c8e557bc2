"""From the prepared grid of a scan back to the grid of the ingested scan."""

from __future__ import annotations

import numpy as np

from claire.core.contracts.cohort import Scan


def to_ingested(labels: np.ndarray, scan: Scan) -> np.ndarray:
    """Return labels (kept slices, size, size) of the prepared grid on the grid of the ingested scan, nearest pixel.

    The inverse of `preprocess`: prepared pixel j covers (j … j + 1)·scale from the start of the crop. Slices that were
    not kept and pixels beyond the crop are 0. The crop may reach beyond the scan.
    """
    if len(labels) != scan.count:
        raise ValueError(f"labels of shape {labels.shape} for scan {scan.scan}: expected {scan.count} slices")
    result = np.zeros(scan.original_shape, labels.dtype)
    row0, row1, column0, column1 = scan.crop
    rows, from_rows = _nearest(row0, row1, scan.original_shape[1], labels.shape[1])
    columns, from_columns = _nearest(column0, column1, scan.original_shape[2], labels.shape[2])
    result[np.ix_(np.array(scan.slices), rows, columns)] = labels[:, from_rows][:, :, from_columns]
    return result


def _nearest(start: int, end: int, length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of an axis of the scan that lie in the crop, and the prepared pixel of each."""
    pixels = np.arange(max(start, 0), min(end, length))
    prepared = ((pixels + 0.5 - start) * size / (end - start)).astype(int)
    return pixels, np.minimum(prepared, size - 1)
