"""Candidates: whole lesions on the prepared grid, regions beside them, described rightly in any orientation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from claire.explain.lesions.candidates import find_candidates, removal_labels, renumbered, whole_lesions
from claire.explain.lesions.describe import describe, zones

from tests.support.lungs import SHAPE, SPOT, VOXEL_ML, affine, case_of, two_lungs

LARGE = np.s_[5:11, 10:26, 6:14]


def test_whole_lesions_come_by_size_and_the_smaller_ones_are_the_rest() -> None:
    case = case_of(*two_lungs((SPOT, -400.0), (LARGE, -300.0)))
    both, one = find_candidates(case, {}, 16), find_candidates(case, {}, 1)
    assert (len(both), both.left_out, both.everything) == (2, 0, frozenset({1, 2, 3}))
    assert both.labels[7, 15, 10] == 1
    assert both.labels[3, 14, 26] == 2
    assert (len(one), one.left_out) == (1, 1)
    assert one.labels[3, 14, 26] == one.rest == 2
    assert all(both.kind(label) == "lesion" for label in (1, 2))


def test_a_lesion_across_zones_stays_whole_and_its_parts_are_described() -> None:
    case = case_of(*two_lungs((np.s_[1:11, 12:20, 24:32], -300.0)))
    found = find_candidates(case, {}, 16)
    said = describe(found.labels, 1, case)
    assert len(found) == 1
    assert [part.zone for part in said.parts] == ["lower", "middle", "upper"]
    assert sum(part.volume_ml for part in said.parts) == pytest.approx(said.volume_ml, abs=0.05)


def test_a_map_proposes_regions_outside_all_lesions() -> None:
    case = case_of(*two_lungs((SPOT, -400.0)))
    values = np.zeros(SHAPE, np.float32)
    values[SPOT] = 5
    values[6:9, 14:22, 6:12] = 4
    found = find_candidates(case, {"grad_cam": values}, 16)
    assert [found.kind(label) for label in (1, 2)] == ["lesion", "region"]
    assert found.proposers[1] == ("grad_cam",)
    assert not (found.labels == 2)[SPOT].any()
    assert (found.labels == 2)[7, 18, 9]


def test_a_map_without_positive_values_proposes_nothing() -> None:
    case = case_of(*two_lungs())
    assert len(find_candidates(case, {"grad_cam": np.zeros(SHAPE, np.float32)}, 16)) == 0


def test_a_hole_has_a_rim_and_stays_within_the_lungs() -> None:
    case = case_of(*two_lungs((np.s_[2:5, 8:14, 22:28], -300.0)))
    found = find_candidates(case, {}, 16)
    taken = removal_labels(found, case.prepared_lungs)
    assert (taken == 1).sum() > (found.labels == 1).sum()
    assert not taken[case.prepared_lungs == 0].any()


def test_renumbering_keeps_the_voxels_and_the_rest() -> None:
    case = case_of(*two_lungs((SPOT, -400.0), (LARGE, -300.0)))
    found = find_candidates(case, {}, 16)
    turned = renumbered(found, [2, 1])
    assert np.array_equal(turned.labels == 1, found.labels == 2)
    assert turned.rest == 3


def orientations() -> list[np.ndarray]:
    """Return the 16 ways to store square slices: rows and columns in either order, each axis in either direction."""
    turns = []
    for order, signs in product(((0, 1, 2), (1, 0, 2)), product((1, -1), repeat=3)):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
            turn[old, new] = sign
        turns.append(turn)
    return turns


def stored(data: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return (slices, rows, columns) stored as `turn` says: its voxel axes are (column, row, slice)."""
    order = [int(np.argmax(np.abs(turn[:3, new]))) for new in range(3)]
    xyz = data.T.transpose(order)
    flips = tuple(slice(None, None, int(np.sign(turn[old, new]))) for new, old in enumerate(order))
    return np.ascontiguousarray(xyz[flips].T)


def turned_affine(shape: tuple[int, ...], turn: np.ndarray) -> np.ndarray:
    """Return the affine that keeps every voxel of the plain grid where it lies in the patient."""
    size = np.array(shape[::-1])
    moved = turn.copy()
    for new in range(3):
        old = int(np.argmax(np.abs(turn[:3, new])))
        if turn[old, new] < 0:
            moved[old, 3] = size[old] - 1
    return affine() @ moved


@pytest.mark.parametrize("turn", orientations())
def test_side_volume_and_centre_are_right_to_the_voxel_in_every_orientation(turn: np.ndarray) -> None:
    hu, lungs = two_lungs((SPOT, -400.0))
    plain = case_of(hu, lungs)
    expected = describe(find_candidates(plain, {}, 16).labels, 1, plain)
    labels = stored(find_candidates(plain, {}, 16).labels, turn)
    moved = turned_affine(SHAPE, turn)
    hu_turned, lungs_turned = stored(hu, turn), stored(lungs, turn)
    case = case_of(hu_turned, lungs_turned, affine=moved, slices=tuple(range(100, 100 + len(hu_turned))))
    said = describe(labels, 1, case)
    assert (said.side, said.volume_ml, said.mean_hu) == (expected.side, expected.volume_ml, expected.mean_hu)
    assert said.side == "left"
    assert said.centroid_lps_mm == pytest.approx(expected.centroid_lps_mm, abs=0.11)
    assert said.volume_ml == pytest.approx((labels == 1).sum() * VOXEL_ML, abs=0.01)


@pytest.mark.parametrize("down", [False, True])
def test_zones_are_counted_from_the_feet(down: bool) -> None:
    hu, lungs = two_lungs()
    turn = np.diag([1.0, 1.0, -1.0, 1.0]) if down else np.eye(4)
    case = case_of(hu, lungs, affine=affine(turn))
    expected = [0] * 4 + [1] * 4 + [2] * 4
    assert zones(case).tolist() == (expected[::-1] if down else expected)


def test_the_slice_is_that_of_the_ingested_scan() -> None:
    case = case_of(*two_lungs((np.s_[2:5, 12:18, 24:30], -400.0), (np.s_[4, 12:22, 24:32], -400.0)))
    assert describe(whole_lesions(case), 1, case).slice == 104
