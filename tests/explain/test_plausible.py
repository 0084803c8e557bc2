"""Plausibility of maps against lesions whose role is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claire.explain.maps.plausible import (
    auprc,
    bystander_rate,
    plausibility,
    pointing,
    top_dice,
    within_scan_auc,
)

SHAPE = (4, 20, 20)
SPACING = (10.0, 2.0, 2.0)
LUNGS = np.zeros(SHAPE, bool)
LUNGS[:, 2:18, 2:18] = True
DECIDING, BYSTANDER = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
DECIDING[1:3, 4:8, 4:8] = True
BYSTANDER[1:3, 12:16, 12:16] = True
NOTHING = np.zeros(SHAPE, bool)


def peak(*place: int) -> np.ndarray:
    values = np.zeros(SHAPE, np.float32)
    values[place] = 1
    return values


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((1, 5, 5), (1, 1)),
        ((0, 3, 3), (1, 1)),  # diagonal neighbour
        ((1, 9, 5), (0, 1)),  # 2 voxels, 4 mm
        ((1, 5, 14), (0, 1)),  # 7 voxels, 14 mm
        ((1, 5, 15), (0, 0)),  # 16 mm
    ],
)
def test_pointing_tolerates_one_voxel_or_15_mm(place: tuple[int, ...], expected: tuple[float, float]) -> None:
    assert pointing(peak(*place), DECIDING, LUNGS, SPACING) == expected


def test_what_lies_outside_the_lungs_does_not_count() -> None:
    values = peak(1, 5, 5) + 9 * peak(1, 0, 0)
    assert pointing(values, DECIDING, LUNGS, SPACING) == (1, 1)
    assert top_dice(DECIDING + 9.0 * ~LUNGS, DECIDING, LUNGS) == 1


def test_the_truth_as_a_map_is_perfect_and_its_opposite_is_not() -> None:
    assert plausibility(DECIDING.astype(float), DECIDING, BYSTANDER, LUNGS, SPACING) == (1, 1, 1, 1, 0)
    assert plausibility(BYSTANDER.astype(float), DECIDING, BYSTANDER, LUNGS, SPACING)[2:3] == (0,)
    assert bystander_rate(BYSTANDER.astype(float), DECIDING, BYSTANDER, LUNGS) == 1


def test_a_map_that_is_the_same_everywhere_shows_chance() -> None:
    flat, share = np.ones(SHAPE), DECIDING.sum() / LUNGS.sum()
    assert top_dice(flat, DECIDING, LUNGS) == pytest.approx(share)
    assert auprc(flat, DECIDING, LUNGS) == pytest.approx(share)
    assert bystander_rate(flat, DECIDING, BYSTANDER, LUNGS) == pytest.approx(BYSTANDER.sum() / LUNGS.sum())
    near, _ = pointing(flat, DECIDING, LUNGS, SPACING)
    assert near == pytest.approx(4 * 6 * 6 / LUNGS.sum())


def test_tied_voxels_count_alike_whatever_their_order() -> None:
    both = (DECIDING | BYSTANDER).astype(float)
    assert top_dice(both, DECIDING, LUNGS) == pytest.approx(0.5)
    assert bystander_rate(both, DECIDING, BYSTANDER, LUNGS) == pytest.approx(0.5)
    assert pointing(both, DECIDING, LUNGS, SPACING)[0] == pytest.approx(0.5)
    assert top_dice(both[:, ::-1], DECIDING[:, ::-1], LUNGS[:, ::-1]) == pytest.approx(0.5)


def test_top_dice_equals_a_direct_computation() -> None:
    values = np.random.default_rng(0).random(SHAPE)
    order = np.argsort(-np.where(LUNGS, values, -1), axis=None)[: DECIDING.sum()]
    top = np.zeros(DECIDING.size, bool)
    top[order] = True
    dice = 2 * (top & DECIDING.ravel()).sum() / (top.sum() + DECIDING.sum())
    assert top_dice(values, DECIDING, LUNGS) == pytest.approx(dice)


def test_without_truth_there_is_no_figure() -> None:
    assert all(map(math.isnan, plausibility(np.ones(SHAPE), NOTHING, BYSTANDER, LUNGS, SPACING)))


def test_the_auc_within_a_scan_needs_lesions_of_both_kinds() -> None:
    scores = np.array([3.0, 2.0, 1.0])
    assert within_scan_auc(scores, np.array([True, False, False])) == 1
    assert within_scan_auc(scores, np.array([False, True, False])) == 0.5
    assert math.isnan(within_scan_auc(scores, np.ones(3, bool)))
    assert math.isnan(within_scan_auc(np.zeros(0), np.zeros(0, bool)))
