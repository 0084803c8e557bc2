"""Numbers of prepared voxels."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.imaging.lung_features import lung_features


def test_features_are_those_of_the_lungs() -> None:
    hu = np.full((4, 10, 20), 40, np.int16)
    lungs = np.zeros(hu.shape, np.uint8)
    lungs[:, 2:6, 5:10] = 1
    hu[lungs > 0] = -850
    hu[:2, 2:6, 5:10] = -400
    features = lung_features(hu, lungs, (10.0, 2.0, 3.0))
    assert features["field_mm"] == 60
    assert features["lung_ml"] == pytest.approx(4 * 20 * 60 / 1000)
    assert (features["hu_p05"], features["hu_p95"], features["opacity_share"]) == (-850, -400, 0.5)


def test_without_lung_there_are_no_hu() -> None:
    empty = np.zeros((2, 4, 4), np.uint8)
    assert lung_features(empty.astype(np.int16), empty, (1.0, 1.0, 1.0)) == {"field_mm": 4.0, "lung_ml": 0.0}


def test_a_large_lung_is_sampled_evenly() -> None:
    hu = np.tile(np.arange(-1000, 0, dtype=np.int16), (500, 1))[None]
    features = lung_features(hu, np.ones(hu.shape, np.uint8), (1.0, 1.0, 1.0))
    assert features["hu_p50"] == pytest.approx(-500, abs=3)
