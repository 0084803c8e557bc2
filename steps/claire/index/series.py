"""Series found under a directory, from headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from claire.core.command.errors import ClaireError
from claire.core.command.progress import progress
from claire.core.privacy.pseudonym import is_generic
from claire.core.sources import dicom
from claire.core.sources.dicom import Header, NotDicom, UnreadableHeader, Vector
from claire.core.sources.formats import DICOM, VOLUMES, kind_of
from claire.index.tree import ARCHIVES, Passed, walk

_CHUNK = 2048
#: (kind, header, grid of a volume or problem, bytes) of a file.
FileHeader = tuple[str, Header | None, Any, int]


@dataclass
class Series:
    """What `index` collects about each series while reading the headers of its files.

    `part` counts series that share a UID although they are different series (a localiser, another patient or class).
    `bottom`, `top`: extent in mm along the normal of the first slice. `voxels`: as the headers say. `mask` says by what
    a volume is a mask. `patient` is identifying and never written.
    """

    kind: str
    header: Header | None
    source: Path
    files: list[str] = field(default_factory=list)
    bytes: int = 0
    instances: int = 0
    part: int = 0
    voxels: int = 0
    problem: str = ""
    mask: str = ""
    acquisitions: set[str] = field(default_factory=set)
    positions: set[tuple[str, Vector]] = field(default_factory=set)
    bottom: float = np.inf
    top: float = -np.inf

    @property
    def patient(self) -> tuple[str, str]:
        """Issuer and PatientID."""
        return (self.header.issuer, self.header.patient_id) if self.header else ("", "")

    @property
    def no_scan(self) -> str:
        """What it is if it can never be a scan: a mask, or a DICOM object without images; else ""."""
        if self.mask or self.header is None:
            return self.mask
        kind = dicom.object_kind(self.header.modality, self.header.sop_class)
        return f"no scan: {kind}" if kind else ""

    @property
    def study(self) -> tuple[str, ...]:
        """Key of the study; a series without a study UID counts as a separate study."""
        uid = self.header.study_uid if self.header else ""
        return (*self.patient, uid) if uid else (*self.patient, "", self.files[0])

    @property
    def acquisition(self) -> tuple[str, ...]:
        """Key of the acquisition: study, frame of reference and AcquisitionNumber, where the series has exactly one."""
        frame = self.header.frame_uid if self.header else ""
        return (*self.study, frame, next(iter(self.acquisitions)) if len(self.acquisitions) == 1 else "")

    @property
    def extent_mm(self) -> float:
        """Distance from the first to the last slice in mm; 0 where positions are unknown."""
        return max(0.0, self.top - self.bottom)

    @property
    def thickness_mm(self) -> float:
        """Slice thickness, or the spacing if the header does not give it; infinite if both are unknown."""
        thickness = self.header.thickness if self.header else None
        if thickness and thickness > 0:
            return thickness
        return self.extent_mm / (self.instances - 1) if self.instances > 1 and self.extent_mm else np.inf

    @property
    def owner(self) -> tuple[str, ...]:
        """What must stay in one shard: the patient, or the study if the PatientID is generic."""
        return self.patient if not is_generic(self.patient[1]) else self.study

    def add(self, name: str, size: int, header: Header) -> bool:
        """Add a DICOM file; return False if it repeats an instance (same SOP UID at the same position)."""
        positions = [(header.sop_uid, plane.position) for plane in header.planes if header.sop_uid and plane.position]
        if len(positions) == 1 and positions[0] in self.positions:
            return False
        self.positions.update(positions if len(positions) == 1 else ())
        self.files.append(name)
        self.bytes += size
        self.instances += max(1, len(header.planes))
        self.voxels += header.pixels.rows * header.pixels.columns * max(1, len(header.planes))
        self.acquisitions.add(header.acquisition)
        self._extend(header)
        return True

    def _extend(self, header: Header) -> None:
        for plane in header.planes:
            if plane.position and plane.orientation:
                height = _height(plane.position, plane.orientation)
                self.bottom, self.top = min(self.bottom, height), max(self.top, height)


def _height(position: Vector, orientation: Vector) -> float:
    (a, b, c, d, e, f), (x, y, z) = orientation, position
    return (b * f - c * e) * x + (c * d - a * f) * y + (a * e - b * d) * z


def find_series(source: Path, threads: int, passed: Passed) -> list[Series]:
    """Return all series under `source`, each header read once, sorted by their first file.

    What is no series is counted in `passed`: files that are neither DICOM nor NIfTI, repeated instances, links. So are
    masks and DICOM objects without images, which are series but never scans.
    """
    series_by_key: dict[tuple[Any, ...], Series] = {}
    names = sorted(walk(source, passed))
    passed.counts["files"] += len(names)
    for name, file_header in progress(_read_files(source, names, threads), "files", total=len(names)):
        _add_file(series_by_key, source, name, file_header, passed)
    series = sorted(series_by_key.values(), key=lambda each: each.files[0])
    _number_parts(series)
    passed.counts["masks"] = sum(bool(each.mask) for each in series)
    passed.counts["objects"] = sum(bool(each.no_scan) for each in series) - passed.counts["masks"]
    return series


def _read_files(source: Path, names: Sequence[str], threads: int) -> Iterator[tuple[str, FileHeader]]:
    with ThreadPoolExecutor(threads) as pool:
        stream = iter(names)
        while chunk := [*islice(stream, _CHUNK)]:
            yield from zip(chunk, pool.map(lambda name: _read_file(source / name), chunk), strict=True)


def _read_file(path: Path) -> FileHeader:
    """Return (kind, header, grid of a volume or problem, bytes) of a file; kind "" for files that are not scans."""
    size = 0
    try:
        size = path.stat().st_size
        kind = kind_of(path)
        if kind != DICOM:
            return kind, *VOLUMES[kind].read_header(path), size
        return kind, dicom.read_header(path), None, size
    except NotDicom:
        return "", None, None, size
    except UnreadableHeader as error:
        return "unreadable", None, str(error), size
    except OSError as error:
        return "unreadable", None, f"cannot be opened ({type(error).__name__})", size


def _add_file(
    series_by_key: dict[tuple[Any, ...], Series],
    source: Path,
    name: str,
    file_header: FileHeader,
    passed: Passed,
) -> None:
    kind, header, detail, size = file_header
    folder = name.rpartition("/")[0]
    counts = passed.counts
    if not kind and name.lower().endswith(ARCHIVES):
        passed.over("archives", name)
    elif not kind:
        counts["not_dicom"] += 1
    elif header is None:
        series = series_by_key.setdefault((kind, folder, detail), Series(DICOM, None, source, problem=detail))
        _count_file(series, name, size)
        counts["unreadable"] += 1
    elif kind in VOLUMES:
        series = series_by_key.setdefault((kind, name), Series(kind, header, source, mask=detail.mask))
        series.voxels = math.prod(detail.shape)
        _count_file(series, name, size, detail.shape[2])
        series.bottom, series.top = 0.0, float(np.linalg.norm(detail.affine[:3, 2])) * (detail.shape[2] - 1)
        counts[kind] += 1
    else:
        series = series_by_key.setdefault(_series_key(header, folder), Series(kind, header, source))
        counts["instances" if series.add(name, size, header) else "repeated"] += 1


def _count_file(series: Series, name: str, size: int, instances: int = 1) -> None:
    series.files.append(name)
    series.bytes += size
    series.instances += instances


def _series_key(header: Header, folder: str) -> tuple[Any, ...]:
    kind = (header.modality, header.sop_class, "LOCALIZER" in header.image_type)
    name = header.series_uid or f"folder {folder}"
    return (header.issuer, header.patient_id, header.study_uid, name, *kind)


def _number_parts(series: Iterable[Series]) -> None:
    parts_of: Counter[str] = Counter()
    for each in series:
        uid = each.header.series_uid if each.header else ""
        if uid:
            each.part = parts_of[uid]
            parts_of[uid] += 1


def require_series(series: list[Series], passed: Passed) -> list[Series]:
    """Return the series. Raises ClaireError if none of them has a readable header."""
    summary = passed.summary()
    if not any(each.header for each in series):
        raise ClaireError(
            f"--source holds no DICOM or NIfTI series ({passed.counts['files']} files read, "
            f"{passed.counts['unreadable']} damaged){f'; {summary}' if summary else ''}",
            "Point --source to the directory that holds the series itself, no link or archive of it, and check that "
            "it is mounted and readable.",
        )
    return series
