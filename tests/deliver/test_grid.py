"""Labels of the prepared grid, back on the grid of the ingested scan."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.contracts.cohort import Scan
from claire.deliver.grid import to_ingested
from claire.preprocess.prepare import prepared_affine, resize_mask

SHAPE = (9, 60, 52)
AFFINE = np.diag([-0.8, -0.8, 3.0, 1.0])


def scan(crop: tuple[int, int, int, int], slices: tuple[int, ...], size: int) -> Scan:
    affine, positions = prepared_affine(AFFINE, np.array(slices), crop, size)
    return Scan(
        scan="S1", patient="P1", label="", first=0, count=len(slices), slices=slices,
        slice_labels=(-1,) * len(slices), affine=affine, slice_positions_mm=tuple(positions), crop=crop,
        original_shape=SHAPE,
    )  # fmt: skip


def centre(affine: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the centroid of a mask, RAS mm."""
    return affine[:3] @ [*np.argwhere(inside).mean(axis=0)[::-1], 1]


@pytest.mark.parametrize("size", [16, 40, 96])
@pytest.mark.parametrize("crop", [(10, 50, 5, 45), (-4, 60, -6, 58), (0, 60, 0, 52)])
def test_a_lesion_stays_where_it_is(crop: tuple[int, int, int, int], size: int) -> None:
    labels = np.zeros(SHAPE, np.int16)
    labels[3:6, 20:33, 14:25], labels[4:7, 36:44, 28:40] = 1, 5
    kept = tuple(range(2, 8))
    new = scan(crop, kept, size)
    prepared = np.stack([resize_mask(labels[z], crop, size) for z in kept])
    back = to_ingested(prepared, new)
    assert back.shape == SHAPE
    assert back.dtype == labels.dtype
    for number in (1, 5):
        original = centre(AFFINE, labels == number)
        voxel = np.maximum(np.abs(np.diag(new.affine)), np.abs(np.diag(AFFINE)))[:3]
        assert (np.abs(centre(AFFINE, back == number) - original) <= voxel).all()
        assert (np.abs(centre(AFFINE, back == number) - centre(new.affine, prepared == number)) <= voxel).all()
    if size == 96:  # finer than the scan: nothing is lost
        assert np.array_equal(back, labels)


def test_slices_that_were_not_kept_are_empty() -> None:
    back = to_ingested(np.ones((2, 16, 16), np.int16), scan((10, 50, 5, 45), (3, 6), 16))
    assert np.flatnonzero(back.any(axis=(1, 2))).tolist() == [3, 6]
    assert np.flatnonzero(back[3].any(axis=1)).tolist() == list(range(10, 50))
    assert np.flatnonzero(back[3].any(axis=0)).tolist() == list(range(5, 45))


def test_labels_of_another_scan_are_a_bug() -> None:
    with pytest.raises(ValueError, match="expected 2 slices"):
        to_ingested(np.ones((3, 16, 16), np.int16), scan((10, 50, 5, 45), (3, 6), 16))
