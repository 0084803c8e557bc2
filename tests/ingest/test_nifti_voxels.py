"""Voxels of NIfTI files: turned as DICOM stores a scan, whole HU, damage noticed."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from claire.core.command.errors import RejectedScan
from claire.core.sources.nifti import read_header
from claire.ingest.geometry import make_stack
from claire.ingest.nifti_voxels import read_volume

SHAPE = (6, 5, 4)


def write(path: Path, affine: np.ndarray, data: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(SHAPE) if data is None else data, affine), path)
    return path


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "RPI", "AIR", "SLP"])
def test_any_orientation_is_turned_without_moving_a_voxel(tmp_path: Path, codes: str) -> None:
    turn = nib.orientations.axcodes2ornt(codes)
    affine = nib.orientations.inv_ornt_aff(turn, SHAPE) @ np.diag([1.0, 1, 1, 1])
    path = write(tmp_path / "x.nii", affine)
    data, planes = read_volume(path, read_header(path)[1])
    made = make_stack(planes).affine
    stored = np.arange(120).reshape(SHAPE)
    for voxel in ((0, 0, 0), (5, 2, 1), (3, 4, 3)):
        column, row, slice_ = np.rint(np.linalg.inv(made) @ affine @ [*voxel, 1]).astype(int)[:3]
        assert data[slice_, row, column] == stored[voxel]


def test_scaled_floats_become_whole_hu(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nii", np.eye(4), np.full(SHAPE, -999.6, np.float32))
    assert (read_volume(path, read_header(path)[1])[0] == -1000).all()


def test_a_checksum_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nii.gz", np.eye(4))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(RejectedScan, match="unreadable"):
        read_volume(path, read_header(path)[1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}", np.eye(4), np.zeros(SHAPE, np.complex64))
    with pytest.raises(RejectedScan, match="not numbers") as caught:
        read_volume(path, read_header(path)[1])
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_voxels_that_were_cut_short_are_unreadable(tmp_path: Path, suffix: str, kept: float) -> None:
    path = write(tmp_path / f"x{suffix}", np.eye(4))
    grid = read_header(path)[1]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(RejectedScan) as caught:
        read_volume(path, grid)
    assert caught.value.reason == "unreadable"
