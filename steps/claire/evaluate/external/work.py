"""The evaluation on new patients: joined with their labels, measured, compared, written."""

from __future__ import annotations

from claire.core.command.errors import require
from claire.core.command.files import sha256_file, sha256_json
from claire.core.command.record import Record
from claire.core.contracts.external import (
    ExternalCounts,
    ExternalDocument,
    ExternalFigure,
    write_external,
    write_external_table,
)
from claire.core.contracts.model import ModelDocument, read_model
from claire.core.contracts.predictions import PredictionsDocument, read_predictions
from claire.core.contracts.private import private_tables, read_private
from claire.core.statistics.intervals import CONFIDENCE
from claire.evaluate import Parameters
from claire.evaluate.external.cases import Cases, labelled_cases
from claire.evaluate.external.drops import with_drops
from claire.evaluate.external.figures import Setting, calibration_figures, group_figures, share_figures
from claire.evaluate.external.sentences import better_than_chance, sentences
from claire.evaluate.external.truth import Truth, read_truth
from claire.evaluate.inputs import given_path

#: Stem of the record, so that it does not replace that of the cohort's own evaluation.
STEM = "external"


def run(parameters: Parameters) -> None:
    """Measure the model on the predicted patients that have a label, and write `external.json` and `.csv`.

    Raises UsageError where predictions, labels and model do not belong together. Takes seconds: nothing is stored.
    """
    require(
        not (parameters.runs or parameters.scans or parameters.cohort_summary),
        "--external measures a finished model: --runs, --scans and --cohort-summary do not go with it",
        "Leave them out, or leave --external out.",
    )
    predictions_path = given_path(parameters.external, "--external")
    labels_path, model_path = given_path(parameters.labels, "--labels"), given_path(parameters.model, "--model")
    tables = private_tables(parameters.private) if parameters.private else None
    hashes = {name: sha256_file(path) for name, path in (
        ("external", predictions_path), ("labels", labels_path), ("model", model_path)
    )}  # fmt: skip
    if tables:
        hashes["private"] = sha256_json([sha256_file(path) for path in tables])
    with Record("evaluate", STEM, parameters.out, parameters.recorded(), hashes) as record:
        model, predictions = read_model(model_path).document, read_predictions(predictions_path)
        _require_model(predictions, model, hashes["model"])
        private = read_private(tables) if tables else None
        truth = read_truth(labels_path, private, predictions.scans, model.classes)
        document = measure_external(parameters, model, predictions, truth)
        record.output(write_external(parameters.out / "external.json", document))
        record.output(write_external_table(parameters.out / "external.csv", document))
        _report(record, document)


def measure_external(
    parameters: Parameters, model: ModelDocument, predictions: PredictionsDocument, truth: Truth
) -> ExternalDocument:
    """Return the content of `external.json`."""
    inside = model.figures
    prevalence = inside.prevalence if parameters.prevalence is None else parameters.prevalence
    cases = labelled_cases(predictions, truth.patients)
    setting = Setting(prevalence, parameters.bootstrap, parameters.seed)
    measured, notes = _measure(cases, model.classes, setting)
    figures = tuple(with_drops(each, inside, prevalence) for each in measured)
    counts = _counts(predictions, truth, cases)
    return ExternalDocument(
        model=model.variant_id,
        model_sha256=predictions.model_sha256,
        cohort_sha256=predictions.cohort_sha256,
        classes=model.classes,
        positive_class=model.positive_class,
        confidence=CONFIDENCE,
        bootstrap=parameters.bootstrap,
        seed=parameters.seed,
        prevalence=round(prevalence, 6),
        prevalence_from="model" if parameters.prevalence is None else "stated",
        n=counts,
        better_than_chance=better_than_chance(figures[0].figure),
        figures=figures,
        notes=tuple(notes),
        sentences=tuple(sentences(counts, figures, notes)),
    )


def _measure(cases: Cases, classes: tuple[str, ...], setting: Setting) -> tuple[list[ExternalFigure], list[str]]:
    """Return the figures of all labelled patients, then of those in whom the model has a say, and what is missing."""
    measured = [*group_figures(cases, "all", setting)]
    calibrated, note = calibration_figures(cases, "all", cases.counts(classes))
    measured += [*calibrated, *share_figures(cases)]
    notes = [note] if note else []
    told = cases.where(cases.told)
    if not len(told):
        return measured, [*notes, "the model has a say in none of the patients"]
    measured += group_figures(told, "with_say", setting)
    calibrated, _ = calibration_figures(told, "with_say", told.counts(classes))
    return measured + calibrated, notes


def _require_model(predictions: PredictionsDocument, model: ModelDocument, sha256: str) -> None:
    require(
        predictions.model_sha256 == sha256,
        f"the predictions were made by another model file than --model ({predictions.model}, not {model.variant_id})"
        if predictions.model != model.variant_id
        else f"the predictions were made by another file of model {model.variant_id} than --model",
        "Give the model file that `claire apply` was given, or predict again.",
    )


def _counts(predictions: PredictionsDocument, truth: Truth, cases: Cases) -> ExternalCounts:
    return ExternalCounts(
        predicted_patients=len(predictions.patients),
        predicted_scans=len(predictions.scans),
        patients=cases.counts(predictions.classes),
        with_say=cases.where(cases.told).counts(predictions.classes),
        unlabelled_patients=len(predictions.patients) - len(cases),
        unlabelled_scans=truth.unlabelled_scans,
        unused_labels=truth.unused,
    )


def _report(record: Record, document: ExternalDocument) -> None:
    counts = document.n
    record.counts.update(
        patients=sum(counts.patients.values()), with_say=sum(counts.with_say.values()),
        unlabelled_patients=counts.unlabelled_patients, unlabelled_scans=counts.unlabelled_scans,
        unused_labels=counts.unused_labels,
    )  # fmt: skip
    record.facts.update(
        model_sha256=document.model_sha256,
        auc=document.figures[0].figure.value,
        better_than_chance=document.better_than_chance,
    )
    for sentence in document.sentences:
        print(sentence)
