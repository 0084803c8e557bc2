"""Pictures of a scan at the resolution in which it was prepared: as it is, its lesions, and healed.

Greys are exact: a pixel of CT is shown as its windowed HU, enlarged by the nearest pixel and never blended. Axial
slices: the patient's right on the left of the picture, anterior up. Colours are colour-blind safe, and nothing relies
on colour alone: lesions are numbered by rank, crucial outlines thick.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from claire.core.contracts.lesions import Lesion
from claire.core.contracts.variant import Window
from claire.core.imaging.components import largest
from claire.core.networks.view import apply_window

WINDOW = Window(centre=-600, width=1500)
SLICES = 3
#: Pixels that the longer side of a panel should have, and the gap between panels.
PANEL, GAP = 380, 6
#: Voxels around the lungs that are shown too.
MARGIN = 10
POSITIVE, NEGATIVE = ("#b0803f", "#f6a04d", "#ffe99a"), "#7cc8ff"
BACKGROUND, INK, HALO = "#101418", "#e8edf2", "#000000"
#: Values below this share of a map's maximum are not painted.
FAINT = 0.15
LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))
#: Width of an outline in pixels: of a crucial lesion, of another.
THICK, THIN = 3, 1
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Orientation:
    """How a stored slice is turned for display: `transpose` first, then flips of its rows and columns.

    `edges`: letters at the left, right, top and bottom of the picture. `aspect`: height of a pixel over its width.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    edges: tuple[str, str, str, str]
    aspect: float

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """Return a slice (rows, columns) as displayed."""
        turned = plane.T if self.transpose else plane
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def orientation(affine: np.ndarray) -> Orientation:
    """Return how to turn slices of a grid with this affine, (column, row, slice, 1) → RAS mm.

    The patient's right is displayed on the left, anterior up (superior up where the plane is not axial).
    """
    directions = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    column, row = directions[:, 0], directions[:, 1]
    across = [int(np.argmax(np.abs(axis))) for axis in (column, row)]
    transpose = across[1] < across[0]
    if transpose:
        column, row, across = row, column, across[::-1]
    # Along the picture's x the patient goes from right to left (RAS x falls); along its y from anterior to posterior.
    flip_columns, flip_rows = bool(column[across[0]] > 0), bool(row[across[1]] > 0)
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    width, height = spacing[::-1] if transpose else spacing
    return Orientation(
        transpose, flip_rows, flip_columns, (*LETTERS[across[0]], *LETTERS[across[1]]), float(height / width)
    )


def chosen_slices(labels: np.ndarray, lesions: Sequence[Lesion]) -> list[int]:
    """Return up to `SLICES` slices: where the crucial lesions are largest, then the others by Δ; the middle without."""
    slices: list[int] = []
    for lesion in sorted(lesions, key=lambda lesion: (not lesion.crucial, lesion.id)):
        area = (labels == lesion.id).sum((1, 2))
        best = int(np.argmax(area))
        if area[best] and best not in slices:
            slices.append(best)
    if not slices:
        slices = [labels.shape[0] // 2]
    return slices[:SLICES]


@dataclass(frozen=True)
class Page:
    """What the pictures of a scan show, on its prepared grid.

    `hu`, `healed`: (slices, rows, columns) int16 HU as it is and without lesions; `lungs`: the same shape, 0 outside;
    `labels`: the same shape, id of a lesion; `lesions`: as in `lesions.json`; `affine`: (column, row, slice, 1) → RAS
    mm; `slice_numbers`, `positions_mm`: index of each slice in the ingested scan, and its height.
    """

    hu: np.ndarray
    healed: np.ndarray
    lungs: np.ndarray
    labels: np.ndarray
    lesions: Sequence[Lesion]
    affine: np.ndarray
    slice_numbers: Sequence[int]
    positions_mm: Sequence[float]
    title: str
    healed_title: str
    note: str = ""

    def heading(self, z: int) -> str:
        """Return the title of a slice."""
        return f"slice {self.slice_numbers[z]}, z {self.positions_mm[z]:+.0f} mm".replace("-", "−")


def draw_lesions(page: Page) -> bytes:
    """Return a PNG: up to three slices, each as it is, with the outlines of its lesions, and healed."""
    canvas = Canvas(page)
    rows = chosen_slices(page.labels, page.lesions)
    top = max([lesion.delta for lesion in page.lesions] + [0.1])
    panels = []
    for z in rows:
        plain = canvas.grey(page.hu[z])
        panels.append([
            (plain, page.heading(z)),
            (canvas.outlined(page.labels[z], plain, page.lesions, top), "lesions"),
            (canvas.grey(page.healed[z]), page.healed_title),
        ])  # fmt: skip
    legend = (
        "thick: crucial, thin: not crucial; number: rank by Δ, – below the noise; dashed blue: speaks against; "
        f"dotted: a region, no opacity; colour: Δ from 0 (brown) to {top:.1f} (yellow) in log-odds"
    )
    return canvas.png(panels, legend)


def draw_maps(page: Page, maps: Mapping[str, np.ndarray]) -> bytes:
    """Return a PNG: one row per saliency map (title → (slices, rows, columns), ≥ 0), over the slices of the lesions."""
    canvas, rows = Canvas(page), chosen_slices(page.labels, page.lesions)
    panels = []
    for title, values in maps.items():
        unit = np.clip(values / max(float(np.quantile(values, 0.999)), 1e-9), 0, 1)
        panels.append([
            (canvas.heated(canvas.grey(page.hu[z]), unit[z]), f"{title}: {page.heading(z)}") for z in rows
        ])  # fmt: skip
    return canvas.png(panels, "maps show where the network looked, not what decided; no paint below 15 % of the top")


class Canvas:
    """Panels of one scan: turned, cropped to its lungs and enlarged by whole pixels."""

    def __init__(self, page: Page) -> None:
        self.page, self.turn = page, orientation(page.affine)
        self.box = _lung_box(self.turn.apply(np.asarray((page.lungs > 0).any(0))))
        height, width = (part.stop - part.start for part in self.box)
        tall = height * self.turn.aspect
        scale = max(1, int(PANEL / max(tall, width)))
        self._rows = np.arange(round(tall * scale)) * height // max(1, round(tall * scale))
        self._columns = np.arange(round(width * scale)) * width // max(1, round(width * scale))

    def shown(self, plane: np.ndarray) -> np.ndarray:
        """Return a plane (rows, columns) of the prepared grid as displayed, by the nearest pixel."""
        cut = self.turn.apply(plane)[self.box]
        return np.asarray(cut[self._rows][:, self._columns])

    def grey(self, hu: np.ndarray) -> np.ndarray:
        """Return a slice as (height, width, 3) uint8: exact greys of its windowed HU."""
        shade = np.rint(255 * apply_window(self.shown(hu), WINDOW)).astype(np.uint8)
        return np.repeat(shade[..., None], 3, 2)

    def outlined(self, labels: np.ndarray, picture: np.ndarray, lesions: Sequence[Lesion], top: float) -> np.ndarray:
        """Return a picture with the outlines of the lesions in a plane of labels, and their ranks."""
        shown, result = self.shown(labels), picture.copy()
        scale = LinearSegmentedColormap.from_list("delta", POSITIVE)
        present = [lesion for lesion in lesions if (shown == lesion.id).any()]
        for lesion in sorted(present, key=lambda lesion: lesion.crucial):
            mask = shown == lesion.id
            colour = to_rgb(NEGATIVE) if lesion.delta < 0 else scale(min(1.0, lesion.delta / top))[:3]
            line = _line(mask, THICK if lesion.crucial else THIN, lesion)
            result[ndimage.binary_dilation(line) & ~line & ~mask] = _bytes(to_rgb(HALO))
            result[line] = _bytes(colour)
        image = Image.fromarray(result)
        for lesion in present:
            _number(ImageDraw.Draw(image), shown == lesion.id, lesion)
        return np.asarray(image)

    def heated(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return a picture with a map (rows, columns) in 0…1 over it; where the map is faint, it stays as it is."""
        heat = self.shown(values)
        alpha = np.where(heat > FAINT, 0.25 + 0.5 * heat, 0)[..., None]
        colours = 255 * colormaps["inferno"](heat)[..., :3]
        return np.where(alpha > 0, np.rint((1 - alpha) * picture + alpha * colours), picture).astype(np.uint8)

    def png(self, panels: Sequence[Sequence[tuple[np.ndarray, str]]], legend: str) -> bytes:
        """Return rows of titled panels as a PNG without palette, date or version: the same panels, the same bytes."""
        height, width = panels[0][0][0].shape[:2]
        columns = max(len(row) for row in panels)
        full_width = max(columns * (width + GAP) + GAP, 480)
        title, foot = (
            _wrapped(text, full_width, size)
            for text, size in ((self.page.title, 13), (f"{legend}. {self.page.note}", 11))
        )
        head = 18 * len(title) + 8
        full_height = head + len(panels) * (height + 20) + 15 * len(foot) + 10
        image = Image.new("RGB", (full_width, full_height), BACKGROUND)
        draw = ImageDraw.Draw(image)
        for i, text in enumerate(title):
            draw.text((GAP, 5 + 18 * i), text, INK, _font(13))
        for i, row in enumerate(panels):
            for j, (panel, text) in enumerate(row):
                corner = GAP + j * (width + GAP), head + i * (height + 20) + 16
                draw.text((corner[0], corner[1] - 15), text, INK, _font(11))
                image.paste(Image.fromarray(panel), corner)
                self._letters(draw, corner, panel.shape[:2])
        for i, text in enumerate(foot):
            draw.text((GAP, full_height - 15 * (len(foot) - i) - 5), text, INK, _font(11))
        packed = io.BytesIO()
        image.save(packed, "PNG", optimize=True)
        return packed.getvalue()

    def _letters(self, draw: ImageDraw.ImageDraw, corner: tuple[int, int], shape: tuple[int, int]) -> None:
        (x, y), (height, width) = corner, shape
        places: tuple[tuple[float, float, str], ...] = (
            (x + 3, y + height / 2, "lm"),
            (x + width - 3, y + height / 2, "rm"),
            (x + width / 2, y + height - 2, "mb"),
            (x + width / 2, y + 2, "mt"),
        )
        left, right, top, bottom = self.turn.edges
        for letter, (px, py, anchor) in zip((left, right, bottom, top), places, strict=True):
            draw.text((px, py), letter, INK, _font(12), anchor, stroke_width=1, stroke_fill=HALO)


def _lung_box(inside: np.ndarray) -> Box:
    """Return the box around the lungs of a displayed plane, with `MARGIN`; the whole plane without lungs."""
    if not inside.any():
        return slice(0, inside.shape[0]), slice(0, inside.shape[1])
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    spans = [
        slice(max(0, int(line[0]) - MARGIN), min(size, int(line[-1]) + 1 + MARGIN))
        for line, size in zip((rows, columns), inside.shape, strict=True)
    ]
    return spans[0], spans[1]


def _line(mask: np.ndarray, width: int, lesion: Lesion) -> np.ndarray:
    """Return the inner border of a mask: dashed where the lesion speaks against, dotted for a region."""
    padded = np.pad(mask, 1)
    border: np.ndarray = (padded & ~ndimage.binary_erosion(padded, iterations=width))[1:-1, 1:-1]
    along = np.add.outer(np.arange(mask.shape[0]), np.arange(mask.shape[1]))
    if lesion.delta < 0:
        return np.asarray(border & (along // 5 % 2 == 0))
    if lesion.kind == "region":
        return np.asarray(border & (along // 2 % 3 == 0))
    return border


def _number(draw: ImageDraw.ImageDraw, mask: np.ndarray, lesion: Lesion) -> None:
    rows, columns = np.nonzero(largest(mask))
    text = str(lesion.rank) if lesion.rank is not None else "–"
    inside = columns.max() + 14 < mask.shape[1]
    x, anchor = (columns.max() + 3, "ls") if inside else (columns.min() - 3, "rs")
    draw.text(
        (float(x), float(max(rows.min() + 4, 12))), text, INK, _font(15 if lesion.crucial else 11), anchor,
        stroke_width=2, stroke_fill=HALO,
    )  # fmt: skip


def _bytes(colour: Sequence[float]) -> np.ndarray:
    return np.asarray(np.rint(255 * np.asarray(colour[:3])), np.uint8)


def _wrapped(text: str, width: int, size: int) -> list[str]:
    letters = max(20, int(width / (0.56 * size)))
    return textwrap.wrap(text, letters)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib carries: it has every letter used here."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
