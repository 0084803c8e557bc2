"""Lesions as the share of airspace they fill: deciding ones (meshed or ring-shaped) and bystanders of the same HU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from claire.commands.phantom.anatomy import Chest
from claire.commands.phantom.shapes import Box, Grid

#: HU of airspace that is filled completely; less filling is ground glass.
FILLED = 40.0
DECIDING = ("crazy_paving", "atoll")
Disease = Literal["normal", "pneumonia", "covid"]
#: Volume of the opacities of pneumonia against those of covid: more, as healthy lungs are on the same side, so that
#: the amount of opacity tells little.
PNEUMONIA_VOLUME = 1.12
#: Lesions of negatives that look like deciding ones: they keep the classes from being separable without error.
MIMICS = ("organising", "proteinosis")
#: Share of a lesion's largest filling above which a voxel counts as the lesion.
SUPPORT = 0.05


@dataclass(frozen=True)
class Filling:
    """One lesion: `share` float32 0…1 of the airspace filled inside `box` (slices of the volume); 0 outside it."""

    kind: str
    role: str
    side: int
    box: Box
    share: np.ndarray


@dataclass(frozen=True)
class Plan:
    """A lesion to grow: its kind, side (1 right, 2 left), volume in ml and the range of its filling."""

    kind: str
    side: int
    volume_ml: float
    low: float
    high: float
    gamma: float


def draw_plans(rng: np.random.Generator, disease: Disease, lung_ml: float) -> list[Plan]:
    """Return random lesions of a patient: much the same total volume and HU in both diseases, another pattern.

    Normal: healthy lungs, no lesion at all. Covid: bilateral, peripheral, multifocal meshes and rings beside a few
    bystanders; some are mild, about 5 % have no opacity. Pneumonia: solid opacities, mostly of one side; some have
    mimics on one side as well.
    """
    if disease == "normal":
        return []
    total = lung_ml * float(np.clip(rng.lognormal(np.log(0.24), 0.28), 0.10, 0.38))
    mild, none = rng.random() < 0.09, rng.random() < 0.05
    mimic = rng.random() < 0.15
    side = int(rng.integers(1, 3))
    plans: list[Plan] = []
    if disease == "covid" and not none:
        deciding = 0.2 if mild else rng.uniform(0.75, 0.95)
        plans += _split(rng, total * deciding, int(rng.integers(1, 3) if mild else rng.integers(3, 6)), DECIDING, None)
        plans += _split(rng, total * (1 - deciding), 1, ("pneumonia", "ground_glass"), side)
    elif disease == "pneumonia":
        total *= PNEUMONIA_VOLUME
        if mimic:
            share = rng.uniform(0.5, 0.8)
            plans += _split(rng, total * share, int(rng.integers(1, 3)), MIMICS, side)
            total *= 1 - share
        plans += _split(rng, total, int(rng.integers(2, 6)), ("pneumonia", "ground_glass"), side)
    return plans + _companions(rng)


def _split(rng: np.random.Generator, total: float, count: int, kinds: tuple[str, ...], side: int | None) -> list[Plan]:
    """Return lesions that share a volume, on one side (with a few strays) or on both in turn."""
    shares = rng.dirichlet(np.full(count, 4.0)) * total
    first = int(rng.integers(2))
    plans = []
    for i, share in enumerate(shares):
        stray = rng.random() < 0.2
        lung = 1 + (first + i) % 2 if side is None else 3 - side if stray else side
        plans.append(Plan(str(rng.choice(kinds)), lung, float(share), *_filling(rng)))
    return plans


def _filling(rng: np.random.Generator) -> tuple[float, float, float]:
    high = rng.uniform(0.50, 0.62)
    return rng.uniform(0.04, 0.10), high, rng.uniform(14, 20)


def _companions(rng: np.random.Generator) -> list[Plan]:
    """Return lesions that both diseases have: nodules, dependent atelectasis, effusion, fibrosis."""
    plans = [
        Plan("nodule", int(rng.integers(1, 3)), float(rng.uniform(0.3, 5)), 0.6, 0.98, 12.0)
        for _ in range(int(rng.integers(0, 3)))
    ]
    if rng.random() < 0.25:
        volume = float(rng.uniform(15, 60))
        plans += [Plan("atelectasis", side, volume * rng.uniform(0.5, 1), 0.08, 0.75, 8.0) for side in (1, 2)]
    if rng.random() < 0.10:
        plans.append(Plan("effusion", int(rng.integers(1, 3)), float(rng.uniform(30, 160)), 0.97, 0.985, 8.0))
    if rng.random() < 0.10:
        volume = float(rng.uniform(8, 30))
        plans += [Plan("fibrosis", side, volume, 0.06, 0.7, 10.0) for side in (1, 2)]
    return plans


def grow_lesions(rng: np.random.Generator, chest: Chest, grid: Grid, plans: list[Plan]) -> list[Filling]:
    """Grow each plan into lung that is still free; a plan without room is left out."""
    free = chest.open > 0.5
    grown = []
    for plan in plans:
        lesion = _grow(np.random.default_rng(rng.integers(2**63)), chest, grid, free, plan)
        if lesion is not None:
            grown.append(lesion)
            free[lesion.box] &= lesion.share <= SUPPORT * plan.high
    return grown


def _grow(rng: np.random.Generator, chest: Chest, grid: Grid, free: np.ndarray, plan: Plan) -> Filling | None:
    centre = _centre(rng, chest, grid, free, plan)
    if centre is None:
        return None
    radius = (plan.volume_ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    axes, reach = _axes(rng, plan.kind)
    box = _around(grid, centre, radius * reach * np.asarray(axes))
    room = free[box] & (chest.lungs[box] == plan.side)
    inside = np.argwhere(room)
    count = round(plan.volume_ml / grid.voxel_ml)
    if len(inside) == 0 or count == 0:
        return None
    mm = grid.positions_mm(inside + [part.start for part in box])
    distance = np.linalg.norm((mm - centre) / axes, axis=1) + 0.22 * radius * _ripple(rng, mm, max(1.6 * radius, 12))
    nearest = np.argsort(distance, kind="stable")[:count]
    inside, mm, distance = inside[nearest], mm[nearest], distance[nearest]
    score = _score(rng, plan.kind, mm, distance, chest.depth[box][tuple(inside.T)])
    rank = np.empty(len(score), np.float32)
    rank[np.argsort(score, kind="stable")] = (np.arange(len(score)) + 0.5) / len(score)
    share = np.zeros(room.shape, np.float32)
    share[tuple(inside.T)] = plan.low + (plan.high - plan.low) / (1 + np.exp(plan.gamma * (0.52 - rank)))
    share = ndimage.gaussian_filter(share, (0, *[min(0.6, 0.9 / grid.pixel)] * 2), truncate=2) * chest.open[box]
    share[share < SUPPORT * plan.high] = 0
    role = "deciding" if plan.kind in DECIDING else "bystander"
    return Filling(plan.kind, role, plan.side, box, share)


def _centre(rng: np.random.Generator, chest: Chest, grid: Grid, free: np.ndarray, plan: Plan) -> np.ndarray | None:
    """Return a random centre of a lesion, (z, y, x) in mm, where its kind is typical; None without free lung."""
    voxels = np.flatnonzero(free & (chest.lungs == plan.side))
    if not len(voxels):
        return None
    candidates = voxels[(rng.random(400) * len(voxels)).astype(int)]
    slices, rows, columns = np.unravel_index(candidates, free.shape)
    z, y, x = grid.z.reshape(-1)[slices], grid.y.reshape(-1)[rows], grid.x.reshape(-1)[columns]
    depth = chest.depth[slices, rows, columns]
    preference = {
        "crazy_paving": -np.abs(depth - 16),
        "atoll": -np.abs(depth - 20),
        "organising": -np.abs(depth - 20),
        "proteinosis": -np.abs(depth - 30),
        "pneumonia": -np.abs(depth - 34),
        "ground_glass": -np.abs(depth - 38),
        "nodule": 0 * depth,
        "atelectasis": y - 0.5 * np.abs(z - np.quantile(z, 0.35)),
        "effusion": y - 0.8 * (z - z.min()),
        "fibrosis": -depth - 0.25 * (z - z.min()),
    }[plan.kind]
    spread = 25 if plan.kind in ("pneumonia", "ground_glass", "nodule") else 7
    best = int(np.argmax(preference + rng.gumbel(0, spread, len(candidates))))
    return np.array([z[best], y[best], x[best]])


def _axes(rng: np.random.Generator, kind: str) -> tuple[tuple[float, float, float], float]:
    """Return the stretch along (z, y, x), and the radius of the box around the lesion in its radii."""
    if kind in ("atelectasis", "effusion"):
        return (2.2, 0.45, 1.3), 2.2
    if kind == "fibrosis":
        return (1.8, 1.2, 0.6), 2.6
    stretch = np.exp(rng.uniform(-0.22, 0.22, 3)) * [1.0 if kind == "nodule" else 1.6, 1.0, 1.0]
    z, y, x = (float(s) for s in stretch / stretch.prod() ** (1 / 3))
    return (z, y, x), 2.0


def _around(grid: Grid, centre: np.ndarray, reach: np.ndarray) -> Box:
    spans: list[slice] = []
    for axis, middle, distance in zip((grid.z, grid.y, grid.x), centre, reach, strict=True):
        values = axis.reshape(-1)
        first = max(int(np.searchsorted(values, middle - distance)) - 2, 0)
        spans.append(slice(first, min(int(np.searchsorted(values, middle + distance)) + 2, values.size)))
    return spans[0], spans[1], spans[2]


def _ripple(rng: np.random.Generator, mm: np.ndarray, wavelength: float) -> np.ndarray:
    """Return smooth random values of about unit variance at points in mm."""
    total: np.ndarray = np.zeros(len(mm))
    for _ in range(5):
        k = rng.normal(size=3)
        k *= 2 * np.pi / wavelength / np.linalg.norm(k)
        total += np.sin(mm @ k + rng.uniform(0, 2 * np.pi))
    ripple: np.ndarray = total * np.sqrt(2 / 5)
    return ripple


def _score(rng: np.random.Generator, kind: str, mm: np.ndarray, distance: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return a value for each voxel of a lesion whose order is that of the filling; nothing else of it counts."""
    edge: np.ndarray = distance.max() - distance
    score: np.ndarray = -depth  # atelectasis
    if kind in ("crazy_paving", "proteinosis"):
        score = -np.minimum(_septa(rng, mm, 12.0), np.abs(edge - 3.5) + 1.0)
    elif kind in ("atoll", "organising"):
        score = -np.minimum(np.abs(edge - 5.0), 2.0 + _septa(rng, mm, 16.0)) + 0.8 * _ripple(rng, mm, 14)
    elif kind == "fibrosis":
        score = -_septa(rng, mm, 8.0)
    elif kind != "atelectasis":
        score = edge + 1.5 * _ripple(rng, mm, 25)
    return score


def _septa(rng: np.random.Generator, mm: np.ndarray, cell: float) -> np.ndarray:
    """Return the distance in mm from the walls of random cells of about `cell` mm (Worley noise)."""
    low, high = mm.min(0) - cell, mm.max(0) + cell
    steps = [np.arange(first, last, cell) for first, last in zip(low, high, strict=True)]
    seeds = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    seeds = seeds + rng.uniform(-0.38, 0.38, seeds.shape) * cell
    nearest = np.asarray(cKDTree(seeds).query(mm, k=2)[0])
    distance: np.ndarray = (nearest[:, 1] - nearest[:, 0]) / 2
    return distance
