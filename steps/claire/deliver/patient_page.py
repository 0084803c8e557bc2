"""The page of a patient: what the model says, which lesions decided, and what the model is."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claire.core.contracts.gates import Gate, reliable
from claire.core.contracts.lesions import ExplainedScan
from claire.core.contracts.metrics import METRICS
from claire.core.contracts.model import ModelDocument
from claire.core.contracts.predictions import PredictedPatient, PredictionsDocument, Verdict
from claire.deliver.inputs import Inputs, NewScan
from claire.deliver.render import picture_source, render
from claire.deliver.scan_objects import Written
from claire.deliver.words import figure_text, shown_class

#: Figures of the winner that a page tells; the others stand in the model's card.
FIGURES = ("auc", "sensitivity", "specificity", "ppv", "npv")
#: What the parts of an object's file name say, `<scan>.<part>.<kind>.dcm`.
KINDS = {"seg": "lesions (SEG)", "sc": "picture (SC)", "sr": "report (SR)"}


@dataclass(frozen=True)
class ScanResult:
    """A scan of the page: what is known of it, its objects, and whom it is of (empty: pseudonyms alone)."""

    new: NewScan
    written: Written
    identity: Mapping[str, str]


def patient_page(patient: PredictedPatient, scans: Sequence[ScanResult], inputs: Inputs, keep_identity: bool) -> str:
    """Return the page of a patient, a section per scan."""
    return render(
        "patient.html",
        {
            "patient": patient,
            "scans": [_scan(scan, inputs) for scan in scans],
            "keep_identity": keep_identity,
            "identity": scans[0].identity,
            "verdict": _verdict(patient.verdict),
            "unlike": list(dict.fromkeys(reason for scan in scans for reason in scan.new.predicted.out_of_cohort)),
            "model": _model(inputs.model.document, inputs.predictions),
        },
    )


def _verdict(verdict: Verdict) -> dict[str, Any]:
    name = shown_class(verdict)
    values = {"low": verdict.low[name], "value": verdict.probability[name], "high": verdict.high[name]}
    return {"verdict": verdict, "shown": name, "bar": {key: round(100 * value, 1) for key, value in values.items()}}


def _scan(scan: ScanResult, inputs: Inputs) -> dict[str, Any]:
    new = scan.new
    explained = new.found.explained if new.found else None
    return {
        "name": new.predicted.scan,
        "predicted": new.predicted,
        "verdict": _verdict(new.predicted.verdict),
        "identity": scan.identity,
        "explained": explained,
        "no_lesions": _no_lesions(new, inputs),
        "fold": new.found.fold if new.found else None,
        "lesions": _lesions(explained) if explained else [],
        "trust": _trust(inputs),
        "pictures": [_picture(title, picture) for title, picture in new.pictures.items()],
        "no_pictures": _no_pictures(new),
        "objects": [_object(path.name) for path in scan.written.paths],
        "no_objects": scan.written.why,
    }


def _no_lesions(new: NewScan, inputs: Inputs) -> str:
    """Return why a scan has no lesions: it was not asked for, or could not be done."""
    if inputs.lesions is None:
        return "The lesions that decided were not sought in this run."
    return (
        "" if new.found else "The lesions that decided could not be sought in this scan; the log of explain says why."
    )


def _no_pictures(new: NewScan) -> str:
    if new.pictures or new.found is None:
        return ""
    if new.withheld:
        return "Pictures of this scan are not shown: the policy of pictures (--images) of this run forbids it."
    return "There is no picture of this scan: explain drew none."


def _lesions(explained: ExplainedScan) -> list[dict[str, Any]]:
    """Return the lesions in the order of their effect, as the picture numbers them."""
    ordered = sorted(explained.lesions, key=lambda lesion: lesion.id)
    return [{"lesion": lesion, "change": -100 * lesion.delta_probability} for lesion in ordered]


def _trust(inputs: Inputs) -> dict[str, Any]:
    """Return whether the lesions can be believed: gates of the model, as explain saw them."""
    gates = inputs.lesions.gates if inputs.lesions else inputs.model.document.gates
    return {"reliable": reliable(gates), "gates": gates, "closed": [_gate(gate) for gate in gates if not gate.open]}


def _gate(gate: Gate) -> dict[str, str]:
    expected, _, fault = gate.statement.partition("; closed: ")
    return {"expected": expected, "fault": fault}


def _picture(title: str, picture: bytes) -> dict[str, Any]:
    width, height = struct.unpack(">II", picture[16:24])
    return {"title": title, "source": picture_source(picture), "width": width, "height": height}


def _object(name: str) -> dict[str, str]:
    *_, part, kind, _ = name.split(".")
    return {"name": name, "kind": KINDS.get(kind, kind), "part": part}


def _model(document: ModelDocument, predictions: PredictionsDocument) -> dict[str, Any]:
    figures = document.figures
    rows = [
        (METRICS[name][0], METRICS[name][1], figure_text(figures.winner[name]))
        for name in FIGURES
        if name in figures.winner
    ]
    corrected = (
        "AUC, corrected",
        "corrected in part for having been the best of several",
        figure_text(figures.auc_corrected),
    )
    sensitive = [
        (f"{METRICS[name][0]}, second point", "at the operating point for a sensitivity of 90 %", figure_text(figure))
        for name, figure in (figures.at_sensitivity_90 or {}).items()
        if name in ("sensitivity", "specificity")
    ]
    return {
        "document": document,
        "card": document.card,
        "sha256": predictions.model_sha256,
        "figures": [*rows[:1], corrected, *rows[1:], *sensitive],
        "fired": [guard for guard in figures.guards if guard.fired],
    }
