"""NIfTI scans with a JSON sidecar: BIMCV's DICOM-JSON or dcm2niix's keywords."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from claire.core.imaging.volume import MOST_BYTES
from claire.core.sources.dicom import DECODING_ERRORS, Header, Pixels, UnreadableHeader, parse_numbers

SUFFIXES = (".nii.gz", ".nii")
#: Words of a file's name that say it is a mask: `x_seg`, `lungmask`, `labels`, BIDS' `dseg`.
_MASK_WORD = re.compile(r"(d|prob)?seg|segmentations?|(?!un)\w*masks?|labels?(map)?|rois?|contours?|annotations?")
_LABEL_INTENT = 1002
#: Masks and label maps measured compress to 0.3 bits a voxel and less, CT to 7 and more.
_MASK_BITS, _MASK_VOXELS = 0.6, 100_000
_SIDECAR_LIMIT = 8 * 2**20
_HEADER_BYTES = 348
_NO_PIXELS = Pixels("", 0, 0, 1, 16, 16, True, "", None, False, -1, -1)
#: Name: (DICOM tag as DICOM-JSON writes it, keyword as dcm2niix writes it).
_KEYS = {
    "study_uid": ("0020000D", "StudyInstanceUID"),
    "series_uid": ("0020000E", "SeriesInstanceUID"),
    "sop_class": ("00080016", "SOPClassUID"),
    "frame_uid": ("00200052", "FrameOfReferenceUID"),
    "modality": ("00080060", "Modality"),
    "image_type": ("00080008", "ImageType"),
    "study_description": ("00081030", "StudyDescription"),
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
    "burned_in": ("00280301", "BurnedInAnnotation"),
}


@dataclass(frozen=True)
class Grid:
    """Shape (columns, rows, slices) and affine (4×4, to RAS mm) of a NIfTI file as it is stored.

    `mask` says by what the file is a mask or picture and no CT; "" where nothing says so.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    mask: str = ""


def stem(path: Path) -> str:
    """Return a NIfTI file's name without its suffix."""
    return next(path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix))


def read_header(path: Path) -> tuple[Header, Grid]:
    """Read a NIfTI file's header and the JSON of the same stem, if there is one.

    A BIDS path (`sub-<label>/…`) gives the patient if the JSON does not. Raises UnreadableHeader.
    """
    try:
        grid = _read_grid(path)
        facts = _read_sidecar(path.with_name(f"{stem(path)}.json"))
    except UnreadableHeader:
        raise
    except (*DECODING_ERRORS, HeaderDataError, WrapStructError, OSError) as error:
        raise UnreadableHeader(f"damaged NIfTI header or JSON ({type(error).__name__})") from error
    subject = next((part for part in reversed(path.parts[:-1]) if part.startswith("sub-")), "")
    subject = subject or (path.name.split("_")[0] if path.name.startswith("sub-") else "")
    return _header(facts, subject, float(np.linalg.norm(grid.affine[:3, 2]))), grid


def _read_grid(path: Path) -> Grid:
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as stream:
        content = stream.read(_HEADER_BYTES)
    header = nib.Nifti1Header(content, check=False)
    if header["magic"].tobytes()[:3] != b"n+1" or header["sizeof_hdr"] != _HEADER_BYTES:
        raise UnreadableHeader("not a NIfTI-1 file")
    shape = tuple(map(int, header.get_data_shape()))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = np.asarray(header.get_best_affine(), dtype=float)
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) * header.get_data_dtype().itemsize > MOST_BYTES:
        raise UnreadableHeader("NIfTI file is not a single volume or is too large")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise UnreadableHeader("NIfTI affine is not usable")
    return Grid(shape, affine, _mask(path, header, math.prod(shape)))


def _mask(path: Path, header: nib.Nifti1Header, voxels: int) -> str:
    """Return by what a file is a mask: its name, the intent or type of its voxels, or how well it compresses."""
    word = next((word for word in re.split(r"[^a-z]+", stem(path).lower()) if _MASK_WORD.fullmatch(word)), "")
    if word:
        return f"a mask by its name ({word})"
    if int(header["intent_code"]) == _LABEL_INTENT:
        return "a mask by its intent (NIFTI_INTENT_LABEL)"
    if header.get_data_dtype().itemsize == 1 or header.get_data_dtype().fields:
        return "a mask or picture: its voxels have 8 bits, which hold no HU"
    bits = 8 * path.stat().st_size / voxels
    if path.name.endswith(".gz") and voxels >= _MASK_VOXELS and bits < _MASK_BITS:
        return f"a mask by its compression ({bits:.2f} bits a voxel; CT has noise)"
    return ""


def _read_sidecar(path: Path) -> Mapping[str, Any]:
    if not path.is_file() or path.stat().st_size > _SIDECAR_LIMIT:
        return {}
    facts = json.loads(path.read_bytes())
    if not isinstance(facts, dict):
        raise UnreadableHeader("the JSON of the same stem is not an object")
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
        **{key: text(key) for key in ("study_uid", "series_uid", "sop_class", "frame_uid", "issuer")},
        **{key: text(key) for key in ("study_description", "description")},
        **{key: text(key) for key in ("acquisition", "birth_date", "age", "study_date", "vendor", "model", "kernel")},
        sop_uid="",
        modality=text("modality").upper(),
        image_type=tuple(part.upper() for part in _texts(facts, "image_type")),
        patient_id=text("patient_id") or subject,
        sex=text("sex").upper(),
        names=(text("patient_name"),),
        thickness=thickness[0] if thickness else spacing,
        quality_control=text("quality_control").upper() == "YES",
        burned_in=text("burned_in").upper() == "YES",
        planes=(),
        pixels=_NO_PIXELS,
    )
