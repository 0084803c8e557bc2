"""Stacks of slices: order, checks, affine, tilt."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.command.errors import RejectedScan
from claire.core.sources.dicom import Plane
from claire.ingest.geometry import make_stack, straighten

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def planes(heights: list[float], orientation: tuple[float, ...] = AXIAL, shear: float = 0.0) -> list[Plane]:
    return [Plane((0.0, shear * z, float(z)), orientation, (0.8, 0.7), 1.0, 0.0) for z in heights]


def test_slices_are_sorted_along_the_normal() -> None:
    stack = make_stack(planes([4, 0, 2, 6]))
    assert stack.order.tolist() == [1, 2, 0, 3]
    assert stack.spacing_mm == pytest.approx((2.0, 0.8, 0.7))


def test_prone_slices_are_sorted_along_their_own_normal() -> None:
    stack = make_stack(planes([0, 2, 4], orientation=(-1.0, 0, 0, 0, 1.0, 0)))
    assert stack.normal[2] == -1
    assert stack.order.tolist() == [2, 1, 0]


def test_the_affine_turns_lps_into_ras() -> None:
    affine = make_stack([Plane((10.0, 20, z), AXIAL, (0.8, 0.7), 1, 0) for z in (30.0, 32.0)]).affine
    assert affine == pytest.approx(np.array([[-0.7, 0, 0, -10], [0, -0.8, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]]))


def test_rounded_positions_are_even() -> None:
    heights = np.round(np.arange(200) * 0.625, 1)
    assert make_stack(planes(heights.tolist())).spacing_mm[0] == pytest.approx(0.625, abs=1e-3)


@pytest.mark.parametrize(
    ("reason", "heights"),
    [
        ("missing_slices", [0, 2, 4, 8, 10]),
        ("missing_slices", [0, 1, 2, 3, 7, 8, 9]),
        ("coincident_slices", [0, 2, 2, 4, 6]),
        ("coincident_slices", [0, 0, 0]),
        ("inconsistent", [0, 2, 4, 7.2, 9.2]),
        ("inconsistent", [0, 2, 3.2, 5.2]),
    ],
)
def test_uneven_stacks_are_refused(reason: str, heights: list[float]) -> None:
    with pytest.raises(RejectedScan) as caught:
        make_stack(planes(heights))
    assert caught.value.reason == reason


def test_slices_shifted_in_plane_are_refused() -> None:
    made = planes([0, 2, 4, 6])
    made[2] = Plane((5.0, 0.0, 4.0), AXIAL, (0.8, 0.7), 1.0, 0.0)
    with pytest.raises(RejectedScan, match="in plane"):
        make_stack(made)


@pytest.mark.parametrize(
    "orientation", [(0.0, 1.0, 0, 0, 0, -1.0), (0.0,) * 6, (1.0, 0, 0, 1.0, 0, 0), (9.0, 0, 0, 0, 9.0, 0)]
)
def test_directions_that_are_no_axial_pair_are_refused(orientation: tuple[float, ...]) -> None:
    with pytest.raises(RejectedScan, match="inconsistent"):
        make_stack(planes([0, 2, 4], orientation))


def test_a_missing_position_is_refused() -> None:
    with pytest.raises(RejectedScan, match="missing"):
        make_stack([*planes([0, 2]), Plane(None, AXIAL, (1.0, 1.0), 1, 0)])


def test_a_gantry_tilt_is_measured() -> None:
    assert make_stack(planes([0, 2, 4], shear=np.tan(np.radians(12)))).tilt_degrees == pytest.approx(12)
    assert not make_stack(planes([0, 2, 4], shear=0.001)).tilted


def test_straightening_keeps_every_point_in_its_place() -> None:
    tilted = make_stack(planes([0, 3, 6, 9], shear=0.31))
    data = np.full((4, 20, 12), -1000, np.int16)
    data[:, 8:12, 5:8] = 100
    straight, stack = straighten(data, tilted)
    assert not stack.tilted
    assert straight.shape[1] > 20
    for number in range(4):
        assert centre(straight, stack.affine, number) == pytest.approx(centre(data, tilted.affine, number), abs=0.05)


def centre(data: np.ndarray, affine: np.ndarray, number: int) -> np.ndarray:
    """Centre of mass of what is denser than air in a slice, RAS mm."""
    weight = np.clip(data[number] + 1000.0, 0, None)
    rows, columns = np.indices(weight.shape)
    place = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum(), number, 1]
    return (affine @ place)[:3]
