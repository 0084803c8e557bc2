"""Pictures: turned as radiology shows them, small, the same bytes each time."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import pytest
from claire.core.contracts.lesions import Lesion
from claire.explain.pictures import overlays
from PIL import Image

from tests.explain.test_lesions import SHAPE, make_view


def make_lesion(rank: int, delta: float, crucial: bool = False) -> Lesion:
    return Lesion(
        id=rank, rank=rank, rank_low=rank, rank_high=rank, crucial=crucial, centroid_lps_mm=(0, 0, 0), volume_ml=1,
        mean_hu=-400, side="right", zone="upper", confluent=False, proposers=("hu",), slice=100, delta=delta,
        delta_probability=0, necessity=delta, sufficiency=delta, delta_by_infill={}, infills_agree=True, shapley=None,
    )  # fmt: skip


def page(lesions: int = 2) -> overlays.Page:
    labels = np.zeros(SHAPE, np.int16)
    labels[2:5, 12:18, 24:30], labels[7:9, 20:26, 6:12] = 1, 2
    ranked = [make_lesion(1, 2.5, crucial=True), make_lesion(2, -0.2)]
    return overlays.Page(
        make_view([(np.s_[2:5, 12:18, 24:30], -300.0)]), labels, ranked[:lesions], range(100, 112), "S1"
    )


@pytest.mark.parametrize(("x", "y", "swap"), list(product([-1, 1], [-1, 1], [False, True])))
def test_right_is_on_the_left_and_anterior_is_up_however_it_is_stored(x: int, y: int, swap: bool) -> None:
    affine = np.diag([4.0 * x, 3.0 * y, 5.0, 1.0])
    marked = np.zeros((6, 8))
    marked[-1 if y > 0 else 0, -1 if x > 0 else 0] = 1  # the right anterior corner
    if swap:
        affine, marked = affine[:, [1, 0, 2, 3]], marked.T
    turn = overlays.orientation(affine)
    assert turn.apply(marked)[0, 0] == 1
    assert turn.edges == ("R", "L", "A", "P")
    assert turn.aspect == pytest.approx(3 / 4)


def test_slices_are_those_of_the_best_lesions() -> None:
    made = page()
    assert overlays.chosen_slices(made.labels, made.lesions) == [2, 7]
    assert overlays.chosen_slices(made.labels, []) == [SHAPE[0] // 2]


def test_pictures_are_small_png_and_repeat() -> None:
    drawn = overlays.draw_lesions(page())
    picture = Image.open(io.BytesIO(drawn))
    assert picture.format == "PNG"
    assert picture.width > picture.height
    assert len(drawn) < 150_000
    assert drawn == overlays.draw_lesions(page())


def test_a_scan_without_lesions_is_drawn_too() -> None:
    assert overlays.draw_lesions(page(lesions=0)).startswith(b"\x89PNG")


def test_maps_are_drawn_row_by_row() -> None:
    values = np.zeros(SHAPE)
    values[2:5, 12:18, 24:30] = 1
    one, two = (overlays.draw_maps(page(), {name: values for name in names}) for names in ("a", "ab"))
    assert Image.open(io.BytesIO(two)).height > 1.5 * Image.open(io.BytesIO(one)).height


def test_the_heading_names_the_ingested_slice_and_its_height() -> None:
    assert page().heading(2) == "slice 102, z +10 mm"
