"""The instances of the source series, and which of them each slice of the scan comes from.

The images made here hold what objects must know of their source (UIDs, geometry) and nothing else of its headers: no
identifier can reach an object through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import DSfloat

from claire.core.command.errors import ClaireError, RejectedScan
from claire.core.contracts.scans import ScanFacts
from claire.core.imaging.volume import Volume
from claire.core.privacy.pseudonym import Pseudonyms
from claire.core.sources.dicom import CT_CLASSES, Header, NotDicom, Plane, UnreadableHeader, read_header
from claire.core.sources.formats import DICOM
from claire.deliver.uids import make_uid

_SAME_POSITION_MM = 0.01
#: The affine of a NIfTI has single precision.
_SAME_AFFINE_MM = 0.05
_SAME_DIRECTION = 0.01
_SAME_SPACING_MM = 1e-3


@dataclass(frozen=True)
class SliceSource:
    """The image that a slice comes from, and its frame, from 1; None in an image of one frame."""

    image: Dataset
    frame: int | None


@dataclass(frozen=True)
class SourceSeries:
    """The source series of a scan.

    `images`: one data set per file, in slice order, without pixels; `slices`: the source of each slice; `positions`:
    (slices, 3) LPS mm of each first voxel of the scan's grid; `orientation`: row and column direction, LPS; `spacing`:
    (between rows, between columns) mm; `thickness` mm. `resampled`: the grid of the scan is not that of the images (a
    gantry tilt was undone), so that pixels do not coincide.
    """

    images: tuple[Dataset, ...]
    slices: tuple[SliceSource, ...]
    positions: np.ndarray
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    resampled: bool

    @property
    def multi_frame(self) -> bool:
        """Whether the images are enhanced CT images."""
        return self.slices[0].frame is not None


@dataclass(frozen=True)
class _Frame:
    """A frame of a file: its `number` counts from 1, `file` from 0 as the files were given."""

    file: int
    header: Header
    number: int
    position: np.ndarray


@dataclass(frozen=True)
class _Grid:
    """Directions (3, LPS), spacing (rows, columns) and positions (slices, 3) of the scan's grid."""

    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    positions: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)


def read_source(
    paths: Sequence[Path], grid: Volume, facts: ScanFacts, *, keep_identity: bool, pseudonyms: Pseudonyms | None = None
) -> SourceSeries:
    """Read the headers of a series and map each slice of the scan to its instance, by position along the normal.

    `grid`: a volume (slices, rows, columns) in the grid of the ingested scan; `facts`: of the scan. Without
    `keep_identity` all UIDs are those of `facts`. With `pseudonyms` the pseudonym of each SOP Instance UID is checked
    too.

    Raises ClaireError for a scan that did not come as DICOM and RejectedScan (`unreadable`, `missing_slices`,
    `inconsistent`) if the files are not those of the scan.
    """
    if facts.kind != DICOM:
        raise ClaireError(
            f"scan {facts.scan} has no DICOM objects to refer to: expected a DICOM series, got {facts.kind}",
            "Deliver its tables and pictures instead.",
        )
    headers = [_read(path) for path in paths]
    if len({(header.series_uid, header.issuer, header.patient_id) for header in headers}) != 1:
        raise RejectedScan("inconsistent", "the files are not of one series of one patient")
    scan_grid = _grid(grid, facts)
    frames = _frames(headers, scan_grid, grid, facts)
    chosen = [frames[index] for index in _match(frames, scan_grid, facts)]
    uids = _source_uids(chosen) if keep_identity else _pseudonymous(chosen, facts, pseudonyms)
    thickness = _thickness(headers[0], scan_grid)
    context = _context(headers[0], uids[chosen[0].file], facts, keep_identity)
    images = {file: _image(headers[file], uid, context, thickness) for file, uid in uids.items()}
    return SourceSeries(
        images=tuple(images.values()),
        slices=tuple(
            SliceSource(images[frame.file], frame.number if _is_multi_frame(frame.header) else None) for frame in chosen
        ),
        positions=scan_grid.positions,
        orientation=(*scan_grid.row, *scan_grid.column),
        spacing=scan_grid.spacing,
        thickness=thickness,
        resampled=facts.resampled,
    )


def _read(path: Path) -> Header:
    try:
        header = read_header(path)
    except (NotDicom, UnreadableHeader, OSError) as error:
        raise RejectedScan("unreadable", "a file of the source series is missing or is not a DICOM file") from error
    planes = header.planes
    if not planes or any(None in (plane.position, plane.orientation, plane.spacing) for plane in planes):
        raise RejectedScan("inconsistent", "an instance has no position, orientation or spacing")
    return header


def _is_multi_frame(header: Header) -> bool:
    return header.sop_class in CT_CLASSES - {CTImageStorage}


def _thickness(header: Header, grid: _Grid) -> float:
    if header.thickness and header.thickness > 0:
        return header.thickness
    if len(grid.positions) < 2:
        return 1.0
    return float(np.median(np.diff(grid.positions @ grid.normal)))


def _grid(volume: Volume, facts: ScanFacts) -> _Grid:
    """Return the grid of the scan: directions and spacing of the affine, exact positions of the facts."""
    matrix = np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3]
    columns, rows = np.linalg.norm(matrix[:, :2], axis=0)
    positions = np.array(facts.positions_mm, dtype=float).reshape(-1, 3)
    if len(positions) != len(volume.data):
        raise RejectedScan("inconsistent", f"{len(volume.data)} slices, but positions of {len(positions)}")
    ends = matrix[:, 3] + np.array([[0], [len(positions) - 1]]) * matrix[:, 2]
    if np.linalg.norm(ends - positions[[0, -1]], axis=1).max() > _SAME_AFFINE_MM:
        raise RejectedScan("inconsistent", "the volume is not in the grid of the scan")
    return _Grid(matrix[:, 0] / columns, matrix[:, 1] / rows, (float(rows), float(columns)), positions)


def _frames(headers: Sequence[Header], grid: _Grid, volume: Volume, facts: ScanFacts) -> list[_Frame]:
    """Return all frames of the series, checked against the grid of the scan."""
    for header in headers:
        shape = (header.pixels.rows, header.pixels.columns)
        if shape != volume.data.shape[1:] and not facts.resampled:
            raise RejectedScan("inconsistent", f"slices of {volume.data.shape[1:]}, but images of {shape}")
        for plane in header.planes:
            _check_plane(plane, grid)
    return [
        _Frame(file, header, number, np.array(plane.position))
        for file, header in enumerate(headers)
        for number, plane in enumerate(header.planes, 1)
    ]


def _check_plane(plane: Plane, grid: _Grid) -> None:
    directions = np.array(plane.orientation) - np.concatenate([grid.row, grid.column])
    if np.abs(directions).max() > _SAME_DIRECTION:
        raise RejectedScan("inconsistent", "an image does not lie in the planes of the scan")
    if np.abs(np.array(plane.spacing) - grid.spacing).max() > _SAME_SPACING_MM:
        raise RejectedScan("inconsistent", "the pixel spacing of an image is not that of the scan")


def _match(frames: Sequence[_Frame], grid: _Grid, facts: ScanFacts) -> list[int]:
    """Return the frame of each slice: the nearest along the normal, which must be at the same position.

    Where a gantry tilt was undone, slices were moved in their planes: then only their heights must agree.
    """
    heights = np.array([frame.position for frame in frames]) @ grid.normal
    slices = grid.positions @ grid.normal
    steps = np.diff(np.sort(slices))
    limit = float(steps.min()) / 2 if facts.resampled and len(steps) else _SAME_POSITION_MM
    nearest = np.abs(heights[None] - slices[:, None]).argmin(axis=1)
    missing = int((np.abs(heights[nearest] - slices) > limit).sum())
    if missing:
        raise RejectedScan("missing_slices", f"{missing} of {len(slices)} slices have no image in the source series")
    if len(np.unique(nearest)) < len(nearest):
        raise RejectedScan("inconsistent", "an image would be the source of several slices")
    if (np.abs(heights[:, None] - heights[nearest][None]) < _SAME_POSITION_MM).sum() > len(nearest):
        raise RejectedScan("coincident_slices", "several images of the source series lie at one position")
    offset = np.array([frames[index].position for index in nearest]) - grid.positions
    if not facts.resampled and np.linalg.norm(offset, axis=1).max() > _SAME_POSITION_MM:
        raise RejectedScan("inconsistent", "an image is shifted in its plane against its slice")
    return [int(index) for index in nearest]


def _source_uids(chosen: Sequence[_Frame]) -> dict[int, str]:
    """Return the SOP Instance UID of each file that holds a slice, in slice order."""
    uids = {frame.file: frame.header.sop_uid for frame in chosen}
    header = chosen[0].header
    if len({*uids.values()}) < len(uids) or not all(
        UID(uid).is_valid for uid in (*uids.values(), header.study_uid, header.series_uid)
    ):
        raise RejectedScan("inconsistent", "UIDs of the source are missing, invalid or not unique: no archive holds it")
    return uids


def _pseudonymous(chosen: Sequence[_Frame], facts: ScanFacts, pseudonyms: Pseudonyms | None) -> dict[int, str]:
    """Return the pseudonym of the SOP Instance UID of each file that holds a slice, in slice order.

    Anonymised series may have none: then one is made up from the scan and the slice.
    """
    if len(facts.sop_uids) != len(chosen):
        raise RejectedScan("inconsistent", f"{len(facts.sop_uids)} SOP Instance UIDs: expected {len(chosen)}")
    if pseudonyms and tuple(pseudonyms.uid(frame.header.sop_uid) for frame in chosen) != facts.sop_uids:
        raise RejectedScan("inconsistent", "the SOP Instance UIDs are not those of the scan")
    uids: dict[int, str] = {}
    for number, (frame, uid) in enumerate(zip(chosen, facts.sop_uids, strict=True)):
        if uids.setdefault(frame.file, uid or make_uid(facts.scan, "slice", number)) != uid and uid:
            raise RejectedScan("inconsistent", "an instance has several pseudonyms")
    if len({*uids.values()}) < len(uids):
        raise RejectedScan("inconsistent", "several instances have one pseudonym")
    return uids


def _context(header: Header, uid: str, facts: ScanFacts, keep_identity: bool) -> tuple[str, str, str]:
    """Return UIDs of study, series and frame of reference; one that the source lacks follows from `uid`."""
    study, series, frame = header.study_uid, header.series_uid, header.frame_uid
    if not keep_identity:
        study, series, frame = (
            each or "" for each in (facts.study_uid, facts.series_uid, facts.frame_of_reference_uid)
        )
    return study or make_uid(uid, "study"), series or make_uid(uid, "series"), frame or make_uid(uid, "frame")


def _image(header: Header, uid: str, context: tuple[str, str, str], thickness: float) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = header.sop_class or CTImageStorage, uid
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = context
    image.PositionReferenceIndicator = ""
    image.Modality = "CT"
    image.Rows, image.Columns = header.pixels.rows, header.pixels.columns
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(image, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        setattr(image, keyword, None)
    first, measures, orientation = header.planes[0], Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = _decimals(first.spacing), decimal(thickness)
    orientation.ImageOrientationPatient = _decimals(first.orientation)
    if not _is_multi_frame(header):
        image.update(measures)
        image.update(orientation)
        image.ImagePositionPatient = _decimals(first.position)
        return image
    image.NumberOfFrames = len(header.planes)
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_frame_groups(plane) for plane in header.planes]
    return image


def _frame_groups(plane: Plane) -> Dataset:
    groups, position = Dataset(), Dataset()
    position.ImagePositionPatient = _decimals(plane.position)
    groups.PlanePositionSequence = [position]
    return groups


def _decimals(values: Sequence[float] | None) -> list[DSfloat]:
    return [decimal(value) for value in values or ()]


def decimal(value: float) -> DSfloat:
    """Return a number as a decimal string of at most 16 characters (PS3.5 6.2)."""
    return DSfloat(value, auto_format=True)
