"""A scan as a volume: HU values and the affine that maps them to the patient."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from claire.core.imaging.affine import spacing_mm

#: HU of air, and of voxels outside the field of view.
AIR_HU, PADDING_HU = -1000, -1024
#: Bytes of the largest scan that ingest accepts.
MOST_BYTES = 2 * 2**30
_HEAD_BYTES = 2**20


@dataclass(frozen=True)
class Volume:
    """`data`: (slices, rows, columns), int16 HU or uint8 mask. `affine`: 4×4, (column, row, slice, 1) → RAS mm.

    The slices are sorted by position along their normal. Arrays are indexed [slice, row, column] everywhere in the
    project; the affine follows NIfTI and takes (column, row, slice): `nib.Nifti1Image(data.T, affine)` is right.
    """

    data: np.ndarray
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing along (slice, row, column) in mm."""
        return spacing_mm(self.affine)


def to_nifti_gz(volume: Volume, level: int = 1) -> bytes:
    """Return a volume as the bytes of a `.nii.gz`, with reproducible bytes (RAS affine, mm, no date)."""

    image = nib.Nifti1Image(volume.data.T, volume.affine, dtype=volume.data.dtype)
    image.header.set_xyzt_units("mm")
    image.set_qform(volume.affine, code=1)
    image.set_sform(volume.affine, code=1)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=level, mtime=0) as stream:
        stream.write(image.to_bytes())
    return packed.getvalue()


def _inflate(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        raw = stream.read(MOST_BYTES + _HEAD_BYTES + 1)
    if len(raw) > MOST_BYTES + _HEAD_BYTES:
        raise ValueError("larger than any scan")
    return raw


def from_nifti_gz(content: bytes) -> Volume:
    """Read the bytes of a `.nii.gz` or `.nii` into a volume of its stored integer type. Raises ValueError on others."""

    raw = _inflate(content) if content[:2] == b"\x1f\x8b" else content
    try:
        image = nib.Nifti1Image.from_bytes(raw)
    except (nib.filebasedimages.ImageFileError, HeaderDataError, WrapStructError) as error:
        raise ValueError("not a NIfTI-1 image") from error
    return Volume(np.asanyarray(image.dataobj).T, np.asarray(image.affine))
