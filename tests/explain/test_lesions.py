"""Candidates on grids made by hand: proposed, merged, split, described on the right side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from claire.core.contracts.cohort import Scan
from claire.core.networks.view import View
from claire.explain.lesions import candidates as lesions
from claire.explain.lesions.candidates import Candidates

SHAPE = (12, 40, 40)


def make_view(spots: Sequence[tuple[tuple, float]] = (), flip: bool = False) -> View:
    """Two lungs of −850 HU on a 5 × 4 × 4 mm grid; `flip` stores the slices from head to feet."""
    hu, labels = np.full(SHAPE, 40.0, np.float32), np.zeros(SHAPE, np.uint8)
    labels[:, 8:32, 4:18], labels[:, 8:32, 22:36] = 1, 2
    hu[labels > 0] = -850
    for place, value in spots:
        hu[place] = value
    affine = np.diag([-4.0, -4.0, -5.0 if flip else 5.0, 1.0])
    return View(hu, labels, np.arange(SHAPE[0]), affine)


def make_scan() -> Scan:
    kept = tuple(range(100, 100 + SHAPE[0]))
    return Scan(
        scan="S1", patient="P1", label="positive", first=0, count=SHAPE[0], slices=kept, slice_labels=(),
        affine=np.eye(4), slice_positions_mm=(), crop=(0, 1, 0, 1), original_shape=(200, 40, 40),
    )  # fmt: skip


SPOT = np.s_[2:5, 12:18, 24:30]


def test_an_opacity_is_proposed_and_a_vessel_is_not() -> None:
    view = make_view([(SPOT, -400.0), (np.s_[6, 20, 24:34], -200.0)])
    found = lesions.propose_by_hu(view)
    assert found.max() == 1
    assert found[3, 14, 26] == 1
    assert not found[6].any()


def test_chest_wall_does_not_bleed_into_the_lungs() -> None:
    assert not lesions.propose_by_hu(make_view()).any()


def test_a_map_proposes_only_its_strongest_share() -> None:
    view, values = make_view(), np.zeros(SHAPE)
    values[SPOT] = 1
    values[SPOT[0], 20:22, 6:8] = 0.01
    found = lesions.propose_by_map(values, view)
    assert found.max() == 1
    assert (found > 0).sum() == (values == 1).sum()


def test_an_empty_map_proposes_nothing() -> None:
    assert not lesions.propose_by_map(np.zeros(SHAPE), make_view()).any()


def test_hysteresis_keeps_weak_rims_of_strong_regions_only() -> None:
    mask = np.zeros(SHAPE)
    mask[2:5, 12:18, 24:30], mask[3, 14, 26] = 0.2, 0.9
    mask[8:11, 12:18, 24:30] = 0.4
    found = lesions.propose_by_mask(mask, make_view())
    assert found.max() == 1
    assert (found[2:5, 12:18, 24:30] == 1).all()


def test_overlapping_proposals_are_one_lesion_with_two_proposers() -> None:
    one, two = np.zeros(SHAPE, int), np.zeros(SHAPE, int)
    one[SPOT] = 1
    two[2:5, 12:18, 25:31] = 1
    two[9:12, 20:26, 6:12] = 2
    merged = lesions.merge({"hu": one, "grad_cam": two}, make_view())
    assert merged.proposers == (("hu", "grad_cam"), ("grad_cam",))
    assert (merged.labels == 1).sum() == (one == 1).sum()


def test_a_lesion_across_sides_and_zones_is_split_and_called_confluent() -> None:
    view, labels = make_view(), np.zeros(SHAPE, np.int16)
    labels[2:10, 12:20, 6:34] = 1
    labels[(view.lungs == 0)] = 0
    parts = lesions.split(Candidates(labels, (("hu",),), (False,)), view)
    assert len(parts) >= 6
    assert all(parts.confluent)
    assert all(len(np.unique(view.lungs[parts.labels == one])) == 1 for one in range(1, len(parts) + 1))


def test_a_large_opacity_of_two_humps_is_split_by_watershed() -> None:
    hu = make_view()
    labels = np.zeros(SHAPE, np.int16)
    labels[0:4, 8:18, 22:36] = labels[0:4, 22:32, 22:36] = 1
    labels[0:4, 18:22, 28:30] = 1
    parts = lesions.split(Candidates(labels, (("hu",),), (False,)), hu)
    assert len(parts) >= 2
    assert ((parts.labels > 0) == (labels > 0)).all()


def test_the_largest_and_the_most_attributed_are_kept_and_the_rest_counted() -> None:
    labels, weight = np.zeros(SHAPE, np.int16), np.zeros(SHAPE)
    for one in range(1, 6):
        labels[one, 10:20, 4 : 4 + one] = one
    weight[1, 10, 4] = 100
    kept = lesions.keep_most(Candidates(labels, (("hu",),) * 5, (False,) * 5), weight, 2)
    assert len(kept) == 2
    assert kept.left_out == 3
    assert kept.labels[5, 10, 4]
    assert kept.labels[1, 10, 4]


@pytest.mark.parametrize("flip", [False, True])
def test_side_zone_and_centre_follow_the_affine_and_the_mask(flip: bool) -> None:
    view, labels = make_view(flip=flip), np.zeros(SHAPE, np.int16)
    labels[0:2, 10:12, 24:28] = 1
    found = lesions.describe(Candidates(labels, (("hu",),), (False,)), 1, view, make_scan())
    assert (found.side, found.zone) == ("left", "upper" if flip else "lower")
    assert found.centroid_lps_mm == (102.0, 42.0, -2.5 if flip else 2.5)
    assert found.volume_ml == pytest.approx(16 * 0.08)
    assert found.slice == 100
