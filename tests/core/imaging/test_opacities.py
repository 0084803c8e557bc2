"""Opacities on grids made by hand: found, whole, apart in each lung; vessels, walls and crumbs are none."""

from __future__ import annotations

import numpy as np
from claire.core.imaging.opacities import connected, drop_small, lesions, opacities, smooth_in_lung, widen

from tests.support.lungs import SPACING, SPOT, VOXEL_ML, two_lungs


def test_an_opacity_is_found_and_a_vessel_is_not() -> None:
    hu, lungs = two_lungs((SPOT, -400.0), (np.s_[6, 20, 24:34], -200.0))
    found = lesions(hu, lungs, SPACING, VOXEL_ML)
    assert found.max() == 1
    assert found[3, 14, 26] == 1
    assert not found[6].any()


def test_the_rim_of_an_opacity_belongs_to_it() -> None:
    hu, lungs = two_lungs((SPOT, -400.0))
    assert opacities(hu, lungs, SPACING)[SPOT].all()


def test_chest_wall_does_not_bleed_into_the_lungs() -> None:
    hu, lungs = two_lungs()
    assert not opacities(hu, lungs, SPACING).any()
    assert smooth_in_lung(hu, lungs, SPACING)[lungs > 0].max() < -840


def test_a_lesion_that_runs_aslant_through_thick_slices_is_one() -> None:
    hu, lungs = two_lungs((np.s_[2, 10:16, 24:28], -300.0), (np.s_[3, 16:22, 28:32], -300.0))
    assert lesions(hu, lungs, SPACING, VOXEL_ML).max() == 1


def test_no_lesion_reaches_from_one_lung_into_the_other() -> None:
    lungs = np.ones((2, 4, 8), np.uint8)
    lungs[..., 4:] = 2
    labels = connected(np.ones(lungs.shape, bool), lungs)
    assert np.unique(labels[..., :4]).tolist() == [1]
    assert np.unique(labels[..., 4:]).tolist() == [2]


def test_small_components_are_dropped_and_the_others_numbered_from_one() -> None:
    labels = np.zeros((1, 6, 6), np.int32)
    labels[0, 0, 0], labels[0, 2:5, 2:5] = 1, 7
    assert np.unique(drop_small(labels, voxel_ml=0.2)).tolist() == [0, 1]
    assert not drop_small(labels, voxel_ml=0.01).any()


def test_widening_stays_in_its_slice() -> None:
    mask = np.zeros((3, 5, 5), bool)
    mask[1, 2, 2] = True
    wide = widen(mask)
    assert wide[1].sum() == 5
    assert wide.sum() == 5
