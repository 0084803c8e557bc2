"""How plausible a map is to a reader: whether it shows the lesions that decided, where the truth is known (phantoms).

Not to be mixed with faithfulness, which asks the network. Maps and masks are (slices, rows, columns) of one grid; only
voxels in the lungs count. Tied voxels (a map that is constant within a lesion) count with their mean, so that no figure
depends on their order. NaN where the truth has no voxel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score

from claire.core.statistics.ranking import auc

#: Tolerances of pointing: voxels along any axis or diagonal, and mm.
POINTING_VOXELS, POINTING_MM = 1, 15.0


class Plausibility(NamedTuple):
    """The figures of a map on a scan, each in 0…1; high is good but for `bystanders`."""

    pointing_voxel: float
    pointing_mm: float
    top_dice: float
    auprc: float
    bystanders: float


def plausibility(
    values: np.ndarray,
    deciding: np.ndarray,
    bystanders: np.ndarray,
    lungs: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> Plausibility:
    """Return every figure of a map `values`, against boolean masks of deciding lesions, bystanders and lungs."""
    near_voxel, near_mm = pointing(values, deciding, lungs, spacing_mm)
    return Plausibility(
        near_voxel,
        near_mm,
        top_dice(values, deciding, lungs),
        auprc(values, deciding, lungs),
        bystander_rate(values, deciding, bystanders, lungs),
    )


def pointing(
    values: np.ndarray, deciding: np.ndarray, lungs: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Return whether the strongest voxel lies within 1 voxel, and within 15 mm, of a deciding one (Zhang 2018)."""
    truth = deciding & lungs
    if not truth.any():
        return float("nan"), float("nan")
    peaks = lungs & (values == values[lungs].max())
    voxels = ndimage.distance_transform_cdt(~truth, "chessboard")[peaks]
    millimetres = ndimage.distance_transform_edt(~truth, spacing_mm)[peaks]
    return float((voxels <= POINTING_VOXELS).mean()), float((millimetres <= POINTING_MM).mean())


def top_dice(values: np.ndarray, deciding: np.ndarray, lungs: np.ndarray) -> float:
    """Return Dice of the k strongest voxels and the k deciding ones."""
    truth = deciding & lungs
    return _share_of_strongest(values, truth, lungs, int(truth.sum()))


def bystander_rate(values: np.ndarray, deciding: np.ndarray, bystanders: np.ndarray, lungs: np.ndarray) -> float:
    """Return the share of the k strongest voxels, k being the number of deciding ones, that lie in bystanders."""
    return _share_of_strongest(values, bystanders & lungs, lungs, int((deciding & lungs).sum()))


def auprc(values: np.ndarray, deciding: np.ndarray, lungs: np.ndarray) -> float:
    """Return the average precision of the map's values for the deciding voxels; their share of the lungs by chance."""
    truth = deciding[lungs]
    return float(average_precision_score(truth, values[lungs])) if truth.any() else float("nan")


def within_scan_auc(scores: np.ndarray, deciding: np.ndarray) -> float:
    """Return the AUC of scores (lesions,) for the deciding (lesions,) against the others of a scan.

    NaN where all lesions are of one kind: such a scan has no pair to rank.
    """
    if deciding.all() or not deciding.any():
        return float("nan")
    return auc(scores, deciding)


def _share_of_strongest(values: np.ndarray, members: np.ndarray, lungs: np.ndarray, count: int) -> float:
    """Return the share of the `count` strongest lung voxels that are `members`; voxels tied at the border in part."""
    if not count:
        return float("nan")
    strength, member = values[lungs], members[lungs]
    border = np.partition(strength, -count)[-count]
    above, tied = strength > border, strength == border
    return float((member[above].sum() + (count - above.sum()) * member[tied].mean()) / count)
