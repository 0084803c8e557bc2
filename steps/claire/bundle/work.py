"""The whole step: open the winner's files, describe it, pack it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from claire.bundle import Parameters
from claire.bundle.card import card_text, model_card, model_figures
from claire.bundle.exports import Members, container_members, monai_members, onnx_members, software
from claire.bundle.fingerprint import make_fingerprint
from claire.bundle.folds import fold_models, weights_member
from claire.bundle.inputs import Inputs, open_inputs, path_of
from claire.bundle.listing import list_model
from claire.bundle.preparation import find_preparation
from claire.core.command.files import sha256_json
from claire.core.command.progress import log
from claire.core.command.record import Record, hash_input
from claire.core.command.store import stored
from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.gates import gates
from claire.core.contracts.model import CARD, Exports, ModelDocument, hash_members, write_model
from claire.core.contracts.winner import read_winner


def run(parameters: Parameters) -> None:
    """Write the model of the winner, or take it from the store; or print what a model file is."""
    if parameters.list:
        for line in list_model(parameters.list):
            print(line)
        return
    stored("bundle", parameters, bundle, {"cohort": open_cohort(path_of(parameters.cohort)).sha256})


def bundle(parameters: Parameters) -> None:
    """Write the model of the winner and the record."""
    variant = read_winner(path_of(parameters.winner)).variant
    with Record("bundle", variant, parameters.out, parameters.recorded(), _hashes(parameters)) as record:
        inputs = open_inputs(parameters)
        with TemporaryDirectory(dir=parameters.out, prefix=".bundle.") as folder:
            document, members = make_model(inputs, parameters, Path(folder))
            _refuse_pseudonyms(inputs, document, members)
            record.output(write_model(parameters.out / f"{variant}.model.zip", document, members))
        record.counts.update(
            folds=len(document.folds), scans=document.fingerprint.scans, patients=document.fingerprint.patients
        )
        exported = [export.run for export in document.exports.onnx if export.member]
        record.facts.update(onnx=len(exported))
        log.info("model of %d networks, %d of them as ONNX", len(document.folds), len(exported))


def _hashes(parameters: Parameters) -> dict[str, Path | str]:
    names = ("winner", "metrics", "cohort_summary", "scans", "folds")
    lists = ("weights", "runs", "lesions", "records")
    hashes: dict[str, Path | str] = {name: path_of(getattr(parameters, name)) for name in names}
    hashes |= {name: sha256_json([hash_input(path) for path in getattr(parameters, name)]) for name in lists}
    return hashes | {"cohort": open_cohort(path_of(parameters.cohort)).sha256}


def make_model(inputs: Inputs, parameters: Parameters, folder: Path) -> tuple[ModelDocument, Members]:
    """Return the document of the model and its members by name; files that are made on the way lie in `folder`."""
    folds, figures = fold_models(inputs), model_figures(inputs)
    card = model_card(inputs, figures, parameters)
    members: Members = {weights_member(run.name): inputs.weights[fold] for fold, run in inputs.runs.items()}
    exports = Exports()
    if parameters.exports == "all":
        onnx, onnx_files = onnx_members(inputs, folds, folder)
        monai = monai_members(inputs, folds, card)
        container = container_members(inputs, card, f"{inputs.variant.id}.model.zip")
        exports = Exports(monai=tuple(monai), onnx=onnx, container=tuple(container))
        members |= onnx_files | monai | container
    document = ModelDocument(
        variant_id=inputs.variant.id,
        variant=inputs.variant,
        classes=inputs.summary.classes,
        positive_class=inputs.metrics.positive_class,
        cohort_sha256=inputs.summary.sha256,
        software=software(),
        seeds={"folds": inputs.summary.seed, "training": inputs.variant.seed, "bootstrap": inputs.metrics.seed},
        folds=folds,
        preparation=find_preparation(inputs),
        fingerprint=make_fingerprint(inputs),
        figures=figures,
        gates=gates([lesions.evidence for lesions in inputs.lesions.values()]) if inputs.lesions else (),
        card=card,
        exports=exports,
        members={fold.weights: fold.sha256 for fold in folds},
    )
    members[CARD] = card_text(document).encode()
    return document.model_copy(update={"members": hash_members(members)}), members


def _refuse_pseudonyms(inputs: Inputs, document: ModelDocument, members: Mapping[str, bytes | Path]) -> None:
    """Raise ValueError if a text of the model names a scan or patient: it would be a bug of this step."""
    names = {*inputs.scans, *(row.patient for row in inputs.scans.values())}
    texts = [document.to_json(), *(member.decode() for member in members.values() if isinstance(member, bytes))]
    if any(names & set(re.findall(r"[\w-]+", text)) for text in texts):
        raise ValueError("a text of the model names a scan or a patient")
