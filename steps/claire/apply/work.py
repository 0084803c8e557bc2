"""The whole step: scans joined, predicted by every network, judged and written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from claire.apply import Parameters
from claire.apply.inputs import Inputs, read_inputs
from claire.apply.verdict import verdict
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.cohort import Cohort, open_cohort, write_cohort
from claire.core.contracts.fingerprint import Acquisition, measure_features, out_of_cohort
from claire.core.contracts.members import cohort_scans, voxel_blocks
from claire.core.contracts.predictions import (
    PredictedPatient,
    PredictedScan,
    PredictionsDocument,
    write_prediction_table,
    write_predictions,
)
from claire.core.contracts.rejects import count_reasons
from claire.core.networks.build import parse_network
from claire.core.networks.devices import choose_device, make_deterministic
from claire.core.networks.predict import predict
from claire.core.statistics import FloatArray

#: The new scans in the form of `cohort.h5`, for explain.
SCANS = "scans.h5"


def run(parameters: Parameters) -> None:
    """Predict the scans, or take the finished predictions from the store."""
    make_deterministic(parameters.threads)
    inputs = read_inputs(parameters)
    device = choose_device(parameters.device, inputs.model.document.variant.dimensions)
    known = {"device": device.kind, "model": inputs.model_sha256}
    stored("apply", parameters, lambda given: write(inputs, given), known)


def write(inputs: Inputs, parameters: Parameters) -> None:
    """Write scans, predictions and the record into `parameters.out`."""
    out, document = parameters.out, inputs.model.document
    files: dict[str, Path | str] = {"model": inputs.model_sha256}
    files |= {f"prepared/{path.name}": path for path in parameters.prepared}
    files |= {f"reject_tables/{path.name}": path for path in parameters.reject_tables}
    with Record("apply", "", out, parameters.recorded(), files) as record:
        scans = cohort_scans(inputs.members, document.classes)
        blocks = progress(voxel_blocks(inputs.members), "joined scan", len(scans))
        sha256 = write_cohort(out / SCANS, scans, document.classes, inputs.size, blocks)
        record.output(out / SCANS, sha256)
        cohort = open_cohort(out / SCANS)
        probability = predict_scans(inputs, cohort, parameters.device)
        predicted = tuple(_predicted(inputs, cohort, number, probability) for number in range(len(scans)))
        predictions = PredictionsDocument(
            model=document.variant_id,
            model_sha256=inputs.model_sha256,
            classes=document.classes,
            cohort_sha256=sha256,
            scans=predicted,
            patients=tuple(_patients(inputs, predicted, probability)),
            set_aside=count_reasons(row for row in inputs.rejects if row.reason != "not_chosen"),
        )
        record.output(write_predictions(out / "predictions.json", predictions))
        record.output(write_prediction_table(out / "predictions.csv", predictions))
        _report(record, predictions)


def predict_scans(inputs: Inputs, cohort: Cohort, device_name: str) -> FloatArray:
    """Return the probabilities (scans, folds, classes) of every network, as `claire train` predicts a test scan.

    Each network is loaded once, one at a time.
    """
    model = inputs.model
    device = choose_device(device_name, model.document.variant.dimensions)
    columns = []
    for fold in model.document.folds:
        network, facts = parse_network(model.weights(fold), f"{model.path.name}: {fold.weights}")
        predictions = predict(network.to(device.torch), cohort, cohort.scans, facts.variant, device.torch)
        what = f"fold {fold.fold}: scans predicted"
        columns.append([each.probability for each in progress(predictions, what, len(cohort.scans))])
    return np.array(columns).swapaxes(0, 1)


def _predicted(inputs: Inputs, cohort: Cohort, number: int, probability: FloatArray) -> PredictedScan:
    scan, member, document = cohort.scans[number], inputs.members[number], inputs.model.document
    hu, lungs = cohort.voxels(scan)
    features = measure_features(Acquisition.of_facts(member.facts), hu, lungs, scan.spacing_mm)
    unlike = out_of_cohort(document.fingerprint, features)
    return PredictedScan(
        scan=scan.scan,
        patient=scan.patient,
        shard=member.facts.shard,
        line=member.facts.line,
        verdict=verdict(probability[number], document, unlike),
        out_of_cohort=unlike,
        lungs=member.prepared.lungs,
        slices=scan.count,
        phantom=scan.phantom,
    )


def _patients(inputs: Inputs, scans: Sequence[PredictedScan], probability: FloatArray) -> list[PredictedPatient]:
    rows: dict[str, list[int]] = defaultdict(list)
    for number, scan in enumerate(scans):
        rows[scan.patient].append(number)
    patients = []
    for patient, own in sorted(rows.items()):
        reasons = list(dict.fromkeys(reason for number in own for reason in scans[number].out_of_cohort))
        names = tuple(scans[number].scan for number in own)
        judged = verdict(probability[own].mean(0), inputs.model.document, reasons)
        patients.append(PredictedPatient(patient=patient, scans=names, verdict=judged))
    return patients


def _report(record: Record, predictions: PredictionsDocument) -> None:
    told: Sequence[PredictedScan] = [scan for scan in predictions.scans if not scan.verdict.cannot_tell]
    record.counts.update(
        scans=len(predictions.scans), patients=len(predictions.patients), told=len(told),
        out_of_cohort=sum(bool(scan.out_of_cohort) for scan in predictions.scans),
    )  # fmt: skip
    record.facts.update(model_sha256=predictions.model_sha256)
    log.info(
        "%d scans of %d patients predicted, %d of them with a decision",
        len(predictions.scans), len(predictions.patients), len(told),
    )  # fmt: skip
