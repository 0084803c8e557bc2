"""HU, and how they are recognised."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.command.errors import RejectedScan
from claire.ingest.hounsfield import check_hu, to_hu

from tests.support.dicom_maker import chest


def noisy(scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 20, (24, 48, 48))
    return ((chest() + noise) * scale + offset).clip(-32768, 32767).astype(np.int16)


def test_a_chest_in_hu_is_believed() -> None:
    check_hu(noisy())


def test_a_chest_cut_to_the_lungs_is_believed() -> None:
    check_hu(noisy()[:, 10:38, 6:42])


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, 1024), (1, -1024), (1, 1000), (2, 0), (0.25, 250), (0, 0), (1, 32768), (-1, 0), (8, 0)]
)
def test_other_values_are_not(scale: float, offset: float) -> None:
    with pytest.raises(RejectedScan, match="not_hu"):
        check_hu(noisy(scale, offset))


def test_stored_values_with_padding_are_not_hu() -> None:
    stored = noisy(1, 1024)
    stored[:, :10] = -1024
    with pytest.raises(RejectedScan, match="not_hu"):
        check_hu(stored)


def test_values_beyond_int16_are_clipped() -> None:
    out = np.empty((1, 2), np.int16)
    to_hu(np.array([[0, 65535]], np.uint16), 2.0, 0.0, None, out)
    assert out.tolist() == [[0, 32767]]


def test_a_range_of_padding_becomes_air() -> None:
    out = np.empty((1, 4), np.int16)
    to_hu(np.array([[-2000, -1990, -900, 0]], np.int16), 1.0, 0.0, (-2000, -1990), out)
    assert out.tolist() == [[-1024, -1024, -900, 0]]
