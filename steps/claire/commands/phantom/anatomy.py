"""A healthy chest as HU: body, bones, mediastinum, lungs with vessels, airways and fissures, and the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from claire.commands.phantom.shapes import Grid, ellipse, paint, soft, tube, waves
from claire.commands.phantom.vessels import grow_trees

SOFT, FAT, AIR, LUNG_WALL = 45.0, -95.0, -1000.0, 30.0


@dataclass(frozen=True)
class Build:
    """The proportions of one person in mm; drawn once, the same in every scan of that person."""

    half_width: float
    half_depth: float
    height: float
    fat: float
    dome: tuple[float, float]
    heart: tuple[float, float, float]
    heart_scale: float
    parenchyma: float
    tree_seed: int


@dataclass(frozen=True)
class Chest:
    """A healthy chest on a grid; arrays are (slices, rows, columns).

    `hu`: float32 HU before blur and noise; `lungs`: uint8 0/1/2; `depth`: mm from the chest wall inside the lungs;
    `open`: share of a voxel that an opacity may fill (airways excluded).
    """

    hu: np.ndarray
    lungs: np.ndarray
    depth: np.ndarray
    open: np.ndarray


def draw_build(rng: np.random.Generator, female: bool) -> Build:
    """Return random proportions of one person."""
    scale = rng.uniform(0.93, 1.07) * (0.94 if female else 1.0)
    return Build(
        half_width=133 * scale * rng.uniform(0.96, 1.04),
        half_depth=92 * scale * rng.uniform(0.94, 1.06),
        height=248 * scale * rng.uniform(0.92, 1.08),
        fat=rng.uniform(9, 26),
        dome=(rng.uniform(0.27, 0.36), rng.uniform(0.22, 0.31)),
        heart=(rng.uniform(14, 24), rng.uniform(-34, -26), rng.uniform(0.27, 0.33)),
        heart_scale=scale * rng.uniform(0.92, 1.12),
        parenchyma=rng.uniform(-872, -838),
        tree_seed=int(rng.integers(2**31)),
    )


def make_grid(build: Build, size: int, slices: int, thickness: float | None, shift: tuple[float, float, float]) -> Grid:
    """Return the grid of a scan of the whole chest; `thickness` None: slices without gaps, of at most 8 mm."""
    extent = build.height + 26
    spacing = round(extent / slices, 3)
    field = 2 * (build.half_width + build.fat + 34)
    pixel = round(field / size, 4)
    centred = (np.arange(size) - (size - 1) / 2) * pixel
    return Grid(
        x=np.asarray(centred + shift[0], np.float32).reshape(1, 1, -1),
        y=np.asarray(centred + 16 + shift[1], np.float32).reshape(1, -1, 1),
        z=np.asarray(np.arange(slices) * spacing - 10 + shift[2], np.float32).reshape(-1, 1, 1),
        pixel=pixel,
        spacing=spacing,
        thickness=min(spacing, 8.0) if thickness is None else thickness,
    )


def make_chest(build: Build, grid: Grid) -> Chest:
    """Return a healthy chest on `grid`; the same person on any grid."""
    rng = np.random.default_rng(build.tree_seed)
    x, y, z = grid.x, grid.y, grid.z
    u = z / build.height
    cavity = _cavity(build, x, y, u)
    hu = np.full(grid.shape, AIR, np.float32)
    _table(hu, build, grid)
    _wall(hu, build, grid, u, cavity, rng)
    _abdomen(hu, build, grid, cavity, rng)
    organs = _mediastinum(hu, build, grid, u, cavity)
    inside = _lung_occupancy(build, grid, u, cavity, organs)
    side = np.broadcast_to(np.where(x < 0, 1, 2).astype(np.uint8), grid.shape)
    lungs = np.where(inside > 0.5, side, 0).astype(np.uint8)
    air = _parenchyma(build, grid, u, rng)
    vessels, walls, lumen = grow_trees(build.height, grid, lungs, rng)
    paint(air, vessels, SOFT)
    paint(air, walls, LUNG_WALL)
    hu += inside * (air - hu)
    paint(hu, lumen, -985.0)
    _trachea(hu, build, grid)
    _bones(hu, build, grid, cavity)
    return Chest(hu, lungs, cavity, (inside * (1 - lumen)).astype(np.float32))


def _cavity(build: Build, x: np.ndarray, y: np.ndarray, u: np.ndarray) -> np.ndarray:
    narrow = np.sqrt(1 - np.clip((u - 0.45) / 0.66, 0, 0.95) ** 2.6) * (1 - 0.10 * np.clip(0.35 - u, 0, 1))
    return ellipse(x, y, build.half_width * narrow, build.half_depth * narrow**0.6, 2.35)


def _table(hu: np.ndarray, build: Build, grid: Grid) -> None:
    bed = build.half_depth + build.fat + 26
    curve = grid.y - bed - 16 + (grid.x / 210) ** 2 * 34
    plate = soft(2.2 - np.abs(curve), grid.pixel) * soft(195 - np.abs(grid.x), grid.pixel)
    pad = soft(6 - np.abs(curve + 9), grid.pixel) * soft(185 - np.abs(grid.x), grid.pixel)
    paint(hu, np.broadcast_to(pad, hu.shape), -930)
    paint(hu, np.broadcast_to(plate, hu.shape), -180)


def _wall(
    hu: np.ndarray, build: Build, grid: Grid, u: np.ndarray, cavity: np.ndarray, rng: np.random.Generator
) -> None:
    """Skin, subcutaneous fat, muscle with fat planes between."""
    x, y = grid.x, grid.y
    wide = 1 + 0.10 * np.clip((u - 0.75) / 0.25, 0, 1) ** 2
    deep = 1 - 0.06 * np.clip((u - 0.75) / 0.25, 0, 1)
    skin = ellipse(x, y, (build.half_width + build.fat + 24) * wide, (build.half_depth + build.fat + 21) * deep, 2.5)
    muscle = ellipse(x, y - 2, (build.half_width + 21) * wide, (build.half_depth + 16) * deep, 2.5) + 2.5 * waves(
        grid, rng, 45, 3
    )
    paint(hu, soft(skin, grid.pixel), 5)
    paint(hu, soft(skin - 2.2, grid.pixel), FAT)
    fibres = 50 + 9 * waves(grid, rng, 22, 8)
    hu += soft(muscle, grid.pixel) * (fibres - hu)
    planes = soft(1.1 - np.abs(muscle - 7 - 3 * waves(grid, rng, 60, 3)), grid.pixel)
    paint(hu, planes * (cavity < -3) * 0.7, FAT)


def _domes(build: Build, grid: Grid) -> np.ndarray:
    """Height of the diaphragm in mm, (1, rows, columns)."""
    right = build.dome[0] - 0.34 * (
        np.abs((grid.x + 68) / 78) ** 2.6 + np.abs((grid.y + 14) / (0.95 * build.half_depth)) ** 2.6
    )
    left = build.dome[1] - 0.30 * (
        np.abs((grid.x - 70) / 78) ** 2.6 + np.abs((grid.y + 10) / (0.95 * build.half_depth)) ** 2.6
    )
    height: np.ndarray = build.height * np.maximum(np.where(grid.x < 0, right, left), 0.0)
    return height


def _abdomen(hu: np.ndarray, build: Build, grid: Grid, cavity: np.ndarray, rng: np.random.Generator) -> None:
    """Fill the cavity: mediastinal fat above, liver, spleen and stomach under the domes."""
    paint(hu, soft(cavity + 1, grid.pixel), FAT)
    neck = soft(grid.z - build.height + 4, grid.spacing) * soft(cavity - 2, grid.pixel)
    hu += neck * (20 + 45 * np.tanh(2 * waves(grid, rng, 40, 5)) - hu)
    below = soft(_domes(build, grid) - grid.z, grid.thickness) * soft(cavity - 1, grid.pixel)
    fatty = soft(waves(grid, rng, 70, 5) * 20 - 14, 4)
    liver = 58 + 3 * waves(grid, rng, 40, 5)
    left = soft(grid.x - 10 - 22 * np.sin(grid.y / 38) - grid.z / 3, 6)
    organs = liver + left * (46 - 140 * fatty - liver)
    hu += below * (organs - hu)
    bubble = ellipse(grid.x - 62, grid.y + 42, 24, 15) - np.abs(grid.z - 0.04 * build.height) * 0.8
    if rng.random() < 0.5:
        paint(hu, soft(bubble, grid.pixel) * (below > 0.5), -960)


def _mediastinum(hu: np.ndarray, build: Build, grid: Grid, u: np.ndarray, cavity: np.ndarray) -> np.ndarray:
    """Paint heart and great vessels; return the distance in mm from what lung does not enter, positive inside."""
    x, y, z = grid.x, grid.y, grid.z
    height, scale, depth = build.height, build.heart_scale, build.half_depth
    cx, cy, cu = build.heart
    heart_r = np.sqrt(
        ((x - cx) + 0.35 * (y - cy)) ** 2 / (58 * scale) ** 2
        + (y - cy) ** 2 / (46 * scale) ** 2
        + (z - cu * height) ** 2 / (62 * scale) ** 2
    )
    heart = (1 - heart_r) * 52 * scale
    arch = height * 0.74
    tubes = [
        ((-8, -28, 0.42 * height), (-14, -34, arch - 12), 15.0),
        ((-14, -34, arch - 12), (4, -8, arch), 14.0),
        ((4, -8, arch), (20, 0.42 * depth, arch - 12), 13.0),
        ((20, 0.42 * depth, arch - 12), (20, 0.52 * depth, -20.0), 12.5),
        ((-26, -20, 0.45 * height), (-24, -16, 0.95 * height), 8.5),
        ((12, -30, 0.45 * height), (14, -20, 0.60 * height), 13.0),
        ((14, -20, 0.60 * height), (-30, -4, 0.55 * height), 10.0),
        ((14, -20, 0.60 * height), (40, 2, 0.60 * height), 10.0),
        ((6, 0.36 * depth, -20.0), (2, 0.30 * depth, height), 7.0),
        ((8, -14, arch), (16, -6, 1.2 * height), 5.0),
        ((-2, -16, arch), (-14, -10, 1.2 * height), 6.0),
    ]
    solid = np.full(grid.shape, -60, np.float32)
    for start, end, radius in tubes:
        tube(solid, grid, start, end, radius)
    paint(hu, soft(solid, grid.pixel) * (cavity > 0), 42)
    paint(hu, soft(heart, grid.pixel) * (cavity > 2), 44)
    core = 10 + 15 * np.exp(-(((y + 4) / 40) ** 2)) + 7 * np.clip((u - 0.7) / 0.2, 0, 1)
    centre = core - np.abs(x - 2 - 3 * np.sin(4 * u))
    spine = 23 - np.hypot(x, (y - 0.86 * depth) * 0.85)
    distance: np.ndarray = np.maximum.reduce([centre + 0 * z, heart + 4, solid + 2.5, spine + 0 * z])
    return distance


def _lung_occupancy(build: Build, grid: Grid, u: np.ndarray, cavity: np.ndarray, organs: np.ndarray) -> np.ndarray:
    apex = np.abs(grid.x) - 46
    reach = 150 * np.sqrt(np.clip(1 - np.clip((u - 0.4) / 0.6, 0, 1) ** 2.2, 0, 1))
    dome = reach - np.hypot(apex, grid.y - 12)
    plane = np.minimum(np.minimum(cavity - 3, -organs), np.where(u > 0.4, dome, 99))
    above = np.minimum(grid.z - _domes(build, grid), np.minimum(grid.z, build.height - grid.z))
    occupancy: np.ndarray = soft(plane, grid.pixel) * soft(above, grid.thickness)
    return occupancy


def _parenchyma(build: Build, grid: Grid, u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the HU of lung without large vessels: gravity, texture, fissures."""
    texture = 10 * waves(grid, rng, 55, 6) + 10 * waves(grid, rng, 20, 10)
    air = build.parenchyma + 32 * grid.y / build.half_depth - 10 * u + texture
    tilt = rng.uniform(-6, 6, 2)
    major = (grid.z - build.height * 0.52 - 0.85 * grid.y) * 0.76 + np.where(grid.x < 0, tilt[0], tilt[1])
    minor = np.where((grid.x < 0) & (grid.y < -5), grid.z - build.height * 0.52 + tilt[1], 99)
    line = np.maximum(soft(0.7 - np.abs(major), grid.thickness / 2), soft(0.7 - np.abs(minor), grid.thickness / 2))
    parenchyma: np.ndarray = air + 55 * line
    return parenchyma


def _trachea(hu: np.ndarray, build: Build, grid: Grid) -> None:
    carina = (-1.0, 12.0, build.height * 0.64)
    airways = [
        ((0.0, 6.0, build.height * 1.2), carina, 8.5),
        (carina, (-36.0, 2.0, build.height * 0.55), 6.5),
        (carina, (36.0, 2.0, build.height * 0.58), 5.8),
    ]
    for extra, value in ((1.8, 35.0), (0.0, -985.0)):
        field = np.full(grid.shape, -60, np.float32)
        for start, end, radius in airways:
            tube(field, grid, start, end, radius + extra)
        paint(hu, soft(field, grid.pixel), value)


def _bones(hu: np.ndarray, build: Build, grid: Grid, cavity: np.ndarray) -> None:
    """Ribs with cartilage, vertebrae with discs and canal, sternum, scapulae, clavicles."""
    x, y, z = grid.x, grid.y, grid.z
    angle = np.abs(np.arctan2(x, y - 4)) / np.pi
    drop = (z + 78 * angle**1.15) % 25.5 - 12.75
    section = np.sqrt((drop / 6.2) ** 2 + ((-cavity - 5.2) / 4.4) ** 2)
    bony = soft((1 - section) * 4.6, grid.pixel) * (angle > 0.11)
    cortex = 230 + 430 * np.clip((section - 0.55) / 0.45, 0, 1)
    hu += bony * (np.where(angle < 0.80, cortex, 110) * (angle < 0.93) + 60 * (angle >= 0.93) - hu)
    depth = build.half_depth
    body = ellipse(x, y - 0.86 * depth, 19, 16, 2.3)
    disc = soft(3.2 - np.abs(z % 24 - 12), grid.thickness)
    rim = 190 + 330 * np.clip(1 - body / 3.5, 0, 1)
    vertebra = soft(body, grid.pixel)
    hu += vertebra * (rim * (1 - disc) + 75 * disc - hu)
    arch = np.maximum(
        ellipse(x, y - 0.86 * depth - 27, 17, 13), ellipse(np.abs(x) - 22, y - 0.86 * depth - 20, 16, 5.5)
    )
    spinous = ellipse(x, y - 0.86 * depth - 36, 3.8, 11)
    paint(hu, soft(np.maximum(arch, spinous), grid.pixel) * (0.45 + 0.55 * (z % 24 > 7)), 380)
    paint(hu, np.broadcast_to(soft(ellipse(x, y - 0.86 * depth - 25, 9.5, 8), grid.pixel), hu.shape), 25)
    plate = ellipse(x, -cavity - 6.5, 20, 5.0) * (y < 0) - 40.0 * (y >= 0)
    high = soft(z - 0.30 * build.height, grid.spacing) * soft(0.86 * build.height - z, grid.spacing)
    sternum = soft(plate, grid.pixel) * high
    hu += sternum * (170 + 240 * np.clip(1 - plate / 2.5, 0, 1) - hu)
    _scapulae(hu, build, grid)


def _scapulae(hu: np.ndarray, build: Build, grid: Grid) -> None:
    """Paint shoulder blades and collar bones."""
    for sign in (-1, 1):
        w, d = sign * build.half_width, build.half_depth
        blade = (
            ((0.62 * w, 0.97 * d + 6), (0.98 * w, 0.52 * d + 6)),
            ((0.80 * w, 0.86 * d + 6), (0.92 * w, 0.93 * d + 8)),
        )
        field = np.full(grid.shape, -60, np.float32)
        for (x0, y0), (x1, y1) in blade:
            for low, high in ((0.5, 0.66), (0.7, 0.86), (0.85, 1.0)):
                tube(field, grid, (x0, y0, low * build.height), (x1, y1, high * build.height), 3.4)
        inner = (sign * 24, -0.72 * d, 0.88 * build.height)
        tube(field, grid, inner, (0.95 * w, -0.2 * d, 1.02 * build.height), 6.0)
        hu += soft(field, grid.pixel) * (250 + 330 * np.clip(1 - field / 2, 0, 1) - hu)
