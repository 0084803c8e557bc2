"""Everything about one predictor, a variant or the nested procedure, over its folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from claire.core.contracts.metrics import Calibration, Confusion, Count, External, Figure, Figures, Inherited, Predictor
from claire.core.contracts.result_tables import Curve, CurvePoint, Level
from claire.core.contracts.run import Predictions, Run
from claire.core.statistics import BoolArray, FloatArray, IntArray
from claire.core.statistics.decisions import learned_share, shift_prior
from claire.evaluate import curves
from claire.evaluate.auc import delong_limits
from claire.evaluate.calibration import Estimate, calibration
from claire.evaluate.figures import decision_figures, figure, figures, number
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import Measured, confusion, measure, thresholds, unique_sizes
from claire.evaluate.samples import Sample, to_patients, to_sample
from claire.evaluate.selection import Ranking, fold_rows

#: Fewest test patients of each class from which calibration is measured.
MIN_PATIENTS = 50
INHERITED = "original's slice metrics (inherited labels)"
ByFold = Mapping[int, Measured]
SlicesByFold = Mapping[int, Mapping[str, Predictions]]


@dataclass(frozen=True)
class Evaluation:
    """What all predictors of an evaluation share. `weights` are the bootstrap samples, (samples, patients)."""

    experiment: Experiment
    ranking: Ranking
    weights: FloatArray
    prevalence: float


@dataclass(frozen=True)
class PredictorResults:
    """A predictor's figures, its curves, and its measured test patients by fold."""

    metrics: Predictor
    curves: list[CurvePoint]
    patients: dict[int, Measured]


def measure_predictor(
    evaluation: Evaluation, name: str, runs: Mapping[int, Run], chosen: Mapping[int, str]
) -> PredictorResults:
    """Measure one predictor at every level; `runs` are its runs by fold, `chosen` the variant of each."""
    experiment = evaluation.experiment
    scans = _scan_level(evaluation, runs)
    patients = _patient_level(evaluation, runs, chosen, "test")
    slices = {fold: run.slices(experiment.classes) for fold, run in runs.items()}
    labelled = _labelled_slices(evaluation, slices)
    shares = _shares(evaluation, slices)
    calibrated, calibration_points = _calibrate(evaluation, name, patients, runs, chosen)
    metrics = Predictor(
        n=Count(patients=_count_patients(patients), scans=sum(len(fold.sample.target) for fold in scans.values())),
        patient=_patient_figures(evaluation, patients),
        scan=_figures(evaluation, scans),
        at_sensitivity_90=_sensitive_figures(evaluation, patients),
        confusion=_confusion(experiment, patients),
        folds=tuple(fold_rows(evaluation.ranking, chosen, patients)),
        calibration=calibrated,
        slice=_figures(evaluation, labelled) if labelled else None,
        slice_inherited=_inherited(evaluation, runs, slices),
        scan_by_slices={"auc": _figures(evaluation, shares)["auc"]} if shares else None,
        external=_external(evaluation, runs, chosen),
    )
    points = [
        *_ranking_curves(evaluation, name, "patient", patients),
        *_ranking_curves(evaluation, name, "scan", scans),
        *calibration_points,
        *_ranking_curves(evaluation, name, "slice", labelled),
        *_ranking_curves(evaluation, name, "scan", shares, "roc_by_slices"),
    ]
    return PredictorResults(metrics, points, patients)


def _count_patients(folds: ByFold) -> int:
    return len({unit for fold in folds.values() for unit in fold.sample.unit.tolist()})


def _figures(evaluation: Evaluation, folds: ByFold) -> Figures:
    return figures([*folds.values()], evaluation.prevalence)


def _patient_figures(evaluation: Evaluation, patients: ByFold) -> Figures:
    """Return the figures of patients, with DeLong's limits of the AUC beside those of the bootstrap."""
    measured = _figures(evaluation, patients)
    if len(evaluation.experiment.classes) == 2:
        lower, upper = delong_limits([*patients.values()])
        limits = {"delong_lower": number(lower), "delong_upper": number(upper)}
        measured["auc"] = measured["auc"].model_copy(update=limits)
    return measured


def _sensitive_figures(evaluation: Evaluation, patients: ByFold) -> Figures | None:
    """Return the metrics of decisions at the point that detects 90 % of validation positives; None for more classes."""
    if len(evaluation.experiment.classes) > 2:
        return None
    return decision_figures([*patients.values()], evaluation.prevalence)


def _confusion(experiment: Experiment, patients: ByFold) -> Confusion:
    matrix = confusion([*patients.values()], len(experiment.classes))
    return Confusion(classes=experiment.classes, matrix=tuple(map(tuple, matrix)))


def _scan_level(evaluation: Evaluation, runs: Mapping[int, Run]) -> dict[int, Measured]:
    return {
        fold: measure(
            to_sample(evaluation.experiment, run.scans["test"]),
            thresholds(to_sample(evaluation.experiment, run.scans["validation"])),
            evaluation.weights,
        )
        for fold, run in runs.items()
    }


def _patient_level(
    evaluation: Evaluation, runs: Mapping[int, Run], chosen: Mapping[int, str], split: str
) -> dict[int, Measured]:
    return {
        fold: measure(
            to_patients(evaluation.experiment, run.scans[split]),
            evaluation.ranking.validated[chosen[fold]][fold].thresholds,
            evaluation.weights,
        )
        for fold, run in runs.items()
        if split in run.scans
    }


def _ranking_curves(
    evaluation: Evaluation, name: str, level: Level, folds: ByFold, curve: Curve = "roc"
) -> list[CurvePoint]:
    samples = [fold.sample for fold in folds.values()]
    classes = evaluation.experiment.classes
    return list(curves.ranking_curves(name, level, samples, classes, evaluation.weights, curve)) if samples else []


def _calibrate(
    evaluation: Evaluation, name: str, patients: ByFold, runs: Mapping[int, Run], chosen: Mapping[int, str]
) -> tuple[Calibration, list[CurvePoint]]:
    """Return calibration, its curve and the decision curve, of probabilities at the prior that applies to each.

    For two classes only. Networks that were trained with class weights learned a prior of one half.
    """
    classes = evaluation.experiment.classes
    if len(classes) > 2:
        return Calibration(note="for two classes only"), []
    validation = {fold: evaluation.ranking.validated[chosen[fold]][fold].positive_share for fold in runs}
    training = {fold: learned_share(run.variant.class_weights, validation[fold]) for fold, run in runs.items()}
    probability = {fold: measured.sample.probability[:, 1] for fold, measured in patients.items()}
    shifted = {fold: shift_prior(probability[fold], training[fold], validation[fold]) for fold in patients}
    calibrated, points = _calibration(name, patients, shifted, classes[1])
    at_prevalence = [shift_prior(probability[fold], training[fold], evaluation.prevalence) for fold in patients]
    points += curves.decision_curve(
        name, [*patients.values()], at_prevalence, evaluation.weights, evaluation.prevalence, classes[1]
    )
    return calibrated, points


def _calibration(
    name: str, patients: ByFold, probability: Mapping[int, FloatArray], label: str
) -> tuple[Calibration, list[CurvePoint]]:
    """Return calibration and its curve; only a note where a class has too few patients."""
    sizes = [sum(size) for size in zip(*unique_sizes([*patients.values()]), strict=True)]
    if any(size < MIN_PATIENTS for size in sizes):
        return Calibration(note=f"too few (n={', '.join(map(str, sizes))})"), []
    positive = np.concatenate([measured.sample.target == 1 for measured in patients.values()])
    fold = np.concatenate([np.full(len(measured.sample.target), fold) for fold, measured in patients.items()])
    pooled = np.concatenate([probability[fold] for fold in patients])
    return fit_calibration(pooled, positive, fold), list(curves.calibration_curve(name, pooled, positive, label))


def fit_calibration(probability: FloatArray, positive: BoolArray, fold: IntArray) -> Calibration:
    """Return calibration of probabilities of class 1 (n,) in their folds (n,); a note where it has no slope."""
    estimates = calibration(probability, positive, fold)
    brier = figure(float(np.mean((probability - positive) ** 2)))
    if estimates is None:
        return Calibration(note="no slope: the classes are separated", brier=brier)
    slope, intercept = estimates
    return Calibration(slope=_wald(slope), intercept=_wald(intercept), brier=brier)


def _wald(estimate: Estimate) -> Figure:
    return figure(estimate.value, estimate.limits, "wald")


def _inherited(evaluation: Evaluation, runs: Mapping[int, Run], slices: SlicesByFold) -> Inherited | None:
    """Measure slices under their scan's label, as the original did, where all runs were trained so."""
    if not all(run.variant.labels == "inherited" for run in runs.values()):
        return None
    inherited = {
        fold: {split: _inherit(evaluation.experiment, predictions) for split, predictions in by_split.items()}
        for fold, by_split in slices.items()
    }
    measured = _labelled_slices(evaluation, inherited)
    return Inherited(statement=INHERITED, figures=_figures(evaluation, measured)) if measured else None


def _inherit(experiment: Experiment, slices: Predictions) -> Predictions:
    return replace(slices, target=_scan_labels(experiment, slices.scan))


def _scan_labels(experiment: Experiment, scans: NDArray[np.str_]) -> IntArray:
    return np.array([experiment.classes.index(experiment.scans[str(scan)].label) for scan in scans], dtype=np.int64)


def _labelled_slices(evaluation: Evaluation, slices: SlicesByFold) -> dict[int, Measured]:
    """Measure the labelled test slices of each fold at the operating points of its labelled validation slices."""
    measured = {}
    for fold, by_split in slices.items():
        labelled = {
            split: to_sample(evaluation.experiment, predictions.where(predictions.target >= 0))
            for split, predictions in by_split.items()
            if np.any(predictions.target >= 0)
        }
        if "test" in labelled:
            points = thresholds(labelled.get("validation")) if len(evaluation.experiment.classes) == 2 else None
            measured[fold] = measure(labelled["test"], points, evaluation.weights)
    return measured


def _shares(evaluation: Evaluation, slices: SlicesByFold) -> dict[int, Measured]:
    """Measure the original's score of scans, the share of slices called positive at 0.5; two classes only."""
    if len(evaluation.experiment.classes) > 2 or not all("test" in by_split for by_split in slices.values()):
        return {}
    return {
        fold: measure(_share_of_slices(evaluation.experiment, by_split["test"]), (0.5, 0.5), evaluation.weights)
        for fold, by_split in slices.items()
    }


def _share_of_slices(experiment: Experiment, slices: Predictions) -> Sample:
    scans, first, row = np.unique(slices.scan, return_index=True, return_inverse=True)
    share = np.bincount(row, weights=slices.probability[:, 1] >= 0.5) / np.bincount(row)
    unit = np.array([experiment.index[str(patient)] for patient in slices.patient[first]])
    return Sample(unit, _scan_labels(experiment, scans), np.column_stack([1 - share, share]))


def _external(evaluation: Evaluation, runs: Mapping[int, Run], chosen: Mapping[int, str]) -> External | None:
    """Measure external patients, predicted by each fold's network; the figures are means over these networks."""
    folds = _patient_level(evaluation, runs, chosen, "external")
    return External(patients=_count_patients(folds), figures=_figures(evaluation, folds)) if folds else None
