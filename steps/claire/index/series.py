"""Series found under a directory, from headers alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from claire.core.command.errors import ClaireError
from claire.core.privacy.pseudonym import is_generic
from claire.core.sources import dicom
from claire.core.sources.dicom import Header, NotDicom, UnreadableHeader, Vector
from claire.core.sources.formats import DICOM, VOLUMES, kind_of

_CHUNK = 2048


@dataclass
class Series:
    """What `index` collects about each series while reading the headers of its files.

    `part` counts series that share a UID although they are different series (a localiser, another patient or class).
    `bottom`, `top`: extent in mm along the normal of the first slice. `patient` is identifying and never written.
    """

    kind: str
    header: Header | None
    source: Path
    files: list[str] = field(default_factory=list)
    bytes: int = 0
    instances: int = 0
    part: int = 0
    problem: str = ""
    acquisitions: set[str] = field(default_factory=set)
    positions: set[tuple[str, Vector]] = field(default_factory=set)
    bottom: float = np.inf
    top: float = -np.inf

    @property
    def patient(self) -> tuple[str, str]:
        """Issuer and PatientID."""
        return (self.header.issuer, self.header.patient_id) if self.header else ("", "")

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


def find_series(source: Path, threads: int, counts: Counter[str]) -> list[Series]:
    """Return all series under `source`, each header read once, sorted by their first file.

    Files that are neither DICOM nor NIfTI are skipped and counted in `counts`, as are repeated instances and links.
    """
    series_by_key: dict[tuple[Any, ...], Series] = {}
    names = sorted(walk(source, counts))
    counts["files"] += len(names)
    with ThreadPoolExecutor(threads) as pool:
        stream = iter(names)
        while chunk := [*islice(stream, _CHUNK)]:
            for name, file_header in zip(chunk, pool.map(lambda name: _read_file(source / name), chunk), strict=True):
                _add_file(series_by_key, source, name, file_header, counts)
    series = sorted(series_by_key.values(), key=lambda each: each.files[0])
    _number_parts(series)
    return series


def walk(source: Path, counts: Counter[str]) -> Iterator[str]:
    """Yield the files under `source` as relative POSIX paths: without hidden files and links that leave it.

    Links to directories are not followed (their targets inside the source are visited anyway); links to files are
    followed if the file is inside. Pipes and devices are never opened.
    """
    root, pending = source.resolve(), [""]
    while pending:
        folder = pending.pop()
        try:
            entries = [*os.scandir(root / folder)]
        except OSError:
            counts["unreadable_folders"] += 1
            continue
        for entry in entries:
            name = f"{folder}{entry.name}"
            if entry.name.startswith("."):
                counts["hidden"] += 1
            elif entry.is_dir(follow_symlinks=False):
                pending.append(f"{name}/")
            elif entry.is_file(follow_symlinks=False) or _links_inside(entry, root):
                yield name
            else:
                counts["links_and_others"] += 1


def _links_inside(entry: os.DirEntry[str], root: Path) -> bool:
    if not entry.is_symlink():
        return False
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # broken, or a loop
        return False
    return target.is_file() and target.is_relative_to(root)


def _read_file(path: Path) -> tuple[str, Header | None, Any, int]:
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
    file_header: tuple[str, Header | None, Any, int],
    counts: Counter[str],
) -> None:
    kind, header, detail, size = file_header
    folder = name.rpartition("/")[0]
    if not kind:
        counts["not_dicom"] += 1
    elif header is None:
        series = series_by_key.setdefault((kind, folder, detail), Series(DICOM, None, source, problem=detail))
        _count_file(series, name, size)
        counts["unreadable"] += 1
    elif kind in VOLUMES:
        series = series_by_key.setdefault((kind, name), Series(kind, header, source))
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


def require_series(series: list[Series], counts: Counter[str]) -> list[Series]:
    """Return the series. Raises ClaireError if none of them has a readable header."""
    if not any(each.header for each in series):
        raise ClaireError(
            f"--source holds no DICOM or NIfTI series ({counts['files']} files read, {counts['unreadable']} damaged)",
            "Point --source to the directory that holds the series, and check that it is mounted and readable.",
        )
    return series
