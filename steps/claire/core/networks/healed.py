"""Healed copies of scans: from them a network learns that a lung without its opacities speaks for the reference class.

A network that has never seen healthy lungs answers for them by chance, and no lesion can then be crucial. Copies are
made on the fly from opacities found by HU; no ground truth is used. Random holes in clean lung keep the scan's label,
so that the infill itself says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from claire.core.imaging.infill import INDEPENDENT, NOISE_MM, lung_noise, lung_statistics, random_hole
from claire.core.imaging.opacities import Spacing, lesions, widen
from claire.core.imaging.volume import AIR_HU
from claire.core.networks.view import View

#: Healed copies per scan and epoch, and the probability that a scan itself gets random holes.
COPIES, HOLES = 0.5, 0.5
#: Planes of noise that are made once and drawn from.
PLANES = 8
CLEAN, OPACITY = 1, 2


@dataclass(frozen=True)
class Alteration:
    """How a scan is altered: `healed` without its opacities, else with random holes; filled by `infill`."""

    healed: bool
    infill: str
    seed: int


@dataclass(frozen=True)
class Healable:
    """What filling a view takes. `mean`: int16 HU of clean lung; `lung`: uint8 0, CLEAN or OPACITY; `spread`: in HU."""

    mean: np.ndarray
    lung: np.ndarray
    spread: float
    spacing_mm: Spacing


def make_healable(view: View) -> Healable:
    """Return what filling a view takes, computed once per scan."""
    statistics = lung_statistics(view.hu, view.lungs, view.spacing_mm)
    inside = view.lungs > 0
    opacity = widen(lesions(view.hu, view.lungs, view.spacing_mm, view.voxel_ml) > 0)
    spread = float(statistics.spread[inside].mean()) if inside.any() else 0.0
    lung = np.where(opacity, OPACITY, CLEAN) * inside
    return Healable(np.rint(statistics.mean).astype(np.int16), lung.astype(np.uint8), spread, view.spacing_mm)


def draw_alterations(rng: np.random.Generator) -> list[Alteration | None]:
    """Return how often and how a scan enters an epoch: itself, maybe with holes, and maybe a healed copy."""
    holes, copy = rng.random() < HOLES, rng.random() < COPIES
    infills, seeds = rng.integers(len(INDEPENDENT), size=2), rng.integers(2**31, size=2)
    drawn = [Alteration(bool(i), INDEPENDENT[infills[i]], int(seeds[i])) for i in (0, 1)]
    return [drawn[0] if holes else None, *([drawn[1]] if copy else [])]


def draw_infill(rng: np.random.Generator) -> str:
    """Return one of the infills at random."""
    return INDEPENDENT[int(rng.integers(len(INDEPENDENT)))]


def altered(hu: np.ndarray, healable: Healable, slices: np.ndarray, alteration: Alteration) -> np.ndarray:
    """Return a copy of the `slices` of a view, int16 HU, filled as `alteration` says."""
    rng = np.random.default_rng(alteration.seed)
    lung, mean = healable.lung[slices], healable.mean[slices]
    hole = lung == OPACITY if alteration.healed else random_hole(lung, rng) & (lung == CLEAN)
    infill: np.ndarray = mean
    if alteration.infill == "noise":
        infill = mean + healable.spread * _noise(lung.shape, healable.spacing_mm, rng)
    return np.where(hole, np.clip(np.rint(infill), AIR_HU, None), hu).astype(np.int16)


def _noise(shape: tuple[int, ...], spacing_mm: Spacing, rng: np.random.Generator) -> np.ndarray:
    """Return noise (slices, rows, columns): planes drawn from a few, each shifted at random."""
    planes = _planes(shape[1], round(spacing_mm[1], 2))
    shifts = rng.integers(shape[1], size=(shape[0], 2))
    return np.stack([np.roll(planes[rng.integers(PLANES)], shift, (0, 1)) for shift in shifts])


@lru_cache(maxsize=8)
def _planes(size: int, pixel_mm: float) -> np.ndarray:
    return lung_noise((PLANES, size, size), (4 * NOISE_MM, pixel_mm, pixel_mm), np.random.default_rng(0))
