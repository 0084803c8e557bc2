"""NIfTI scans with the JSON beside them: BIMCV's DICOM-JSON or dcm2niix's keywords."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claire.core.command.errors import RejectedScan
from claire.core.imaging.volume import MOST_BYTES
from claire.core.sources.dicom import Header, Pixels, Plane, UnreadableHeader, parse_numbers
from claire.ingest.hounsfield import AIR_HU, to_hu

SUFFIXES = (".nii.gz", ".nii")
_SIDECAR_LIMIT = 8 * 2**20
_HEADER_BYTES = 348
_NO_PIXELS = Pixels("", 0, 0, 1, 16, 16, True, "", None, False, -1, -1)
#: Our name: (DICOM tag as DICOM-JSON writes it, keyword as dcm2niix writes it).
_KEYS = {
    "study_uid": ("0020000D", "StudyInstanceUID"),
    "series_uid": ("0020000E", "SeriesInstanceUID"),
    "sop_class": ("00080016", "SOPClassUID"),
    "frame_uid": ("00200052", "FrameOfReferenceUID"),
    "modality": ("00080060", "Modality"),
    "image_type": ("00080008", "ImageType"),
    "description": ("0008103E", "SeriesDescription"),
    "acquisition": ("00200012", "AcquisitionNumber"),
    "patient_id": ("00100020", "PatientID"),
    "issuer": ("00100021", "IssuerOfPatientID"),
    "sex": ("00100040", "PatientSex"),
    "birth_date": ("00100030", "PatientBirthDate"),
    "age": ("00101010", "PatientAge"),
    "study_date": ("00080020", "StudyDate"),
    "patient_name": ("00100010", "PatientName"),
    "vendor": ("00080070", "Manufacturer"),
    "model": ("00081090", "ManufacturersModelName"),
    "kernel": ("00181210", "ConvolutionKernel"),
    "thickness": ("00180050", "SliceThickness"),
    "quality_control": ("00280300", "QualityControlImage"),
}


@dataclass(frozen=True)
class Grid:
    """Shape (columns, rows, slices) and affine (4×4, to RAS mm) of a NIfTI file as it is stored."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def stem(path: Path) -> str:
    """Return a NIfTI file's name without its suffix."""
    return next(path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix))


def read_header(path: Path) -> tuple[Header, Grid]:
    """Read a NIfTI file's header and the JSON of the same stem, where there is one.

    A BIDS path (`sub-<label>/…`) gives the patient where the JSON does not. Raises UnreadableHeader.
    """
    try:
        grid = _read_grid(path)
        facts = _read_sidecar(path.with_name(f"{stem(path)}.json"))
    except UnreadableHeader:
        raise
    except Exception as error:
        raise UnreadableHeader(f"damaged NIfTI header or JSON ({type(error).__name__})") from error
    subject = next((part for part in reversed(path.parts[:-1]) if part.startswith("sub-")), "")
    subject = subject or (path.name.split("_")[0] if path.name.startswith("sub-") else "")
    return _header(facts, subject, float(np.linalg.norm(grid.affine[:3, 2]))), grid


def _read_grid(path: Path) -> Grid:
    import nibabel as nib

    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as stream:
        content = stream.read(_HEADER_BYTES)
    header = nib.Nifti1Header(content, check=False)
    if header["magic"].tobytes()[:3] != b"n+1" or header["sizeof_hdr"] != _HEADER_BYTES:
        raise UnreadableHeader("no NIfTI-1 file")
    shape = tuple(map(int, header.get_data_shape()))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = np.asarray(header.get_best_affine(), dtype=float)
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) * header.get_data_dtype().itemsize > MOST_BYTES:
        raise UnreadableHeader("NIfTI file is no single volume or too large")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise UnreadableHeader("NIfTI affine is not usable")
    return Grid(shape, affine)


def _read_sidecar(path: Path) -> Mapping[str, Any]:
    if not path.is_file() or path.stat().st_size > _SIDECAR_LIMIT:
        return {}
    facts = json.loads(path.read_bytes())
    if not isinstance(facts, dict):
        raise UnreadableHeader("the JSON of the same stem is no object")
    return facts


def _texts(facts: Mapping[str, Any], name: str) -> list[str]:
    tag, keyword = _KEYS[name]
    value = facts.get(tag, facts.get(keyword))
    if isinstance(value, dict):
        value = value.get("Value")
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [
        str(item.get("Alphabetic", "") if isinstance(item, dict) else item).strip()[:1024]
        for item in values
        if item is not None
    ]


def _header(facts: Mapping[str, Any], subject: str, spacing: float) -> Header:
    def text(name: str) -> str:
        return next(iter(_texts(facts, name)), "")

    thickness = parse_numbers(_texts(facts, "thickness")[:1], 1)
    return Header(
        **{key: text(key) for key in ("study_uid", "series_uid", "sop_class", "frame_uid", "description", "issuer")},
        **{key: text(key) for key in ("acquisition", "birth_date", "age", "study_date", "vendor", "model", "kernel")},
        sop_uid="",
        modality=text("modality").upper(),
        image_type=tuple(part.upper() for part in _texts(facts, "image_type")),
        patient_id=text("patient_id") or subject,
        sex=text("sex").upper(),
        names=(text("patient_name"),),
        thickness=thickness[0] if thickness else spacing,
        quality_control=text("quality_control").upper() == "YES",
        planes=(),
        pixels=_NO_PIXELS,
    )


def read_volume(path: Path, grid: Grid) -> tuple[np.ndarray, list[Plane]]:
    """Return HU (slices, rows, columns) int16 and the plane of each slice, turned as DICOM stores an axial scan.

    Columns grow to the patient's left, rows to the back, slices to the head. Raises RejectedScan (`unreadable`).
    """
    import nibabel as nib

    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "rb") as stream:
                stored = np.asanyarray(nib.Nifti1Image.from_stream(stream).dataobj).reshape(grid.shape)
                while stream.read(2**20):  # the checksum stands at the end
                    pass
        else:
            stored = np.asanyarray(nib.load(path).dataobj).reshape(grid.shape)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        raise RejectedScan("unreadable", f"NIfTI voxels cannot be read ({type(error).__name__})") from error
    if stored.dtype.kind not in "iuf":
        raise RejectedScan("unreadable", "NIfTI voxels are no numbers")
    turn = nib.orientations.ornt_transform(nib.io_orientation(grid.affine), nib.orientations.axcodes2ornt("LPS"))
    affine = grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape)
    turned = nib.orientations.apply_orientation(stored, turn).transpose(2, 1, 0)
    volume = np.empty(turned.shape, np.int16)
    for out, given in zip(volume, turned, strict=True):
        values = given if given.dtype.kind in "iu" else np.rint(np.nan_to_num(given, nan=AIR_HU).clip(-32768, 32767))
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
