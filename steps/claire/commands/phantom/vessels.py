"""Vessels and bronchi: trees grown from the hila, drawn with their partial volume."""

from __future__ import annotations

import numpy as np

from claire.commands.phantom.shapes import Grid, Point, axis_distance, bounding_box, soft


def grow_trees(
    height: float, grid: Grid, lungs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the occupancies of vessels, bronchial walls and bronchial lumen; `height`: of the lungs in mm."""
    vessels, walls, lumen = (np.zeros(grid.shape, np.float32) for _ in range(3))
    count = 170
    for side, sign in ((1, -1), (2, 1)):
        hilum = np.array([sign * 36, 0.0, height * (0.54 if side == 1 else 0.58)])
        voxels = np.argwhere(lungs == side)
        if len(voxels) < count:
            continue
        for kind in range(2):
            shift = np.array([0, 9.0 * (1 if kind else -1), -12.0 * kind])
            ends = _points(grid, voxels, count, rng)
            for start, end, radius in _branches(hilum + shift, ends, rng):
                _stamp(vessels, grid, start, end, radius)
        for start, end, radius in _branches(hilum, _points(grid, voxels, 14, rng), rng):
            if radius > 0.75:
                shrunk = start + 0.7 * (end - start)
                _stamp(walls, grid, start, shrunk, 1.25 * radius + 1.0)
                _stamp(lumen, grid, start, shrunk, 1.25 * radius)
    return vessels, walls * 0.75, lumen * 0.9


def _points(grid: Grid, voxels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return random points (x, y, z) in mm within voxels."""
    drawn = voxels[(rng.random(count) * len(voxels)).astype(int)]
    mm: np.ndarray = grid.positions_mm(drawn)[:, ::-1]
    return mm + rng.uniform(-0.5, 0.5, (count, 3)) * [grid.pixel, grid.pixel, grid.spacing]


def _branches(
    root: np.ndarray, ends: np.ndarray, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Grow a tree from `root` to all `ends` by least added path, radii by Murray's law (cubes add up at a fork)."""
    order = np.argsort(np.linalg.norm(ends - root, axis=1), kind="stable")
    size = 1 + 2 * len(ends)
    nodes, path, parents = np.zeros((size, 3)), np.zeros(size), np.full(size, -1)
    nodes[0] = root
    for i, end in enumerate(ends[order]):
        known = 1 + 2 * i
        gap = np.sqrt(((nodes[:known] - end) ** 2).sum(1))
        best = int(np.argmin(gap + 0.45 * path[:known]))
        nodes[known] = (nodes[best] + end) / 2 + rng.normal(0, 0.06 * gap[best], 3)
        nodes[known + 1] = end
        parents[known : known + 2] = best, known
        path[known : known + 2] = path[best] + gap[best] / 2, path[best] + gap[best]
    leaves = np.ones(size)
    for i in range(size - 1, 0, -1):
        leaves[parents[i]] += leaves[i] * (1 if i % 2 else 0.5)
    radius = np.minimum(0.66 * leaves ** (1 / 2.6), 6.5)
    return [(nodes[parents[i]], nodes[i], float(radius[i])) for i in range(1, size)]


def _stamp(field: np.ndarray, grid: Grid, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    """Draw a vessel with its partial volume: thin against pixel and slice, it fades."""
    ends = _point(start), _point(end)
    box = bounding_box(grid, *ends, radius + max(grid.pixel, grid.thickness / 2))
    if box is None:
        return
    distance, _ = axis_distance(grid, box, *ends, grid.thickness)
    length = float(np.linalg.norm(end - start))
    upright = abs(float(end[2] - start[2])) / max(length, 1e-6)
    share = upright + (1 - upright) * min(1.0, 2 * radius / grid.thickness)
    share *= min(1.0, 2.2 * radius / grid.pixel)
    np.maximum(field[box], share * soft(radius - distance, grid.pixel), out=field[box])


def _point(values: np.ndarray) -> Point:
    return values[0], values[1], values[2]
