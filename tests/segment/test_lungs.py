"""The lung mask: what it holds, its sides in every orientation, and the scans it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.command.errors import RejectedScan
from claire.core.imaging.volume import Volume
from claire.segment.grid import block_mean, canonical
from claire.segment.lungs import LEFT, RIGHT, segment_lungs

from tests.support.chest import consolidate, make_chest


@pytest.fixture(scope="module")
def chest() -> tuple[Volume, np.ndarray]:
    return make_chest()


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))


def recall(mask: np.ndarray, truth: np.ndarray) -> float:
    return np.count_nonzero((mask > 0) & (truth > 0)) / np.count_nonzero(truth)


def turned(volume: Volume, axes: tuple[int, int, int], flips: tuple[int, ...]) -> Volume:
    """Store the same chest along other axes, in another direction: only array and affine change."""
    data, affine = volume.data.transpose(axes), np.eye(4)
    affine[:3, :3] = volume.affine[:3, [2 - axis for axis in reversed(axes)]]
    affine[:3, 3] = volume.affine[:3, 3]
    for axis in flips:
        column = 2 - axis
        affine[:3, 3] += affine[:3, column] * (data.shape[axis] - 1)
        affine[:3, column] *= -1
    return Volume(np.ascontiguousarray(np.flip(data, flips)), affine)


def test_both_lungs_are_found_on_their_sides(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    mask, facts = segment_lungs(volume)
    assert mask.dtype == np.uint8
    assert dice(mask == RIGHT, truth == RIGHT) > 0.97
    assert dice(mask == LEFT, truth == LEFT) > 0.97
    assert facts.warnings == ()
    assert facts.right_ml == pytest.approx(np.count_nonzero(truth == RIGHT) * 0.064, rel=0.05)


@pytest.mark.parametrize("flips", [(), (0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_sides_follow_the_affine_in_every_orientation(
    chest: tuple[Volume, np.ndarray], axes: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    mask, _ = segment_lungs(turned(chest[0], axes, flips))
    expected, _ = segment_lungs(chest[0])
    assert np.array_equal(mask, np.flip(expected.transpose(axes), flips))


def test_a_mirrored_affine_mirrors_the_sides(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    mask, _ = segment_lungs(Volume(volume.data, np.diag([-1, 1, 1, 1]) @ volume.affine))
    assert dice(mask == RIGHT, truth == LEFT) > 0.97


def test_the_trachea_and_the_bowel_stay_outside(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    mask, _ = segment_lungs(volume)
    assert np.count_nonzero((mask > 0) & (volume.data < -930) & (truth == 0)) == 0


@pytest.mark.parametrize("centre", [(21, 42, 15), (21, 20, 28), (19, 58, 72)], ids=["lateral", "front", "back"])
def test_a_consolidation_at_the_pleura_stays_inside(
    chest: tuple[Volume, np.ndarray], centre: tuple[int, int, int]
) -> None:
    volume, truth = chest
    diseased = consolidate(volume, truth, centre, 24)
    dense = (diseased.data != volume.data) & (truth > 0)
    mask, _ = segment_lungs(diseased)
    assert np.count_nonzero(dense) > 150
    # The chord that bridges the dent leaves out what bulges beyond it: one voxel here.
    assert recall(mask, dense) > 0.65
    assert np.count_nonzero((mask > 0) & (truth == 0)) < 0.03 * np.count_nonzero(truth)


def test_ground_glass_stays_inside(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    hazy = consolidate(volume, truth, (19, 42, 17), 40)
    hazy = Volume(np.where(hazy.data == 40, -350, hazy.data).astype(np.int16), volume.affine)
    assert recall(segment_lungs(hazy)[0], truth) > 0.98


def test_lungs_that_touch_are_parted(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    data = volume.data.copy()
    data[22:32, 30:34, 40:56] = -700
    mask, facts = segment_lungs(Volume(data, volume.affine))
    assert facts.components == 1
    assert np.count_nonzero((mask == RIGHT) & (truth == LEFT)) < 0.01 * np.count_nonzero(truth)
    assert dice(mask == LEFT, truth == LEFT) > 0.95


def test_a_collapsed_lung_is_told(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    data = np.where(truth == LEFT, 40, volume.data).astype(np.int16)
    mask, facts = segment_lungs(Volume(data, volume.affine))
    assert dice(mask == RIGHT, truth == RIGHT) > 0.97
    assert np.count_nonzero(mask == LEFT) == 0
    assert "one_lung" in facts.warnings


def test_a_field_of_view_that_cuts_the_lungs_is_told(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    cut = (slice(None), slice(None), slice(20, 76))
    mask, facts = segment_lungs(Volume(volume.data[cut], volume.affine))
    assert recall(mask, truth[cut]) > 0.97
    assert facts.cut_at_border


def test_padding_around_a_round_field_of_view_is_no_lung(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    rows, columns = np.indices(truth.shape[1:])
    data = volume.data.copy()
    data[:, np.hypot(rows - 40, columns - 48) > 39] = -2048
    mask, _ = segment_lungs(Volume(data, volume.affine))
    assert np.count_nonzero((mask > 0) & (truth == 0)) < 0.02 * np.count_nonzero(truth)


def test_thick_slices_will_do(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    thick = Volume(volume.data[::3], volume.affine @ np.diag([1, 1, 3, 1]))
    assert dice(segment_lungs(thick)[0] > 0, truth[::3] > 0) > 0.96


@pytest.mark.parametrize(("fill", "reason"), [(-1000, "not_chest"), (40, "no_lungs")])
def test_a_scan_without_lungs_is_rejected(fill: int, reason: str) -> None:
    data = np.full((20, 48, 48), -1000, np.int16)
    data[:, 6:42, 6:42] = fill
    with pytest.raises(RejectedScan, match=reason):
        segment_lungs(Volume(data, np.diag([-6, -6, 6, 1.0])))


def test_bowel_gas_alone_is_no_lung(chest: tuple[Volume, np.ndarray]) -> None:
    volume, truth = chest
    with pytest.raises(RejectedScan, match="no_lungs"):
        segment_lungs(Volume(np.where(truth > 0, 40, volume.data).astype(np.int16), volume.affine))


def test_canonical_axes_point_up_forwards_and_right() -> None:
    affine = np.array([[0, 0, 2.0, 0], [-1, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]])
    data = np.arange(24).reshape(2, 3, 4)
    superior, anterior, right = 1, 3, 1
    assert canonical(data, affine)[superior, anterior, right] == data[1, 1, 0]


def test_blocks_cut_short_are_averaged_as_they_are() -> None:
    assert block_mean(np.array([[[10, 20, 60]]]), (1, 1, 2)).tolist() == [[[15.0, 60.0]]]
