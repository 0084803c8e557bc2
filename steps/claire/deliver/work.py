"""The whole step: objects and a page of every patient, one patient in memory at a time, and the list of all."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from claire.core.command.files import file_state, only_for_owner, write_text
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.predictions import PredictedPatient, PredictedScan
from claire.deliver import Parameters
from claire.deliver.inputs import Inputs
from claire.deliver.list_page import ListPage
from claire.deliver.patient_page import ScanResult, patient_page
from claire.deliver.scan_objects import Written, write_scan_objects
from claire.deliver.who import identity_of

WITH_IDENTITY = (
    "--keep-identity: PAGES AND OBJECTS NAME PATIENTS. Keep them at the site of the data; they are readable by their "
    "owner alone, and nothing goes to the store"
)


def run(parameters: Parameters) -> None:
    """Write everything, or take the finished pages from the store; with the identity nothing is stored."""
    inputs = Inputs(parameters)
    if parameters.keep_identity:
        log.warning(WITH_IDENTITY)
        write(inputs, parameters)
        return
    names = (name for series in inputs.listed() for name in series.files)
    known = {"source": [list(file_state(parameters.source / name)) for name in names]}
    stored("deliver", parameters, partial(write, inputs), known)


def write(inputs: Inputs, parameters: Parameters) -> None:
    """Write pages, objects and the record into `parameters.out`."""
    files = {
        name: path
        for name in ("model", "predictions", "scans", "lesions", "overlays", "saliency")
        if (path := getattr(parameters, name)) is not None
    }
    for name in ("volumes", "reject_tables"):
        files |= {f"{name}/{path.name}": path for path in getattr(parameters, name)}
    predicted = {scan.scan: scan for scan in inputs.predictions.scans}
    page = ListPage(inputs, parameters.keep_identity)
    with (
        Record("deliver", "", parameters.out, parameters.recorded(), files) as record,
        only_for_owner() if parameters.keep_identity else nullcontext(),
    ):
        for patient in progress(inputs.predictions.patients, "patients"):
            _write_patient(patient, predicted, inputs, parameters, page, record)
        record.output(write_text(parameters.out / "index.html", page.text()))
        record.counts.update(patients=len(inputs.predictions.patients), scans=len(predicted))
        record.facts.update(model_sha256=inputs.predictions.model_sha256)


def _write_patient(
    patient: PredictedPatient,
    predicted: dict[str, PredictedScan],
    inputs: Inputs,
    parameters: Parameters,
    page: ListPage,
    record: Record,
) -> None:
    """Write objects and page of a patient, and add its scans to the list."""
    scans = []
    for name in patient.scans:
        new = inputs.scan(predicted[name])
        written = Written(why="DICOM objects were not asked for.")
        if parameters.objects == "dicom":
            keep = parameters.keep_identity
            written = write_scan_objects(new, inputs, parameters.out, keep_identity=keep, counts=record.counts)
        identity = identity_of(new.series, new.files) if parameters.keep_identity else {}
        scans.append(ScanResult(new, written, identity))
        page.add(scans[-1])
        for path in written.paths:
            record.output(path)
        record.counts.update(objects=len(written.paths), pictures=len(new.pictures))
    text = patient_page(patient, scans, inputs, parameters.keep_identity)
    record.output(write_text(_page_path(parameters.out, patient.patient), text))


def _page_path(out: Path, patient: str) -> Path:
    return out / f"{patient}.html"
