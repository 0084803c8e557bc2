"""Stored values to HU, and a check that they are HU: by the peaks of the histogram, not by tags."""

from __future__ import annotations

import numpy as np

from claire.core.command.errors import RejectedScan
from claire.core.imaging.volume import PADDING_HU

#: No noise goes below this: lower values are undeclared padding (−2000 and −3024 are common).
_PADDED_BELOW_HU = -1500
_BIN_HU = 10
_LOW, _HIGH = -1100, 1500


def to_hu(stored: np.ndarray, slope: float, intercept: float, padding: tuple[int, int] | None, out: np.ndarray) -> None:
    """Write `stored` (rows, columns; any integer type) as HU into `out` (int16); padding becomes air of −1024 HU.

    Values beyond int16 are clipped.
    """
    if slope == 1 and float(intercept).is_integer():
        values = stored.astype(np.int32) + np.int32(intercept)
    else:
        values = np.rint(stored * np.float64(slope) + intercept)
    np.clip(values, -32768, 32767, out=values)
    out[...] = values
    out[out < _PADDED_BELOW_HU] = PADDING_HU
    if padding is not None:
        out[(stored >= padding[0]) & (stored <= padding[1])] = PADDING_HU


def check_rescale(slope: float, intercept: float) -> None:
    """Raise RejectedScan (`not_hu`) if slope or intercept cannot give HU."""
    if not 0 < abs(slope) < 1e4 or abs(intercept) > 1e5:
        raise RejectedScan("not_hu", "rescale slope or intercept out of range")


def check_hu(data: np.ndarray) -> None:
    """Raise RejectedScan (`not_hu`) unless the two peaks of a chest are where they should be.

    At least 2 % of the voxels must be air or lung (−1023 to −500 HU; −1024 is not counted because padding has it), at
    least 3 % soft tissue or fat (−150 to 150 HU), and the highest peak from −350 to 500 HU must lie between −150 and
    150 HU. `data` (slices, rows, columns) int16 is sampled.
    """
    stride = max(1, int((data[0].size * len(data) / 2e6) ** 0.5))
    sample = data[:, ::stride, ::stride]
    inside = sample[(sample > PADDING_HU) & (sample < _HIGH)]
    count, edges = np.histogram(inside, np.arange(_LOW, _HIGH + _BIN_HU, _BIN_HU))
    share = count / max(sample.size, 1)
    centre = edges[:-1] + _BIN_HU / 2
    air = share[centre < -500].sum()
    soft = share[np.abs(centre) < 150].sum()
    if air < 0.02:
        raise RejectedScan("not_hu", f"no peak of air or lung ({air:.1%} of voxels below -500)")
    smooth = np.convolve(share, np.ones(3) / 3, "same")
    smooth[(centre < -350) | (centre > 500)] = 0
    peak = centre[smooth.argmax()]
    if soft < 0.03 or abs(peak) > 150:
        raise RejectedScan("not_hu", f"no peak of soft tissue ({soft:.1%} of voxels within 150 of 0)")
