"""Turn a shard of series into pseudonymised HU scans.

Each chosen series becomes one member of `NNNN.scans.zip`: int16 HU, sorted by position along the normal, with a JSON
sidecar. What cannot be used is set aside with a reason. PatientID, UIDs and paths become keyed pseudonyms; the way back
is written to --private alone.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from claire.core.command.errors import RejectedScan
from claire.core.command.parameters import InputDirectory, InputFile, SitePath, StepParameters, parameter
from claire.core.command.progress import about, progress
from claire.core.command.record import SCHEMA_VERSION, Record
from claire.ingest.private import Outcome, make_private, write_private

if TYPE_CHECKING:
    from claire.core.imaging.volume import Volume
    from claire.core.privacy.pseudonym import Pseudonyms
    from claire.core.sources.dicom import Header
    from claire.index.series import Line
    from claire.ingest.geometry import Stack
    from claire.ingest.labels import Label, LabelTable, Names, SliceTable
    from claire.ingest.pixels import Frame

log = logging.getLogger("claire")

REASONS = (
    *("not_chosen", "no_label", "too_few_slices", "missing_slices", "coincident_slices", "gantry_tilt", "localiser"),
    *("not_ct", "not_hu", "unreadable", "inconsistent", "ambiguous_patient", "mixed_orientation"),
)


@dataclass(frozen=True)
class Site:
    """What the whole shard shares: where the files lie, the tables, the pseudonyms and the flags."""

    source: Path
    labels: LabelTable
    slice_labels: SliceTable | None
    pseudonyms: Pseudonyms
    ambiguous: frozenset[tuple[str, str]]
    resample_tilt: bool
    min_slices: int
    threads: int


@dataclass(frozen=True)
class Loaded:
    """A series in memory: its first header, HU, geometry, SOP UIDs in slice order and whether it was resampled."""

    header: Header
    volume: Volume
    stack: Stack
    sop_uids: tuple[str, ...]
    resampled: bool


class Parameters(StepParameters):
    """Parameters of `claire ingest`."""

    source: InputDirectory = parameter(help="the directory that index was pointed to")
    shard: InputFile = parameter(help="NNNN.shard.jsonl of index")
    labels: InputFile = parameter(help="CSV table with a label for each patient or series")
    slice_labels: InputFile | None = parameter(None, help="CSV table with labels of single slices")
    key: InputFile = parameter(help="file with the pseudonyms' secret key, 16 bytes or more")
    private: SitePath | None = parameter(
        None, help="directory at the site for the table of pseudonyms; else the way back is lost"
    )
    gantry_tilt: Literal["reject", "resample"] = parameter("reject", help="what to do with a tilted gantry")
    min_slices: int = parameter(20, help="series with fewer slices are set aside", ge=1)


def run(parameters: Parameters) -> None:
    """Write scans, rejects, the private table and the record of one shard."""
    from claire.core.contracts.scans import shard_stem
    from claire.core.privacy.pseudonym import read_key
    from claire.index.series import read_lines
    from claire.ingest.labels import read_labels, read_slice_labels

    stem = shard_stem(parameters.shard)
    about("ingest", stem)
    pseudonyms, labels = read_key(parameters.key), read_labels(parameters.labels)
    slices = read_slice_labels(parameters.slice_labels) if parameters.slice_labels else None
    lines = read_lines(parameters.shard)
    inputs = {"shard": parameters.shard, "labels": parameters.labels}
    inputs |= {"slice_labels": parameters.slice_labels} if parameters.slice_labels else {}
    if parameters.private:
        make_private(parameters.private)
    else:
        log.info("no --private: the way back from pseudonyms to series is dropped")
    with Record("ingest", stem, parameters.out, parameters.recorded(), inputs) as record, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        firsts = first_headers(parameters.source, lines)
        site = Site(
            parameters.source,
            labels,
            slices,
            pseudonyms,
            ambiguous_patients(firsts.values()),
            parameters.gantry_tilt == "resample",
            parameters.min_slices,
            parameters.threads,
        )
        outcomes = write_outputs(parameters.out, stem, lines, site, record)
        if parameters.private:
            write_private(parameters.private, stem, outcomes, firsts)


def write_outputs(out: Path, stem: str, lines: Sequence[Line], site: Site, record: Record) -> list[Outcome]:
    """Write scans and rejects, one scan in memory at a time; return what became of each line."""
    from claire.core.command.tables import write_rejects
    from claire.core.contracts.scans import write_shard

    rejects, outcomes, written = [], [], set()
    path = out / f"{stem}.scans.zip"
    with write_shard(path) as shard:
        for line in progress(lines, "series"):
            scan, reason = site.pseudonyms.scan(line.name), ""
            try:
                volume, facts = make_scan(line, site, scan in written)
            except RejectedScan as reject:
                reason, facts = reject.reason, {}
                rejects.append(_reject_row(stem, line, scan, reject))
            else:
                shard.add_volume(scan, volume, facts)
                written.add(scan)
            record.counts[f"rejected_{reason}" if reason else "scans"] += 1
            outcomes.append(Outcome(line, scan, facts.get("patient", ""), reason))
    record.output(path)
    record.output(write_rejects(out / f"{stem}.ingest.rejects.csv", rejects))
    log.info("%d scans, %d series set aside", record.counts["scans"], len(rejects))
    return outcomes


def _reject_row(stem: str, line: Line, scan: str, reject: RejectedScan) -> dict[str, Any]:
    return {
        "step": "ingest",
        "shard": stem,
        "line": line.line,
        "scan": scan,
        "reason": reject.reason,
        "detail": reject.detail,
    }


def make_scan(line: Line, site: Site, repeated: bool = False) -> tuple[Volume, dict[str, Any]]:
    """Return the HU volume and sidecar of one series. Raises RejectedScan with one of `REASONS`.

    `repeated`: the shard has given this series already.
    """
    from claire.ingest.hounsfield import check_hu

    if line.problem:
        raise RejectedScan("unreadable", line.problem)
    if not line.chosen:
        raise RejectedScan("not_chosen", line.why)
    if repeated:
        raise RejectedScan("inconsistent", "the series stands in the shard twice")
    try:
        headers = read_headers(line, site)
        header = headers[0][1]
        _check_kind(header)
        label, names = find_label(line, header, site)
        patient = find_patient(header, label, site)
        loaded = load(line, headers, site)
        check_hu(loaded.volume.data)
        return loaded.volume, sidecar(line, loaded, label, names, patient, site)
    except (RejectedScan, MemoryError):
        raise
    except Exception as error:
        log.debug("line %d: %s", line.line, type(error).__name__)
        raise RejectedScan("unreadable", f"{type(error).__name__} while it was read") from error


def read_headers(line: Line, site: Site) -> list[tuple[Path, Header]]:
    """Return path and header of each file of a series. Raises RejectedScan (`unreadable`, `inconsistent`)."""
    from claire.core.sources import dicom, nifti

    read = dicom.read_header if line.kind == "dicom" else lambda path: nifti.read_header(path)[0]
    try:
        found = [(site.source / name, read(site.source / name)) for name in line.files]
    except dicom.UnreadableHeader as error:
        raise RejectedScan("unreadable", str(error)) from error
    except (dicom.NotDicom, OSError) as error:
        raise RejectedScan("unreadable", "a file of the series is gone or is no DICOM file any more") from error
    for name in ("patient_id", "issuer", "series_uid", "frame_uid"):
        if len({getattr(header, name) for _, header in found}) > 1:
            raise RejectedScan("inconsistent", f"{name} differs between slices")
    return found


def _check_kind(header: Header) -> None:
    from claire.core.sources.dicom import unfit

    reason, detail = unfit(header.modality, header.sop_class, header.image_type, header.description)
    if reason:
        raise RejectedScan(reason, detail)


def find_label(line: Line, header: Header, site: Site) -> tuple[Label, Names]:
    """Return the label of a series and its names. Raises RejectedScan (`no_label`)."""
    from claire.ingest.labels import Names

    names = Names(header.patient_id, header.study_uid, header.series_uid, line.files)
    label = site.labels.find(names)
    if label is None:
        raise RejectedScan("no_label", f"the table has no label for its {site.labels.key}")
    return label, names


def find_patient(header: Header, label: Label, site: Site) -> str:
    """Return the pseudonym of the patient. Raises RejectedScan (`ambiguous_patient`)."""
    from claire.core.privacy.pseudonym import is_generic

    if label.patient:
        return site.pseudonyms.patient("", label.patient)
    if is_generic(header.patient_id):
        raise RejectedScan("ambiguous_patient", "the PatientID is empty or generic; give `patient` in the table")
    if (header.issuer, header.patient_id) in site.ambiguous:
        raise RejectedScan("ambiguous_patient", "one PatientID spans different sexes or birth dates")
    return site.pseudonyms.patient(header.issuer, header.patient_id)


def first_headers(source: Path, lines: Sequence[Line]) -> dict[int, Header]:
    """Return the header of the first file of each line that has a readable one."""
    from claire.core.sources import dicom, nifti

    found = {}
    for line in lines:
        path = source / line.files[0]
        try:
            found[line.line] = dicom.read_header(path) if line.kind == "dicom" else nifti.read_header(path)[0]
        except (dicom.NotDicom, dicom.UnreadableHeader, OSError):
            log.debug("line %d: no readable header", line.line)
    return found


def ambiguous_patients(headers: Iterable[Header]) -> frozenset[tuple[str, str]]:
    """Return (issuer, PatientID) of patients whose series differ in sex or birth date."""
    sexes, births = defaultdict(set), defaultdict(set)
    for header in headers:
        patient = header.issuer, header.patient_id
        sexes[patient] |= {header.sex} & {"M", "F"}
        births[patient] |= {header.birth_date} - {""}
    return frozenset(patient for patient in sexes if len(sexes[patient]) > 1 or len(births[patient]) > 1)


def load(line: Line, headers: Sequence[tuple[Path, Header]], site: Site) -> Loaded:
    """Return a series as HU. Raises RejectedScan for its geometry or voxels."""
    return _load_dicom(headers, site) if line.kind == "dicom" else _load_nifti(*headers[0], site)


def _load_dicom(headers: Sequence[tuple[Path, Header]], site: Site) -> Loaded:
    from claire.ingest.geometry import make_stack
    from claire.ingest.pixels import Frame, read_volume

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
    ordered: list[Frame] = [frames[place] for place in stack.order]
    data = read_volume(ordered, site.threads)
    return _finish(headers[0][1], data, stack, tuple(uids[place] for place in stack.order))


def _load_nifti(path: Path, header: Header, site: Site) -> Loaded:
    from claire.core.sources import nifti
    from claire.ingest.geometry import make_stack

    _, grid = nifti.read_header(path)
    data, planes = nifti.read_volume(path, grid)
    _check_count(len(planes), site)
    stack = make_stack(planes, header.thickness)
    _check_tilt(stack, site)
    return _finish(header, data[stack.order], stack, ())


def _check_count(count: int, site: Site) -> None:
    if count < site.min_slices:
        raise RejectedScan("too_few_slices", f"{count} slices, fewer than {site.min_slices}")


def _check_tilt(stack: Stack, site: Site) -> None:
    if stack.tilted and not site.resample_tilt:
        raise RejectedScan("gantry_tilt", f"{stack.tilt_degrees:.1f} degrees; --gantry-tilt resample would keep it")


def _finish(header: Header, data: Any, stack: Stack, uids: tuple[str, ...]) -> Loaded:
    from claire.core.imaging.volume import Volume
    from claire.ingest.geometry import straighten

    resampled = stack.tilted
    if resampled:
        data, stack = straighten(data, stack)
    return Loaded(header, Volume(data, stack.affine), stack, uids, resampled)


def sidecar(line: Line, loaded: Loaded, label: Label, names: Names, patient: str, site: Site) -> dict[str, Any]:
    """Return the facts of a scan that may leave the site: pseudonyms, no date, no free text that names somebody."""
    import numpy as np

    from claire.core.privacy.pseudonym import scrub
    from claire.ingest.labels import age_band, age_years

    header, stack, uid = loaded.header, loaded.stack, site.pseudonyms.uid
    count = len(loaded.volume.data)
    identifiers = (header.patient_id, header.birth_date, *header.names)
    years = label.age if label.age is not None else age_years(header.age, header.birth_date, header.study_date)
    slices = site.slice_labels.find(names, loaded.sop_uids, count) if site.slice_labels else None
    return {
        "schema_version": SCHEMA_VERSION,
        "scan": site.pseudonyms.scan(line.name),
        "patient": patient,
        "label": label.label,
        "reference_standard": label.reference_standard,
        "label_days": label_days(label, header),
        "split": label.split,
        "site": label.site,
        "vendor": scrub(header.vendor, identifiers),
        "model": scrub(header.model, identifiers),
        "kernel": scrub(header.kernel, identifiers),
        "thickness_mm": header.thickness,
        "spacing_mm": [round(value, 6) for value in stack.spacing_mm],
        "sex": label.sex or (header.sex if header.sex in ("M", "F", "O") else ""),
        "age_band": age_band(years),
        "phantom": header.quality_control,
        "pixel_hash": hashlib.sha256(np.ascontiguousarray(loaded.volume.data, "<i2")).hexdigest(),
        "study_uid": uid(header.study_uid),
        "series_uid": uid(header.series_uid),
        "frame_of_reference_uid": uid(header.frame_uid),
        "sop_uids": [uid(value) for value in loaded.sop_uids] or [None] * count,
        "positions_mm": [[round(float(value), 4) for value in place] for place in stack.positions],
        "slice_labels": slices,
        "kind": line.kind,
        "resampled": loaded.resampled,
    }


def label_days(label: Label, header: Header) -> int | None:
    """Return days from the study to the label's date; None where either is unknown."""
    from claire.ingest.labels import parse_date

    studied = parse_date(header.study_date)
    return (label.label_date - studied).days if label.label_date and studied else None
