"""Pictures of an explained scan for a radiologist: ranked lesions on the CT, and heat maps.

Drawn as radiology shows axial slices: the patient's right on the left of the picture, anterior up. Colours are
colour-blind safe, and nothing relies on colour alone: ranks are numbered, crucial outlines thick.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from claire.core.contracts.lesions import Lesion
from claire.core.contracts.variant import Window
from claire.core.imaging.components import largest
from claire.core.networks.view import View, apply_window

WINDOW = Window(centre=-600, width=1500)
SLICES = 3
INCHES, DOTS = 2.75, 100
#: Width of one legend letter, rounded up.
LETTER_INCHES = 0.046
POSITIVE, NEGATIVE = ("#b0803f", "#f6a04d", "#ffe99a"), "#7cc8ff"
BACKGROUND, INK = "#101418", "#e8edf2"
#: Values below this share of a map's maximum are not painted.
FAINT = 0.15
LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


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


def chosen_slices(labels: np.ndarray, ranked: Sequence[Lesion]) -> list[int]:
    """Return up to `SLICES` slices of a view: where the best ranked lesions are largest, best first."""
    slices: list[int] = []
    for lesion in ranked:
        area = (labels == lesion.id).sum((1, 2))
        best = int(np.argmax(area))
        if area[best] and best not in slices:
            slices.append(best)
    if not slices:
        slices = [labels.shape[0] // 2]
    return slices[:SLICES]


@dataclass(frozen=True)
class Page:
    """What the pictures of a scan show.

    `labels`: (slices, size, size), label = id of a lesion; `lesions`: as in `lesions.json`, by rank; `slice_numbers`:
    index of each slice in the ingested scan.
    """

    view: View
    labels: np.ndarray
    lesions: Sequence[Lesion]
    slice_numbers: Sequence[int]
    title: str
    note: str = ""

    def heading(self, z: int) -> str:
        """Return the title above slice `z` of the view."""
        position = float((self.view.affine @ [0, 0, z, 1])[2])
        return f"slice {self.slice_numbers[z]}, z {position:+.0f} mm".replace("-", "−")


def draw_lesions(page: Page) -> bytes:
    """Return a PNG: up to three slices with the outlines of ranked lesions, coloured by Δ, crucial ones thick."""

    turn, rows = orientation(page.view.affine), chosen_slices(page.labels, page.lesions)
    figure, axes = _figure(1, len(rows))
    top = max([lesion.delta for lesion in page.lesions] + [0.1])
    colours = ScalarMappable(Normalize(0, top), LinearSegmentedColormap.from_list("delta", POSITIVE))
    for axis, z in zip(axes[0], rows, strict=True):
        _grey(axis, page, z, turn)
        for lesion in reversed(page.lesions):
            _outline(axis, turn.apply(page.labels[z] == lesion.id), lesion, colours)
        axis.set_title(page.heading(z), fontsize=7, color=INK, pad=3)
    _colour_bar(figure, axes[0], colours, "Δ, log-odds")
    _title_and_legend(figure, page, "thick: crucial, thin: not crucial, dashed blue: speaks against; number: rank by Δ")
    return _png(figure)


def draw_maps(page: Page, maps: Mapping[str, np.ndarray]) -> bytes:
    """Return a PNG: one row per saliency map (name → (slices, size, size), ≥ 0), over the slices of `draw_lesions`."""

    turn, rows = orientation(page.view.affine), chosen_slices(page.labels, page.lesions)
    figure, axes = _figure(len(maps), len(rows))
    heat = ScalarMappable(Normalize(0, 1), "inferno")
    for row_axes, (name, values) in zip(axes, maps.items(), strict=True):
        unit = np.clip(values / max(float(np.quantile(values, 0.999)), 1e-9), 0, 1)
        for axis, z in zip(row_axes, rows, strict=True):
            _grey(axis, page, z, turn)
            shown = turn.apply(unit[z])
            axis.imshow(
                heat.to_rgba(shown, alpha=np.where(shown > FAINT, 0.25 + 0.5 * shown, 0)),
                aspect=turn.aspect,
                interpolation="bilinear",
            )
            axis.set_title(f"{name}: {page.heading(z)}", fontsize=6.5, color=INK, pad=3)
    _colour_bar(figure, axes.ravel(), heat, "share of the map's top")
    _title_and_legend(figure, page, "maps show where the network looked, not what decided")
    return _png(figure)


def _figure(lines: int, columns: int) -> tuple[Any, np.ndarray]:

    figure = Figure((INCHES * max(columns, 2) + 0.6, INCHES * 1.02 * lines + 0.75), dpi=DOTS, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False)
    height = figure.get_figheight()
    figure.subplots_adjust(0.01, 0.36 / height, 1 - 0.62 / figure.get_figwidth(), 1 - 0.46 / height, 0.03, 0.12)
    return figure, axes


def _grey(axis: Any, page: Page, z: int, turn: Orientation) -> None:
    image = turn.apply(apply_window(page.view.hu[z], WINDOW))
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=turn.aspect, interpolation="bilinear")
    axis.axis("off")
    for letter, position_xy in zip(turn.edges, ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02)), strict=True):
        sides = {"ha": "left" if position_xy[0] < 0.1 else "right" if position_xy[0] > 0.9 else "center"}
        ends = {"va": "top" if position_xy[1] > 0.9 else "bottom" if position_xy[1] < 0.1 else "center"}
        axis.text(*position_xy, letter, transform=axis.transAxes, fontsize=8, color=INK, **sides, **ends, **_halo())


def _outline(axis: Any, mask: np.ndarray, lesion: Lesion, colours: Any) -> None:
    if not mask.any():
        return
    against = lesion.delta < 0
    colour = NEGATIVE if against else colours.to_rgba(lesion.delta)
    width = 2.6 if lesion.crucial else 1.0
    padded = np.pad(mask.astype(float), 1)
    extent = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
    for line_width, line_colour in ((width + 1.2, "#000000"), (width, colour)):
        axis.contour(
            *extent,
            padded,
            [0.5],
            colors=[line_colour],
            linewidths=line_width,
            linestyles="dashed" if against else "solid",
        )
    rows, columns = np.nonzero(largest(mask))
    on_right = columns.max() + 1 < mask.shape[1] * 0.9
    label_xy = (columns.max() + 1.5 if on_right else columns.min() - 1.5, rows.min())
    axis.text(
        *label_xy, str(lesion.rank), fontsize=9 if lesion.crucial else 7, color=colour, clip_on=True,
        fontweight="bold" if lesion.crucial else "normal", ha="left" if on_right else "right", va="bottom", **_halo(),
    )  # fmt: skip
    axis.set_xlim(-0.5, mask.shape[1] - 0.5)
    axis.set_ylim(mask.shape[0] - 0.5, -0.5)


def _halo() -> dict[str, Any]:

    return {"path_effects": [withStroke(linewidth=2, foreground="#000000")]}


def _colour_bar(figure: Any, axes: Any, colours: Any, label: str) -> None:
    width = figure.get_figwidth()
    box = figure.add_axes((1 - 0.55 / width, 0.2, 0.09 / width, 0.6))
    bar = figure.colorbar(colours, cax=box)
    bar.outline.set_edgecolor(INK)
    bar.ax.tick_params(labelsize=6, colors=INK, length=2)
    bar.set_label(label, fontsize=6.5, color=INK)


def _title_and_legend(figure: Any, page: Page, legend: str) -> None:
    height = figure.get_figheight()
    figure.text(0.01, 1 - 0.06 / height, page.title, fontsize=8, color=INK, va="top")
    legend_text = textwrap.fill(f"{legend}. {page.note}", int(figure.get_figwidth() / LETTER_INCHES))
    figure.text(0.01, 0.06 / height, legend_text, fontsize=6.2, color=INK, va="bottom")


def _png(figure: Any) -> bytes:
    """Encode with a palette, to keep it small, and without date or version, so that the bytes are reproducible."""

    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    packed = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        packed, "PNG", optimize=True
    )
    return packed.getvalue()
