"""Where a candidate lies and what it looks like, on the prepared grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from claire.core.contracts.lesions import LesionPart, Side, Zone
from claire.explain.probe import Case

ZONES: tuple[Zone, ...] = ("lower", "middle", "upper")
#: Least share of a lesion that counts as its part in another zone.
PART_SHARE = 0.1


class Description(NamedTuple):
    """Location and appearance of a candidate; the names are those of `contracts.lesions.Lesion`."""

    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    mean_hu: float
    side: Side
    zone: Zone
    parts: tuple[LesionPart, ...]
    slice: int


def zones(case: Case) -> np.ndarray:
    """Return the zone of each kept slice: 0 lower, 1 middle, 2 upper third of the lungs' extent."""
    height = np.arange(len(case.prepared_lungs)) * np.sign(case.scan.affine[2, 2] or 1.0)
    filled = np.flatnonzero((case.prepared_lungs > 0).any((1, 2)))
    if not len(filled):
        return np.zeros(len(height), int)
    low, high = height[filled].min() - 0.5, height[filled].max() + 0.5
    return np.asarray(np.clip(3 * (height - low) // (high - low), 0, 2), int)


def describe(labels: np.ndarray, label: int, case: Case) -> Description:
    """Return the location and appearance of the candidate `label`; `labels`: (kept slices, rows, columns).

    The side is that of the lung mask at the lesion, the zone the third of the lungs that holds most of it. It has parts
    where at least `PART_SHARE` of it lies in another zone.
    """
    mask = labels == label
    index = np.argwhere(mask)
    sides = np.bincount(case.prepared_lungs[mask], minlength=3)[1:]
    zone_of = zones(case)[index[:, 0]]
    share = np.bincount(zone_of, minlength=3) / len(index)
    present = [zone for zone in range(3) if share[zone] >= PART_SHARE]
    return Description(
        centroid_lps_mm=_centroid(index, case),
        volume_ml=_volume(len(index), case),
        mean_hu=_mean_hu(index, case),
        side="right" if sides[0] >= sides[1] else "left",
        zone=ZONES[int(np.argmax(share))],
        parts=tuple(_part(index[zone_of == zone], zone, case) for zone in present) if len(present) > 1 else (),
        slice=int(case.scan.slices[int(np.argmax(mask.sum((1, 2))))]),
    )


def _part(index: np.ndarray, zone: int, case: Case) -> LesionPart:
    return LesionPart(
        zone=ZONES[zone],
        volume_ml=_volume(len(index), case),
        mean_hu=_mean_hu(index, case),
        centroid_lps_mm=_centroid(index, case),
    )


def _centroid(index: np.ndarray, case: Case) -> tuple[float, float, float]:
    right, anterior, superior = (case.scan.affine @ [*index.mean(0)[::-1], 1.0])[:3]
    return round(float(-right), 1), round(float(-anterior), 1), round(float(superior), 1)


def _volume(voxels: int, case: Case) -> float:
    return round(float(voxels * case.voxel_ml), 2)


def _mean_hu(index: np.ndarray, case: Case) -> float:
    return round(float(case.prepared_hu[tuple(index.T)].mean()), 1)
