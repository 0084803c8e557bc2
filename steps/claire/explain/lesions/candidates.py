"""Candidate lesions: proposed by HU and saliency maps, merged, split where confluent, and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from claire.core.contracts.cohort import Scan
from claire.core.imaging.volume import AIR_HU
from claire.core.networks.view import View

#: Smoothed HU above which lung counts as opacity: ground glass starts near −700 (Hansell 2008: −700 … −500).
OPACITY_HU = -680.0
SMOOTHING_MM = 1.5
SMALLEST_ML = 1.0
CONFLUENT_ML = 50.0
#: Reach of a watershed basin: two markers are at least this far apart.
BASIN_MM = 15.0
#: Two proposals are one lesion where they share this much of their union, or this much of the smaller one.
SAME_IOU, SAME_OVERLAP = 0.3, 0.5
#: From this volume on, a part of a lesion beyond a zone border counts as a separate lesion.
ZONE_PART_ML = 1.0
#: Share of the lung that a map's strongest voxels may propose.
MAP_SHARE = 0.05
ZONES: tuple[Literal["lower", "middle", "upper"], ...] = ("lower", "middle", "upper")
_TOUCHING = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class Candidates:
    """Disjoint candidate lesions of one scan.

    `labels`: (slices, size, size) int16, 0 none, k the k-th candidate; `proposers` and `confluent` hold one entry per
    candidate; `left_out` counts candidates beyond the limit.
    """

    labels: np.ndarray
    proposers: tuple[tuple[str, ...], ...]
    confluent: tuple[bool, ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.proposers)

    def mask(self, members: Sequence[int]) -> np.ndarray:
        """Return the boolean mask of some candidates, by label."""
        return np.isin(self.labels, list(members))


def smooth(values: np.ndarray, view: View, millimetres: float = SMOOTHING_MM) -> np.ndarray:
    """Return a Gaussian smoothing of (slices, rows, columns) by a standard deviation in mm."""
    smoothed: np.ndarray = ndimage.gaussian_filter(
        np.asarray(values, np.float32), millimetres / np.array(view.spacing_mm), truncate=3
    )
    return smoothed


def smooth_in_lung(hu: np.ndarray, view: View, millimetres: float = SMOOTHING_MM) -> np.ndarray:
    """Return HU smoothed within the lungs only, so that chest wall and heart do not bleed in; air elsewhere."""
    lungs = (view.lungs > 0).astype(np.float32)
    weight = smooth(lungs, view, millimetres)
    return np.where(lungs > 0, smooth(hu * lungs, view, millimetres) / np.maximum(weight, 1e-3), AIR_HU)


def opacities(view: View) -> np.ndarray:
    """Return the mask of lung whose smoothed HU exceeds `OPACITY_HU`."""
    return (smooth_in_lung(view.hu, view) > OPACITY_HU) & (view.lungs > 0)


def propose_by_hu(view: View) -> np.ndarray:
    """Return the label map of opacities by HU, without what an in-plane opening removes (mostly vessels)."""
    dense = opacities(view)
    core = ndimage.binary_opening(dense, _TOUCHING[1:2])
    solid = ndimage.binary_dilation(core, _TOUCHING[1:2]) & dense
    return drop_small(ndimage.label(solid, _TOUCHING)[0], view)


def propose_by_map(saliency: np.ndarray, view: View) -> np.ndarray:
    """Return the label map of a saliency map's strongest positive lung voxels, at most `MAP_SHARE` of the lung."""
    inside = view.lungs > 0
    values = np.where(inside, saliency, 0)
    if not (values > 0).any():
        return np.zeros(values.shape, np.int32)
    threshold = max(float(np.quantile(values[inside], 1 - MAP_SHARE)), 0.1 * float(values.max()))
    return drop_small(ndimage.label(values >= threshold, _TOUCHING)[0], view)


def propose_by_mask(mask: np.ndarray, view: View, high: float = 0.5, low: float = 0.15) -> np.ndarray:
    """Return the label map of a soft mask in 0…1 by hysteresis: regions above `low` that reach `high`."""
    labels, count = ndimage.label((mask > low) & (view.lungs > 0), _TOUCHING)
    reached = np.zeros(count + 1, bool)
    reached[np.unique(labels[mask > high])] = True
    reached[0] = False
    return drop_small(np.where(reached[labels], labels, 0), view)


def drop_small(labels: np.ndarray, view: View, smallest_ml: float = SMALLEST_ML) -> np.ndarray:
    """Return the label map without regions below `smallest_ml` (at least 3 voxels), renumbered from 1."""
    sizes = np.bincount(labels.ravel())
    keep = sizes >= max(3.0, smallest_ml / view.voxel_ml)
    keep[0] = False
    new_label = np.where(keep, np.cumsum(keep), 0)
    return np.asarray(new_label[labels], np.int32)


def merge(proposals: Mapping[str, np.ndarray], view: View) -> Candidates:
    """Merge label maps by proposer; earlier proposers take precedence for a lesion's outline.

    A region that overlaps enough with an existing candidate (`SAME_IOU`, `SAME_OVERLAP`) adds its proposer to that
    candidate; the unclaimed voxels of any other region become a new candidate.
    """
    labels = np.zeros(view.lungs.shape, np.int32)
    proposers: list[tuple[str, ...]] = []
    for name, proposed in proposals.items():
        known = len(proposers)
        for region in range(1, int(proposed.max(initial=0)) + 1):
            mask = proposed == region
            matches = _overlapping(mask, labels, known)
            for candidate in matches:
                proposers[candidate - 1] = (*proposers[candidate - 1], name)
            unclaimed = mask & (labels == 0)
            if not matches and unclaimed.sum() >= max(3.0, SMALLEST_ML / view.voxel_ml):
                proposers.append((name,))
                labels[unclaimed] = len(proposers)
    unique = tuple(tuple(dict.fromkeys(names)) for names in proposers)
    return Candidates(labels.astype(np.int16), unique, (False,) * len(unique))


def _overlapping(mask: np.ndarray, labels: np.ndarray, known: int) -> list[int]:
    size, sizes = int(mask.sum()), np.bincount(labels.ravel(), minlength=known + 1)
    shared = np.bincount(labels[mask], minlength=known + 1)
    return [
        candidate
        for candidate in range(1, known + 1)
        if shared[candidate] / (size + sizes[candidate] - shared[candidate]) >= SAME_IOU
        or shared[candidate] / min(size, sizes[candidate]) >= SAME_OVERLAP
    ]


def zones(view: View) -> np.ndarray:
    """Return the zone of each slice, (slices,): 0 lower, 1 middle, 2 upper third of the lungs' extent."""
    height = np.arange(view.lungs.shape[0]) * np.sign(view.affine[2, 2] or 1.0)
    filled = np.flatnonzero((view.lungs > 0).any((1, 2)))
    if not len(filled):
        return np.zeros(len(height), int)
    low, high = height[filled].min() - 0.5, height[filled].max() + 0.5
    return np.asarray(np.clip(3 * (height - low) // (high - low), 0, 2), int)


def split(candidates: Candidates, view: View) -> Candidates:
    """Split candidates across sides and zones, and those above `CONFLUENT_ML` further by watershed within side × zone.

    Parts are marked confluent. A part beyond a border that is smaller than `ZONE_PART_ML` stays with its lesion.
    """
    labels, proposers, confluent = np.zeros_like(candidates.labels, np.int32), [], []
    for label, names in enumerate(candidates.proposers, start=1):
        parts = _split_by_zone(candidates.labels == label, view)
        for part in parts:
            proposers.append(names)
            confluent.append(len(parts) > 1)
            labels[part] = len(proposers)
    return replace(candidates, labels=labels.astype(np.int16), proposers=tuple(proposers), confluent=tuple(confluent))


def _split_by_zone(mask: np.ndarray, view: View) -> list[np.ndarray]:
    zone_side = np.where(mask, (zones(view)[:, None, None] + 1) + 3 * (view.lungs == 2), 0)
    sizes = np.bincount(zone_side.ravel(), minlength=7)
    sizes[0] = 0
    large = [cell for cell in range(1, 7) if sizes[cell] * view.voxel_ml >= ZONE_PART_ML]
    if len(large) < 2:
        pieces = [mask]
    else:
        small = mask & ~np.isin(zone_side, large)
        zone_side[small] = large[int(np.argmax(sizes[large]))]
        pieces = [zone_side == cell for cell in large]
    return [part for piece in pieces for part in _watershed(piece, view)]


def _watershed(mask: np.ndarray, view: View) -> list[np.ndarray]:
    """Split a mask into basins around the points farthest from its border, one per started `CONFLUENT_ML`."""
    count = int(np.ceil(mask.sum() * view.voxel_ml / CONFLUENT_ML))
    if count < 2:
        return [mask]

    spacing = np.array(view.spacing_mm)
    distance = ndimage.distance_transform_edt(mask, spacing)
    reach = np.maximum(1, np.round(BASIN_MM / spacing)).astype(int) * 2 + 1
    peaks = peak_local_max(
        distance,
        min_distance=1,
        footprint=np.ones(reach),
        labels=mask.astype(np.uint8),
        num_peaks=count,
        exclude_border=False,
    )
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    basins = watershed(-distance, markers, mask=mask)
    # Islands without a marker join the nearest basin.
    nearest = ndimage.distance_transform_edt(basins == 0, spacing, return_distances=False, return_indices=True)
    parts = np.where(mask, basins[tuple(nearest)], 0)
    return [part for basin in range(1, len(peaks) + 1) if (part := parts == basin).any()]


def keep_most(candidates: Candidates, saliency: np.ndarray, limit: int) -> Candidates:
    """Keep at most `limit` candidates, taken alternately by volume and by total saliency."""
    count = len(candidates)
    if count <= limit:
        return candidates
    labels = np.arange(1, count + 1)
    volume = np.bincount(candidates.labels.ravel(), minlength=count + 1)[1:]
    weight = ndimage.sum_labels(np.maximum(saliency, 0), candidates.labels, labels)
    by_volume, by_weight = np.argsort(-volume, kind="stable"), np.argsort(-weight, kind="stable")
    ordered: list[int] = []
    for pair in zip(by_volume, by_weight, strict=True):
        ordered += [int(index) for index in dict.fromkeys(pair) if index not in ordered]
    chosen = sorted(ordered[:limit])
    new_label = np.zeros(count + 1, np.int16)
    new_label[[index + 1 for index in chosen]] = np.arange(1, len(chosen) + 1)
    return Candidates(
        new_label[candidates.labels],
        tuple(candidates.proposers[index] for index in chosen),
        tuple(candidates.confluent[index] for index in chosen),
        count - limit,
    )


def find_candidates(
    view: View, maps: Mapping[str, np.ndarray], healing_mask: np.ndarray | None, limit: int
) -> Candidates:
    """Return a scan's candidates, at most `limit`: by HU, by the healing mask (if any) and by each map of `maps`."""
    proposals = {"hu": propose_by_hu(view)}
    if healing_mask is not None:
        proposals["healing"] = propose_by_mask(healing_mask, view)
    proposals |= {name: propose_by_map(values, view) for name, values in maps.items()}
    attributed = sum((_scaled_to_unit(values) for values in maps.values()), np.zeros(view.lungs.shape))
    return keep_most(split(merge(proposals, view), view), attributed, limit)


def _scaled_to_unit(values: np.ndarray) -> np.ndarray:
    maximum = float(np.max(values, initial=0))
    return np.maximum(values, 0) / maximum if maximum > 0 else np.zeros(values.shape)


class Description(NamedTuple):
    """Location and appearance of a candidate; the names are those of `contracts.lesions.Lesion`."""

    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    mean_hu: float
    side: Literal["right", "left"]
    zone: Literal["lower", "middle", "upper"]
    confluent: bool
    proposers: tuple[str, ...]
    slice: int


def describe(candidates: Candidates, label: int, view: View, scan: Scan) -> Description:
    """Return the location and appearance of the candidate labelled `label`.

    The side is that of the lung mask at the lesion, the zone the third of the lungs that holds its centre.
    """
    mask = candidates.labels == label
    index = np.argwhere(mask)
    centre = index.mean(0)
    right, anterior, superior = (view.affine @ [*centre[::-1], 1.0])[:3]
    sides = np.bincount(view.lungs[mask], minlength=3)[1:]
    largest = int(np.argmax(mask.sum((1, 2))))
    return Description(
        centroid_lps_mm=(round(float(-right), 1), round(float(-anterior), 1), round(float(superior), 1)),
        volume_ml=round(float(len(index) * view.voxel_ml), 2),
        mean_hu=round(float(view.hu[mask].mean()), 1),
        side="right" if sides[0] >= sides[1] else "left",
        zone=ZONES[int(zones(view)[round(float(centre[0]))])],
        confluent=candidates.confluent[label - 1],
        proposers=candidates.proposers[label - 1],
        slice=int(scan.slices[int(view.rows[largest])]),
    )
