"""A synthetic scan with its ground truth: chest, lesions, blur and noise of a scanner; with any of its lesions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from claire.commands.phantom.anatomy import Chest, draw_build, make_chest, make_grid
from claire.commands.phantom.lesions import FILLED, Disease, Filling, draw_plans, grow_lesions
from claire.commands.phantom.shapes import Grid

HU_RANGE = (-1024, 3071)


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: blur in mm, sharpening, noise in HU at 5 mm, and the noise's correlation in pixels."""

    name: str
    blur_mm: float
    sharpen: float
    noise_hu: float
    grain: float


SMOOTH = Kernel("smooth", 1.0, 0.0, 11.0, 0.9)
MEDIUM = Kernel("medium", 0.7, 0.2, 17.0, 0.55)
SHARP = Kernel("sharp", 0.45, 0.7, 26.0, 0.0)


@dataclass(frozen=True)
class Lesion:
    """The ground truth of a lesion. `id` is its value in the label map; centroid in LPS mm."""

    id: int
    kind: str
    role: str
    side: str
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    mean_hu: float


@dataclass(frozen=True)
class Phantom:
    """A scan and its ground truth. Arrays are (slices, rows, columns), slices from feet to head."""

    disease: Disease
    grid: Grid
    base: np.ndarray
    noise: np.ndarray
    lungs: np.ndarray
    fillings: tuple[Filling, ...]

    @property
    def affine(self) -> np.ndarray:
        """4×4, (column, row, slice, 1) → RAS mm."""
        return self.grid.affine

    def render(self, keep: Collection[int] | None = None) -> np.ndarray:
        """Return int16 HU with the lesions of the ids in `keep` (None: all); anatomy and noise stay the same."""
        hu = self.base.copy()
        for number, filling in enumerate(self.fillings, start=1):
            if keep is None or number in keep:
                part = hu[filling.box]
                part += filling.share * np.maximum(np.float32(FILLED) - part, 0)
        rounded = np.rint(hu + self.noise)
        clipped: np.ndarray = np.clip(rounded, *HU_RANGE)
        return clipped.astype(np.int16)

    @cached_property
    def labels(self) -> np.ndarray:
        """Label map, int16: the id of the lesion that fills a voxel most, 0 outside."""
        labels = np.zeros(self.base.shape, np.int16)
        largest = np.zeros(self.base.shape, np.float32)
        for number, filling in enumerate(self.fillings, start=1):
            larger = filling.share > largest[filling.box]
            labels[filling.box][larger] = number
            np.maximum(largest[filling.box], filling.share, out=largest[filling.box])
        return labels

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """The ground truth of every lesion, in the order of their ids."""
        hu = self.render()
        return tuple(self._describe(hu, number, filling) for number, filling in enumerate(self.fillings, start=1))

    def _describe(self, hu: np.ndarray, number: int, filling: Filling) -> Lesion:
        voxels = np.argwhere(self.labels[filling.box] == number) + [part.start for part in filling.box]
        right, anterior, up = (self.affine @ [*voxels.mean(0)[::-1], 1])[:3]
        return Lesion(
            id=number,
            kind=filling.kind,
            role=filling.role,
            side="right" if filling.side == 1 else "left",
            centroid_lps_mm=(round(-float(right), 2), round(-float(anterior), 2), round(float(up), 2)),
            volume_ml=round(len(voxels) * self.grid.voxel_ml, 3),
            mean_hu=round(float(hu[tuple(voxels.T)].mean()), 1),
        )


def make_patient(
    seed: int,
    disease: Disease,
    size: int = 256,
    slices: int = 48,
    kernel: Kernel = MEDIUM,
    thickness: float | None = None,
    female: bool | None = None,
    visit: int = 0,
    marker: bool = False,
) -> Phantom:
    """Make one scan of the patient `seed`.

    `thickness`: mm, None for slices without gaps (at most 8 mm). `visit` changes position and noise, not the person or
    the lesions. `marker` puts a metal marker on the skin. The same arguments give the same voxels.
    """
    person, lesions, scan = (np.random.default_rng([seed, i]) for i in (1, 2, 3 + visit))
    female = bool(person.random() < 0.5) if female is None else female
    build = draw_build(person, female)
    grid = make_grid(build, size, slices, thickness, tuple(scan.uniform(-6, 6, 3)))
    chest = make_chest(build, grid)
    plans = draw_plans(lesions, disease, 4300.0 * (build.height / 248) ** 3)
    fillings = grow_lesions(lesions, chest, grid, plans)
    if marker:
        _stick_marker(chest.hu, build.half_depth + build.fat, grid)
    lungs = chest.lungs.copy()
    for filling in fillings:
        if filling.kind == "effusion":
            lungs[filling.box][filling.share > 0.5] = 0
    base = _blur(_move(chest, grid, scan), kernel, grid)
    return Phantom(disease, grid, base, _noise(kernel, grid, scan), lungs, tuple(fillings))


def _move(chest: Chest, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Breathing and heartbeat: in some scans of either class the lower slices have double contours."""
    if rng.random() > 0.25:
        return chest.hu
    hu, pixels = chest.hu.copy(), max(1, round(4 / grid.pixel))
    lower = slice(0, int(rng.integers(grid.shape[0] // 4, grid.shape[0] // 2)))
    hu[lower] = 0.6 * hu[lower] + 0.4 * np.roll(hu[lower], pixels, axis=1)
    return hu


def _stick_marker(hu: np.ndarray, skin: float, grid: Grid) -> None:
    spot = np.hypot(grid.x + 70, grid.y + skin + 2) < 7
    hu[np.broadcast_to(spot, hu.shape)] = 2600


def _blur(hu: np.ndarray, kernel: Kernel, grid: Grid) -> np.ndarray:
    sigma = (0, kernel.blur_mm / grid.pixel, kernel.blur_mm / grid.pixel)
    blurred: np.ndarray = ndimage.gaussian_filter(hu, sigma, truncate=3)
    if kernel.sharpen:
        blurred += kernel.sharpen * (blurred - ndimage.gaussian_filter(blurred, (0, 1, 1), truncate=2))
    return blurred


def _noise(kernel: Kernel, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    if kernel.grain:
        noise = ndimage.gaussian_filter(noise, (0, kernel.grain, kernel.grain), truncate=3)
    else:
        noise -= 0.6 * ndimage.gaussian_filter(noise, (0, 1, 1), truncate=2)
    radius = np.hypot(grid.x - grid.x.mean(), grid.y - grid.y.mean()) / (grid.pixel * grid.shape[1] / 2)
    strength = kernel.noise_hu * np.sqrt(5 / grid.thickness) * np.clip(1.2 - 0.6 * radius, 0.5, None)
    scaled: np.ndarray = noise / noise.std() * strength
    return scaled.astype(np.float32)
