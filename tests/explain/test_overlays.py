"""Pictures: exact greys, turned as radiology shows them, outlines on the lesion, the same bytes each time."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import pytest
from claire.core.contracts.lesions import Lesion
from claire.core.networks.view import apply_window
from claire.explain.pictures import overlays
from PIL import Image

from tests.support.lungs import SHAPE, affine, two_lungs
from tests.support.report_inputs import lesion

FIRST, SECOND = np.s_[2:5, 12:18, 24:30], np.s_[7:9, 20:26, 6:12]


def make_lesion(rank: int, delta: float, crucial: bool = False, **changes: object) -> Lesion:
    fields: dict[str, object] = {"crucial": crucial, "delta": delta, "kind": "lesion"}
    return lesion(rank - 1, np.random.default_rng(0)).model_copy(update=fields | changes)


def page(lesions: int = 2, **changes: object) -> overlays.Page:
    hu, lungs = two_lungs((FIRST, -300.0), (SECOND, -400.0))
    hu = hu + np.random.default_rng(0).normal(0, 30, hu.shape)
    labels = np.zeros(SHAPE, np.int16)
    labels[FIRST], labels[SECOND] = 1, 2
    fields: dict[str, object] = {
        "hu": hu.astype(np.int16), "healed": two_lungs()[0].astype(np.int16), "lungs": lungs, "labels": labels,
        "lesions": [make_lesion(1, 2.5, crucial=True), make_lesion(2, -0.2)][:lesions], "affine": affine(),
        "slice_numbers": range(100, 112), "positions_mm": [5.0 * z for z in range(12)], "title": "S1",
        "healed_title": "without the crucial lesions: p = 0.08", "note": "One of two opacities decides.",
    }  # fmt: skip
    return overlays.Page(**(fields | changes))  # type: ignore[arg-type]


def opened(png: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(png))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return np.asarray(picture)


@pytest.mark.parametrize(("x", "y", "swap"), list(product([-1, 1], [-1, 1], [False, True])))
def test_right_is_on_the_left_and_anterior_is_up_however_it_is_stored(x: int, y: int, swap: bool) -> None:
    stored = np.diag([4.0 * x, 3.0 * y, 5.0, 1.0])
    marked = np.zeros((6, 8))
    marked[-1 if y > 0 else 0, -1 if x > 0 else 0] = 1  # the right anterior corner
    if swap:
        stored, marked = stored[:, [1, 0, 2, 3]], marked.T
    turn = overlays.orientation(stored)
    assert turn.apply(marked)[0, 0] == 1
    assert turn.edges == ("R", "L", "A", "P")
    assert turn.aspect == pytest.approx(3 / 4)


def test_slices_are_those_of_the_crucial_lesions_first() -> None:
    made = page()
    assert overlays.chosen_slices(made.labels, made.lesions) == [2, 7]
    turned = [make_lesion(1, 2.5), make_lesion(2, 2.0, crucial=True)]
    assert overlays.chosen_slices(made.labels, turned) == [7, 2]
    assert overlays.chosen_slices(made.labels, []) == [SHAPE[0] // 2]


def test_greys_are_the_windowed_hu_and_nothing_else() -> None:
    made = page()
    canvas = overlays.Canvas(made)
    grey = canvas.grey(made.hu[3])
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    exact = np.rint(255 * apply_window(made.hu[3], overlays.WINDOW)).astype(np.uint8)
    assert set(np.unique(grey)) <= set(np.unique(exact))
    assert np.array_equal(grey[..., 0], canvas.shown(exact))


def test_colour_lies_on_outlines_and_numbers_alone() -> None:
    made = page()
    canvas = overlays.Canvas(made)
    plain = canvas.grey(made.hu[3])
    drawn = canvas.outlined(made.labels[3], plain, made.lesions, 2.5)
    changed = (drawn != plain).any(-1)
    inside = canvas.shown(made.labels[3]) == 1
    coloured = (drawn[..., 0].astype(int) - drawn[..., 2]) > 20
    assert coloured.any()
    assert (inside | ~coloured).all()
    assert changed.mean() < 0.2


def test_crucial_outlines_are_thicker_and_lines_differ_by_kind() -> None:
    made = page()
    canvas, counts = overlays.Canvas(made), {}
    plain = canvas.grey(made.hu[3])
    kinds = {
        "crucial": make_lesion(1, 2.5, crucial=True), "other": make_lesion(1, 2.5),
        "region": make_lesion(1, 2.5, kind="region"), "against": make_lesion(1, -2.5),
    }  # fmt: skip
    for name, one in kinds.items():
        drawn = canvas.outlined(made.labels[3], plain, [one], 2.5)
        counts[name] = int(((canvas.shown(made.labels[3]) == 1) & (drawn != plain).any(-1)).sum())
    assert counts["crucial"] > 1.5 * counts["other"]
    assert counts["region"] < 0.7 * counts["other"]
    assert counts["against"] < 0.8 * counts["other"]


def test_pixels_keep_their_shape_where_rows_and_columns_differ() -> None:
    tall = affine() @ np.diag([1.0, 2.0, 1.0, 1.0])
    heights = [overlays.Canvas(page(affine=one)).grey(page().hu[3]).shape for one in (affine(), tall)]
    assert heights[1][0] / heights[1][1] == pytest.approx(2 * heights[0][0] / heights[0][1], rel=0.05)


def test_pictures_are_small_png_of_three_columns_and_repeat() -> None:
    drawn = overlays.draw_lesions(page())
    picture = opened(drawn)
    assert picture.shape[1] > picture.shape[0]
    assert len(drawn) < 150_000
    assert drawn == overlays.draw_lesions(page())


def test_a_scan_without_lesions_or_lungs_is_drawn_too() -> None:
    assert opened(overlays.draw_lesions(page(lesions=0))).size
    nothing = np.zeros(SHAPE, np.uint8)
    assert opened(overlays.draw_lesions(page(lungs=nothing, labels=nothing.astype(np.int16)))).size


def test_maps_are_drawn_row_by_row_and_faint_values_not_at_all() -> None:
    values = np.zeros(SHAPE)
    values[FIRST] = 1
    one, two = (opened(overlays.draw_maps(page(), {name: values for name in names})) for names in ("a", "ab"))
    assert two.shape[0] > 1.5 * one.shape[0]
    made = page()
    canvas = overlays.Canvas(made)
    plain = canvas.grey(made.hu[3])
    faint = canvas.heated(plain, np.full(SHAPE[1:], 0.1))
    assert np.array_equal(plain, faint)
    assert not np.array_equal(plain, canvas.heated(plain, values[3]))


def test_the_heading_names_the_ingested_slice_and_its_height() -> None:
    assert page().heading(2) == "slice 102, z +10 mm"
    assert page(positions_mm=[-5.0] * 12).heading(0) == "slice 100, z −5 mm"
