"""Conversion of one series to a pseudonymised HU scan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from claire.core.command.errors import RejectedScan
from claire.core.contracts.labels import Label, Names, Sex, age_band, age_years, parse_date
from claire.core.contracts.scans import ScanFacts
from claire.core.contracts.shard_list import ListedSeries
from claire.core.imaging.volume import Volume
from claire.core.sources import dicom
from claire.core.sources.dicom import Header, Plane
from claire.core.sources.formats import DICOM, VOLUMES, read_header
from claire.core.sources.nifti import Grid
from claire.ingest import nifti_voxels
from claire.ingest.geometry import Stack, make_stack, straighten
from claire.ingest.hounsfield import check_hu
from claire.ingest.patients import find_label, find_patient
from claire.ingest.pixels import Frame, read_volume
from claire.ingest.scanner import known_kernel, known_model, known_vendor
from claire.ingest.site import Site

SEXES: Mapping[str, Sex] = {"M": "M", "F": "F", "O": "O"}
#: Reader of the voxels of each format of `core.sources.formats.VOLUMES`: HU and the plane of each slice.
VOXELS: Mapping[str, Callable[[Path, Grid], tuple[np.ndarray, list[Plane]]]] = {
    "nifti": nifti_voxels.read_volume,
}


@dataclass(frozen=True)
class LoadedSeries:
    """A series in memory: its first header, HU, geometry, SOP UIDs in slice order and whether it was resampled."""

    header: Header
    volume: Volume
    stack: Stack
    sop_uids: tuple[str, ...]
    resampled: bool


def make_scan(series: ListedSeries, site: Site, repeated: bool = False) -> tuple[Volume, ScanFacts]:
    """Return the HU volume and facts of one series. Raises RejectedScan with a reason of `contracts.rejects`.

    `repeated`: this series has already occurred in the shard. Only decoding may reject a scan as unreadable; any
    other error is a bug and ends the step.
    """
    if series.problem:
        raise RejectedScan("unreadable", series.problem)
    if not series.chosen and series.modality not in ("CT", ""):
        raise RejectedScan("not_ct", series.why)
    if not series.chosen:
        raise RejectedScan("not_chosen", series.why)
    if repeated:
        raise RejectedScan("inconsistent", "the series is a duplicate in the shard")
    headers = read_headers(series, site)
    header = headers[0][1]
    _check_kind([each for _, each in headers])
    label, names = find_label(series, header, site)
    patient = find_patient(series, header, label, site)
    loaded = load(series, headers, site)
    check_hu(loaded.volume.data)
    return loaded.volume, scan_facts(series, loaded, label, names, patient, site)


def read_headers(series: ListedSeries, site: Site) -> list[tuple[Path, Header]]:
    """Return path and header of each file of a series. Raises RejectedScan (`unreadable`, `inconsistent`)."""
    try:
        headers = [(site.source / name, read_header(series.kind, site.source / name)) for name in series.files]
    except dicom.UnreadableHeader as error:
        raise RejectedScan("unreadable", str(error)) from error
    except (dicom.NotDicom, OSError) as error:
        raise RejectedScan("unreadable", "a file of the series is missing or no longer a DICOM file") from error
    for name in ("patient_id", "issuer", "series_uid", "frame_uid"):
        if len({getattr(header, name) for _, header in headers}) > 1:
            raise RejectedScan("inconsistent", f"{name} differs between slices")
    return headers


def _check_kind(headers: Sequence[Header]) -> None:
    header = headers[0]
    reason, detail = dicom.unfit(header.modality, header.sop_class, header.image_type, header.description)
    if reason:
        raise RejectedScan(reason, detail)
    if any(each.burned_in for each in headers):
        raise RejectedScan("burned_in", "BurnedInAnnotation is YES")


def load(series: ListedSeries, headers: Sequence[tuple[Path, Header]], site: Site) -> LoadedSeries:
    """Return a series as HU. Raises RejectedScan if its geometry or voxels are unusable."""
    return _load_dicom(headers, site) if series.kind == DICOM else _load_volume(series.kind, *headers[0], site)


def _load_dicom(headers: Sequence[tuple[Path, Header]], site: Site) -> LoadedSeries:
    if any(not header.planes for _, header in headers):
        raise RejectedScan("inconsistent", "several frames in one file without their positions")
    frames = [
        Frame(path, index, header.pixels, plane)
        for path, header in headers
        for index, plane in enumerate(header.planes)
    ]
    uids = [header.sop_uid for _, header in headers for _ in header.planes]
    _check_count(len(frames), site)
    stack = make_stack([frame.plane for frame in frames], headers[0][1].thickness)
    _check_tilt(stack, site)
    data = read_volume([frames[index] for index in stack.order], site.threads)
    return _straightened(headers[0][1], data, stack, tuple(uids[index] for index in stack.order))


def _load_volume(kind: str, path: Path, header: Header, site: Site) -> LoadedSeries:
    _, grid = VOLUMES[kind].read_header(path)
    data, planes = VOXELS[kind](path, grid)
    _check_count(len(planes), site)
    stack = make_stack(planes, header.thickness)
    _check_tilt(stack, site)
    return _straightened(header, data[stack.order], stack, ())


def _check_count(count: int, site: Site) -> None:
    if count < site.min_slices:
        raise RejectedScan("too_few_slices", f"{count} slices, fewer than {site.min_slices}")


def _check_tilt(stack: Stack, site: Site) -> None:
    if stack.tilted and not site.resample_tilt:
        raise RejectedScan("gantry_tilt", f"{stack.tilt_degrees:.1f} degrees; --gantry-tilt resample would keep it")


def _straightened(header: Header, data: np.ndarray, stack: Stack, uids: tuple[str, ...]) -> LoadedSeries:
    resampled = stack.tilted
    if resampled:
        data, stack = straighten(data, stack)
    return LoadedSeries(header, Volume(data, stack.affine), stack, uids, resampled)


def scan_facts(
    series: ListedSeries, loaded: LoadedSeries, label: Label, names: Names, patient: str, site: Site
) -> ScanFacts:
    """Return the facts of a scan that may leave the site: pseudonyms, without dates or free text of the header."""
    header, stack, pseudonyms = loaded.header, loaded.stack, site.pseudonyms
    count = len(loaded.volume.data)
    years = label.age if label.age is not None else age_years(header.age, header.birth_date, header.study_date)
    slices = site.slice_labels.find(names, loaded.sop_uids, count) if site.slice_labels else None
    voxels = hashlib.sha256(np.ascontiguousarray(loaded.volume.data, "<i2").data).hexdigest()
    z, row, column = (round(value, 6) for value in stack.spacing_mm)
    return ScanFacts(
        scan=pseudonyms.scan(series.name),
        shard=site.shard,
        line=series.line,
        patient=patient,
        label=label.label,
        reference_standard=label.reference_standard,
        label_days=label_days(label, header),
        split=label.split,
        site=label.site,
        vendor=known_vendor(header.vendor),
        model=known_model(header.model),
        kernel=known_kernel(header.kernel),
        thickness_mm=header.thickness,
        spacing_mm=(z, row, column),
        sex=label.sex or SEXES.get(header.sex, ""),
        age_band=age_band(years),
        phantom=header.quality_control,
        pixel_hash=pseudonyms.digest("pixels", "", voxels).hex(),
        study_uid=pseudonyms.uid(header.study_uid),
        series_uid=pseudonyms.uid(header.series_uid),
        frame_of_reference_uid=pseudonyms.uid(header.frame_uid),
        sop_uids=tuple(pseudonyms.uid(uid) for uid in loaded.sop_uids) or (None,) * count,
        positions_mm=tuple(_position(position) for position in stack.positions),
        slice_labels=tuple(slices) if slices is not None else None,
        kind=series.kind,
        resampled=loaded.resampled,
    )


def _position(position: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 4) for value in position)
    return x, y, z


def label_days(label: Label, header: Header) -> int | None:
    """Return days from the study to the label's date; None if either is unknown."""
    studied = parse_date(header.study_date)
    return (label.label_date - studied).days if label.label_date and studied else None
