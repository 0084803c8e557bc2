"""Candidates of a scan: whole lesions found by HU, and regions proposed by maps, on the prepared grid.

Whole lesions are the unit: they are removed and ranked as they are. Parts by zone serve their description alone; cuts
at zones, at 50 ml or at necks ruin the ranking and the crucial set (docs/method.md). Arrays are (kept slices, rows,
columns).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from claire.core.imaging.opacities import IN_PLANE, connected, drop_small, lesions, smooth, widen
from claire.explain.probe import Case

#: Share of the lung that a map's strongest voxels may propose, and how many regions of all maps are measured.
MAP_SHARE, REGIONS = 0.05, 3
#: Smoothing of a map before it proposes regions, in mm.
MAP_MM = 3.0


@dataclass(frozen=True)
class Candidates:
    """Disjoint candidates of one scan.

    `labels`: int16, 0 none, k the k-th candidate, `rest` all smaller opacities together; `proposers`: one entry per
    candidate; `left_out`: how many opacities the rest holds.
    """

    labels: np.ndarray
    proposers: tuple[tuple[str, ...], ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.proposers)

    @property
    def rest(self) -> int:
        """The label of the opacities that are not measured one by one."""
        return len(self) + 1

    @property
    def everything(self) -> frozenset[int]:
        """All labels, the rest included."""
        return frozenset(range(1, len(self) + 2))

    def kind(self, label: int) -> Literal["lesion", "region"]:
        """Return whether a candidate is an opacity by HU."""
        return "lesion" if "hu" in self.proposers[label - 1] else "region"


def find_candidates(case: Case, maps: Mapping[str, np.ndarray], limit: int) -> Candidates:
    """Return at most `limit` whole lesions, the largest, and at most `REGIONS` regions that maps propose."""
    found = whole_lesions(case)
    count = int(found.max(initial=0))
    volume = np.bincount(found.ravel(), minlength=count + 1)[1:]
    by_volume = np.argsort(-volume, kind="stable")
    measured = by_volume[:limit]
    regions = _regions(case, maps, found, REGIONS)
    rest = len(measured) + len(regions) + 1
    new_label = np.full(count + 1, rest, np.int16)
    new_label[0] = 0
    new_label[measured + 1] = np.arange(1, len(measured) + 1)
    labels = new_label[found]
    for i, (_, mask) in enumerate(regions, start=len(measured) + 1):
        labels[mask] = i
    proposers = [("hu",)] * len(measured) + [(name,) for name, _ in regions]
    return Candidates(labels, tuple(proposers), max(0, count - limit))


def whole_lesions(case: Case) -> np.ndarray:
    """Return the label map, int32, of the whole opacities of a scan."""
    return lesions(case.prepared_hu, case.prepared_lungs, case.spacing_mm, case.voxel_ml)


def _regions(case: Case, maps: Mapping[str, np.ndarray], found: np.ndarray, limit: int) -> list[tuple[str, np.ndarray]]:
    """Return (method, mask) of the regions of maps outside all opacities, the strongest first, disjoint."""
    free = (case.prepared_lungs > 0) & ~widen(found > 0)
    proposed: list[tuple[float, str, np.ndarray]] = []
    for name, values in maps.items():
        strength = np.where(case.prepared_lungs > 0, case.projection.back(smoothed(values, case)), 0)
        strong = _strongest(strength, case.prepared_lungs > 0)
        labels = drop_small(connected(strong & free, case.prepared_lungs), case.voxel_ml)
        sums = ndimage.sum_labels(strength, labels, np.arange(1, labels.max(initial=0) + 1))
        total = max(float(strength.sum()), 1e-9)
        proposed += [(float(value) / total, name, labels == i) for i, value in enumerate(np.atleast_1d(sums), start=1)]
    chosen: list[tuple[str, np.ndarray]] = []
    taken = np.zeros(found.shape, bool)
    for _, name, mask in sorted(proposed, key=lambda region: -region[0]):
        left = mask & ~taken
        if len(chosen) < limit and left.sum() > mask.sum() / 2:
            chosen.append((name, left))
            taken |= mask
    return chosen


def smoothed(values: np.ndarray, case: Case) -> np.ndarray:
    """Return the positive part of a map of the view, smoothed by `MAP_MM`, so that strong voxels hang together."""
    return smooth(np.maximum(values, 0), case.view.spacing_mm, MAP_MM)


def _strongest(strength: np.ndarray, inside: np.ndarray) -> np.ndarray:
    if not (strength > 0).any():
        return np.zeros(strength.shape, bool)
    threshold = max(float(np.quantile(strength[inside], 1 - MAP_SHARE)), 0.1 * float(strength.max()))
    return inside & (strength >= threshold)


def removal_labels(candidates: Candidates, lungs: np.ndarray) -> np.ndarray:
    """Return the label map to remove: each candidate with an in-plane rim of one voxel, within the lungs."""
    rim = ndimage.maximum_filter(candidates.labels, footprint=IN_PLANE)
    widened = np.where(candidates.labels > 0, candidates.labels, rim)
    return np.where(lungs > 0, widened, 0)


def renumbered(candidates: Candidates, order: Sequence[int]) -> Candidates:
    """Return the candidates in another order: the label `order[0]` becomes 1, and so on; the rest stays last."""
    new_label = np.zeros(len(candidates) + 2, np.int16)
    new_label[list(order)] = np.arange(1, len(order) + 1)
    new_label[candidates.rest] = candidates.rest
    proposers = tuple(candidates.proposers[label - 1] for label in order)
    return Candidates(new_label[candidates.labels], proposers, candidates.left_out)
