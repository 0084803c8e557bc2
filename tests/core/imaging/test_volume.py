"""Volumes and their NIfTI bytes."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from claire.core.imaging.volume import Volume, from_nifti_gz, to_nifti_gz

AFFINE = np.array([[-0.7, 0, 0, 100], [0, -0.7, 0, 120], [0, 0, 5, -300], [0, 0, 0, 1]], float)


def test_nifti_keeps_voxels_and_place() -> None:
    volume = Volume(np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    again = from_nifti_gz(to_nifti_gz(volume))
    assert np.array_equal(again.data, volume.data)
    assert again.data.dtype == np.int16
    assert np.allclose(again.affine, AFFINE)
    assert again.spacing_mm == pytest.approx((5, 0.7, 0.7))


@pytest.mark.parametrize("content", [b"no image", gzip.compress(b"no image"), b"\0" * 400])
def test_what_is_no_nifti_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="NIfTI"):
        from_nifti_gz(content)
