"""Writes small made-up CT series, right or broken in one respect, for the tests of index and ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SIZE = 48
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def chest(slices: int = 24, size: int = SIZE) -> np.ndarray:
    """Return a crude chest, (slices, size, size) int16 HU: air, body, two lungs, a spine; every slice is different."""
    z, y, x = np.mgrid[:slices, :size, :size]
    y, x = y / size - 0.5, x / size - 0.5
    hu = np.full(z.shape, -1000, np.int16)
    hu[(x / 0.46) ** 2 + (y / 0.36) ** 2 < 1] = 40
    for side in (-0.19, 0.19):
        hu[((x - side) / 0.14) ** 2 + (y / 0.24) ** 2 < 1] = -850
    hu[(np.abs(x) < 0.05) & (np.abs(y - 0.27) < 0.05)] = 400
    return hu + (z % 50).astype(np.int16)


@dataclass
class SeriesMaker:
    """A CT series to be written: headers as `tags` (keyword → value), voxels as HU, one file a slice."""

    hu: np.ndarray = field(default_factory=chest)
    patient: str = "4711"
    study: str = "1.2.3.100"
    series: str = "1.2.3.200"
    spacing: float = 2.0
    pixel: float = 5.0
    origin: tuple[float, float, float] = (-120.0, -120.0, -300.0)
    orientation: tuple[float, ...] = AXIAL
    step: tuple[float, float, float] | None = None
    positions: Sequence[Sequence[float]] | None = None
    slope: float = 1.0
    intercept: float = -1024.0
    syntax: str = ExplicitVRLittleEndian
    tags: dict[str, Any] = field(default_factory=dict)

    def place(self, number: int) -> list[float]:
        """Position of a slice, LPS mm."""
        if self.positions is not None:
            return [*map(float, self.positions[number])]
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        step = np.array(self.step) if self.step else np.cross(row, column) * self.spacing
        return [*map(float, np.array(self.origin) + number * step)]

    def dataset(self, number: int) -> FileDataset:
        """Return one slice."""
        made = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=FileMetaDataset())
        made.file_meta.TransferSyntaxUID = self.syntax
        made.file_meta.MediaStorageSOPClassUID = CTImageStorage
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"{self.series}.{number + 1}"
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.StudyInstanceUID, made.SeriesInstanceUID = self.study, self.series
        made.FrameOfReferenceUID = f"{self.study}.9"
        made.Modality, made.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.PatientID, made.PatientName, made.PatientSex = self.patient, "Doe^Jane", "F"
        made.PatientAge, made.StudyDate = "063Y", "20200315"
        made.Manufacturer, made.ManufacturerModelName, made.ConvolutionKernel = "ACME", "Scan One", "B30f"
        made.SliceThickness, made.InstanceNumber = self.spacing, number + 1
        made.ImagePositionPatient, made.ImageOrientationPatient = self.place(number), [*self.orientation]
        made.PixelSpacing = [self.pixel, self.pixel]
        made.RescaleSlope, made.RescaleIntercept = self.slope, self.intercept
        self._voxels(made, number)
        for keyword, value in self.tags.items():
            setattr(made, keyword, value)
        return made

    def _voxels(self, made: FileDataset, number: int) -> None:
        stored = np.rint((self.hu[number] - self.intercept) / self.slope).astype("<i2")
        made.Rows, made.Columns = stored.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
        made.PixelData = stored.tobytes()

    def write(self, folder: Path, keep: Sequence[int] | None = None) -> Path:
        """Write the slices `keep` (all) to `folder`, in an order of files that is not that of the slices."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(len(self.hu)) if keep is None else keep:
            self.dataset(number).save_as(folder / f"IM{(number * 7) % len(self.hu):04d}_{number}.dcm")
        return folder


def edit(path: Path, **tags: Any) -> None:
    """Change elements of one file."""
    data = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.save_as(path)
