"""Series of phantoms as DICOM files: CT Image Storage, explicit VR little endian, in shuffled files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from claire.commands.phantom.scanners import Person, Scanner, Traits, make_uid
from claire.commands.phantom.shapes import Grid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Study:
    """One visit of a person."""

    person: Person
    uid: str
    date: str
    time: str
    traits: Traits


@dataclass(frozen=True)
class Series:
    """Images of one reconstruction. `hu`: (images, rows, columns) int16; `positions`: LPS mm of each first voxel."""

    number: int
    description: str
    image_type: tuple[str, ...]
    hu: np.ndarray
    positions: Sequence[tuple[float, float, float]]
    orientation: tuple[float, ...]
    pixel: tuple[float, float]
    thickness: float
    spacing: float | None


def axial_positions(grid: Grid) -> list[tuple[float, float, float]]:
    """Return the LPS position of each slice's first voxel."""
    return [(float(grid.x.flat[0]), float(grid.y.flat[0]), float(z)) for z in grid.z.flat]


def to_stored(hu: np.ndarray, scanner: Scanner, round_field: bool = True) -> np.ndarray:
    """Return HU as a scanner's stored values, with its padding value outside its round field of view."""
    stored: np.ndarray = np.rint((hu.astype(np.float32) - scanner.intercept) / scanner.slope)
    if scanner.padding is not None and round_field:
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in hu.shape[-2:])
        outside = np.hypot(rows[:, None], columns[None]) > hu.shape[-1] / 2
        stored[..., outside] = scanner.padding
    return stored.astype(np.int16 if scanner.signed else np.uint16)


def write_series(folder: Path, series: Series, study: Study, rng: np.random.Generator) -> str:
    """Write a series into `folder` under meaningless names in random order; return its UID."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = make_uid(study.uid, "series", series.number)
    stored = to_stored(series.hu, study.traits.scanner, series.orientation == AXIAL)
    count = len(stored)
    names = rng.permutation(10**6)[:count]
    head = _head(series, study, uid)
    for i in range(count):
        rank = count - i if study.traits.scanner.head_first_numbers else i + 1
        _write_image(folder / f"IM{names[i]:06d}", head, stored[i], series.positions[i], make_uid(uid, i), rank)
    return uid


def _write_image(
    path: Path, head: Dataset, stored: np.ndarray, position: tuple[float, ...], uid: str, number: int
) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.update(head)
    image.SOPInstanceUID = uid
    image.InstanceNumber = number
    image.ImagePositionPatient = [_decimal(value) for value in position]
    image.SliceLocation = _decimal(position[2])
    image.PixelData = stored.tobytes()
    image.save_as(path, enforce_file_format=True)


def _decimal(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _head(series: Series, study: Study, uid: str) -> Dataset:
    """Return the header that the images of a series share."""
    scanner, grid_rows, grid_columns = study.traits.scanner, *series.hu.shape[1:]
    head = Dataset()
    head.SpecificCharacterSet = "ISO_IR 192"
    head.ImageType = list(series.image_type)
    head.SOPClassUID = CTImageStorage
    _identify(head, study)
    head.Modality = "CT"
    head.Manufacturer, head.ManufacturerModelName = scanner.manufacturer, scanner.model
    head.SeriesDescription, head.SeriesNumber = series.description, series.number
    head.SeriesInstanceUID = uid
    head.AcquisitionNumber = 1
    head.BodyPartExamined, head.PatientPosition = "CHEST", "HFS"
    head.KVP, head.XRayTubeCurrent = "120", 180
    head.ConvolutionKernel = study.traits.kernel_name
    head.SliceThickness = _decimal(series.thickness)
    if series.spacing is not None and scanner.writes_spacing:
        head.SpacingBetweenSlices = _decimal(series.spacing)
    head.FrameOfReferenceUID = make_uid(study.uid, "frame")
    head.PositionReferenceIndicator = ""
    head.ImageOrientationPatient = list(series.orientation)
    head.PixelSpacing = [_decimal(value) for value in series.pixel]
    head.Rows, head.Columns = grid_rows, grid_columns
    head.SamplesPerPixel, head.PhotometricInterpretation = 1, "MONOCHROME2"
    head.BitsAllocated, head.BitsStored, head.HighBit = 16, 16, 15
    head.PixelRepresentation = int(scanner.signed)
    head.RescaleSlope, head.RescaleIntercept = f"{scanner.slope:g}", f"{scanner.intercept:g}"
    if scanner.writes_spacing:
        head.RescaleType = "HU"
    if scanner.padding is not None:
        head.PixelPaddingValue = scanner.padding
    head.WindowCenter, head.WindowWidth = "-500", "1500"
    head.QualityControlImage = "YES"
    return head


def _identify(head: Dataset, study: Study) -> None:
    """Write the made-up identity where real headers have theirs, private tags included."""
    person = study.person
    head.PatientName, head.PatientID = person.name, person.patient_id
    head.PatientBirthDate, head.PatientSex, head.PatientAge = person.birth, person.sex, f"{person.age:03d}Y"
    head.PatientAddress, head.PatientTelephoneNumbers = person.address, person.phone
    head.InstitutionName, head.InstitutionAddress = person.site, "1 Made-up Square, Nowhere"
    head.ReferringPhysicianName, head.OperatorsName = "Vane^Mortimer", "Reed^Nell"
    head.StationName = f"CT{sum(map(ord, person.site)) % 9}"
    head.StudyInstanceUID, head.StudyID = study.uid, study.uid[-6:]
    head.AccessionNumber = f"ACC{study.uid[-8:]}"
    head.StudyDescription = "CT CHEST WITHOUT CONTRAST"
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(head, f"{name}Date", study.date)
        setattr(head, f"{name}Time", study.time)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        private = head.private_block(0x0029, f"{study.traits.scanner.manufacturer.upper()} EXAM", create=True)
        private.add_new(0x10, "LO", f"{person.name.replace('^', ' ')} {person.birth}")
        private.add_new(0x11, "ST", f"Reported to {person.name} at {person.phone}")
