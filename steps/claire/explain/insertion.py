"""Insertion audit: lesions of scans called positive, set into lungs called negative.

Removal shows that a lesion is needed; insertion shows that it is enough. A network that decides on a scanner's trait
turns no call when a lesion is set in. A lesion is what it adds in HU to the clean lung around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from claire.core.command.documents import finite
from claire.core.command.progress import progress
from claire.core.contracts.lesions import Axis, InsertionAudit, InsertionCell
from claire.core.contracts.metrics import Figure
from claire.core.imaging.infill import lung_statistics
from claire.core.imaging.opacities import widen
from claire.core.statistics.intervals import clopper_pearson
from claire.explain.lesions.candidates import whole_lesions
from claire.explain.lesions.describe import ZONES, zones
from claire.explain.probe import Case, Loader

#: Lung nearer to its border than this is peripheral, in mm.
PERIPHERAL_MM = 20.0
#: Upper ends of the sizes in ml.
SIZES_ML = (10.0, 50.0, 200.0, float("inf"))
#: HU that an inserted lesion does not exceed: soft tissue.
DENSEST_HU = 100.0

#: The log-odds of views (n, slices, size, size) of one scan, and whether each is called positive.
Judge = Callable[[Case, Sequence[torch.Tensor]], tuple[np.ndarray, np.ndarray]]


class Implant(NamedTuple):
    """A lesion to set in. `hu`: what it adds to clean lung, float32; `place`: its centre in its lung's box, 0…1."""

    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    place: tuple[float, float, float]
    side: int


class Insertion(NamedTuple):
    """One lesion in one place of one scan. `size_ml`: what came to lie in lung; `rise`: of the log-odds."""

    zone: str
    depth: str
    size_ml: float
    turned: bool
    rise: float


def implants(case: Case) -> list[Implant]:
    """Return the whole lesions of a scan, the largest first."""
    labels = whole_lesions(case)
    clean = lung_statistics(case.prepared_hu, case.prepared_lungs, case.spacing_mm).mean
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        mask = widen(labels[box] == label)
        added = np.where(mask, np.maximum(case.prepared_hu[box] - clean[box], 0), 0).astype(np.float32)
        centre = np.array([(part.start + part.stop - 1) / 2 for part in box])
        side = int(case.prepared_lungs[box][labels[box] == label].max())
        low, extent = _lung_box(case, side)
        place = (centre - low) / extent
        found.append(Implant(added, case.spacing_mm, (float(place[0]), float(place[1]), float(place[2])), side))
    return sorted(found, key=lambda implant: -float(implant.hu.sum()) * float(np.prod(implant.spacing_mm)))


def _lung_box(case: Case, side: int) -> tuple[np.ndarray, np.ndarray]:
    box = ndimage.find_objects((case.prepared_lungs == side).astype(np.int32))
    if not box:
        return np.zeros(3), np.array(case.prepared_lungs.shape, float)
    low = np.array([part.start for part in box[0]], float)
    return low, np.array([max(part.stop - part.start - 1, 1) for part in box[0]], float)


def set_in(hu: np.ndarray, case: Case, implant: Implant, centre: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the prepared HU, float32, with a lesion at `centre` (slice, row, column), and the ml that lie in lung."""
    zoom = np.array(implant.spacing_mm) / np.array(case.spacing_mm)
    lesion = ndimage.zoom(implant.hu, np.maximum(zoom, 1 / np.array(implant.hu.shape)), order=1)
    start = np.rint(centre - (np.array(lesion.shape) - 1) / 2).astype(int)
    target = tuple(slice(max(0, s), max(0, s + n)) for s, n in zip(start, lesion.shape, strict=True))
    part = tuple(slice(max(0, -s), max(0, size - s)) for s, size in zip(start, hu.shape, strict=True))
    result = hu.astype(np.float32)
    here = result[target]
    lesion = lesion[part][tuple(slice(0, n) for n in here.shape)]
    inside = case.prepared_lungs[target] > 0
    placed = (lesion > 1) & inside
    here[placed] = np.maximum(here[placed], np.minimum(here[placed] + lesion[placed], DENSEST_HU))
    return result, float(placed.sum() * case.voxel_ml)


def all_set_in(case: Case, donor: Sequence[Implant]) -> np.ndarray:
    """Return the prepared HU, float32, with all lesions of a donor at the same places of the lungs."""
    hu = case.prepared_hu.astype(np.float32)
    for implant in donor:
        low, extent = _lung_box(case, implant.side)
        hu, _ = set_in(hu, case, implant, low + np.array(implant.place) * extent)
    return hu


def to_view(case: Case, hu: np.ndarray) -> torch.Tensor:
    """Return prepared HU as the network sees them."""
    return torch.from_numpy(np.ascontiguousarray(case.projection.apply(hu)))


def audit(
    recipients: Sequence[Loader], pool: Sequence[Implant], judge: Judge, places: int, rng: np.random.Generator
) -> InsertionAudit | None:
    """Set single lesions of `pool` into about `places` places; None without recipients, lesions or places."""
    if not recipients or not pool or not places:
        return None
    inserted: list[Insertion] = []
    turning: list[float] = []
    each = max(1, round(places / len(recipients)))
    for load in progress(recipients, "scans with lesions set in"):
        case = load()
        inserted += _insert_each(case, pool, judge, each, rng)
        turning.append(_turning_ml(case, pool, judge, rng))
    median = float(np.median(turning))
    return InsertionAudit(
        places=len(inserted),
        cells=tuple(_cells(inserted)),
        turning_ml=finite(median, 1) if np.isfinite(median) else None,
    )


def _insert_each(
    case: Case, pool: Sequence[Implant], judge: Judge, count: int, rng: np.random.Generator
) -> list[Insertion]:
    voxels = np.argwhere(case.prepared_lungs > 0)
    depth = ndimage.distance_transform_edt(case.prepared_lungs > 0, case.spacing_mm)
    zone_of, views, drawn = zones(case), [case.hu], []
    for _ in range(count):
        centre = voxels[rng.integers(len(voxels))]
        hu, size = set_in(case.prepared_hu, case, pool[int(rng.integers(len(pool)))], centre)
        views.append(to_view(case, hu))
        peripheral = depth[tuple(centre)] < PERIPHERAL_MM
        drawn.append((ZONES[int(zone_of[centre[0]])], "peripheral" if peripheral else "central", size))
    odds, called = judge(case, views)
    return [
        Insertion(*place, bool(called[i]) and not bool(called[0]), float(odds[i] - odds[0]))
        for i, place in enumerate(drawn, start=1)
    ]


def _turning_ml(case: Case, pool: Sequence[Implant], judge: Judge, rng: np.random.Generator) -> float:
    """Return the ml of lesions, set in one after another, at which the call turns; infinite if it does not."""
    voxels, hu, total = np.argwhere(case.prepared_lungs > 0), case.prepared_hu.astype(np.float32), 0.0
    views, totals = [], []
    for i in rng.permutation(len(pool))[:8]:
        hu, size = set_in(hu, case, pool[int(i)], voxels[rng.integers(len(voxels))])
        total += size
        views.append(to_view(case, hu))
        totals.append(total)
    _, called = judge(case, views)
    return totals[int(np.argmax(called))] if called.any() else float("inf")


def _cells(inserted: Sequence[Insertion]) -> list[InsertionCell]:
    depths = ("peripheral", "central")
    groups: list[tuple[Axis, str, Sequence[Insertion]]] = [("all", "all", inserted)]
    groups += [("zone", zone, [row for row in inserted if row.zone == zone]) for zone in ZONES]
    groups += [("depth", depth, [row for row in inserted if row.depth == depth]) for depth in depths]
    for low, high in pairwise((0.0, *SIZES_ML)):
        name = f"up to {high:g} ml" if np.isfinite(high) else f"above {low:g} ml"
        groups.append(("size", name, [row for row in inserted if low < row.size_ml <= high]))
    return [_cell(axis, level, rows) for axis, level, rows in groups if rows]


def _cell(axis: Axis, level: str, rows: Sequence[Insertion]) -> InsertionCell:
    hits = sum(row.turned for row in rows)
    lower, upper = clopper_pearson(hits, len(rows))
    return InsertionCell(
        axis=axis,
        level=level,
        n=len(rows),
        turned=Figure(value=finite(hits / len(rows)), lower=finite(lower), upper=finite(upper)),
        rise=float(np.round(np.mean([row.rise for row in rows]), 3)),
    )
