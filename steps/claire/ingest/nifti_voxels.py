"""Voxels of a NIfTI file as HU, oriented as DICOM stores an axial scan."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.wrapstruct import WrapStructError

from claire.core.command.errors import RejectedScan
from claire.core.imaging.volume import PADDING_HU
from claire.core.sources.dicom import Plane
from claire.core.sources.nifti import Grid
from claire.ingest.hounsfield import to_hu


def read_volume(path: Path, grid: Grid) -> tuple[np.ndarray, list[Plane]]:
    """Return HU (slices, rows, columns) int16 and the plane of each slice, oriented as DICOM stores an axial scan.

    Columns increase to the patient's left, rows to the back, slices to the head. Raises RejectedScan (`unreadable`).
    """
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "rb") as stream:
                stored = np.asanyarray(nib.Nifti1Image.from_stream(stream).dataobj).reshape(grid.shape)
                while stream.read(2**20):  # the checksum is at the end
                    pass
        else:
            stored = np.asanyarray(nib.nifti1.load(path).dataobj).reshape(grid.shape)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError, WrapStructError) as error:
        raise RejectedScan("unreadable", f"NIfTI voxels cannot be read ({type(error).__name__})") from error
    if stored.dtype.kind not in "iuf":
        raise RejectedScan("unreadable", "NIfTI voxels are not numbers")
    turn = nib.orientations.ornt_transform(nib.io_orientation(grid.affine), nib.orientations.axcodes2ornt("LPS"))
    affine = grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape)
    turned = nib.orientations.apply_orientation(stored, turn).transpose(2, 1, 0)
    volume = np.empty(turned.shape, np.int16)
    for out, stored_slice in zip(volume, turned, strict=True):
        values = stored_slice
        if stored_slice.dtype.kind == "f":
            values = np.rint(np.nan_to_num(stored_slice, nan=PADDING_HU).clip(-32768, 32767))
        to_hu(values, 1.0, 0.0, None, out)
    return volume, _planes(affine, len(volume))


def _planes(affine: np.ndarray, count: int) -> list[Plane]:
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    columns, rows = np.linalg.norm(lps[:, :2], axis=0)
    orientation = (*(lps[:, 0] / columns), *(lps[:, 1] / rows))
    return [
        Plane(
            tuple(map(float, lps[:, 3] + number * lps[:, 2])),
            tuple(map(float, orientation)),
            (float(rows), float(columns)),
            1.0,
            0.0,
        )
        for number in range(count)
    ]
