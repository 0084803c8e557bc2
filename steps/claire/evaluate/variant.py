"""Everything about one predictor: a variant, or the nested procedure, over its folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from claire.core.contracts.metrics import Calibration, Confusion, Count, External, Figure, Figures, Inherited, Predictor
from claire.core.contracts.result_tables import CurvePoint
from claire.core.contracts.run import Predictions, Run
from claire.core.statistics.decisions import shift_prior
from claire.evaluate import curves
from claire.evaluate.calibration import Estimate, calibration
from claire.evaluate.inputs import Experiment, Sample, by_patient, sample
from claire.evaluate.measure import (
    Measured,
    confusion,
    delong_limits,
    figure,
    figures,
    measure,
    number,
    thresholds,
    unique_sizes,
)
from claire.evaluate.selection import Ranking, fold_rows

#: Patients a class from which calibration is measured.
ENOUGH = 50
INHERITED = "original's slice metrics (inherited labels)"
#: Metrics of decisions, which a second operating point changes.
_OF_RANKING = ("auc", "auprg", "log_loss", "brier")
ByFold = Mapping[int, Measured]
SlicesByFold = Mapping[int, Mapping[str, Predictions]]


@dataclass(frozen=True)
class Setting:
    """What all predictors of an evaluation share."""

    experiment: Experiment
    ranking: Ranking
    weights: np.ndarray
    prevalence: float


@dataclass(frozen=True)
class Described:
    """A predictor's figures, its curves, and its measured patients by fold."""

    metrics: Predictor
    curves: list[CurvePoint]
    patients: dict[int, Measured]


def describe(setting: Setting, name: str, runs: Mapping[int, Run], chosen: Mapping[int, str]) -> Described:
    """Measure one predictor at every level; `runs` are its runs by fold, `chosen` the variant that each belongs to."""
    experiment = setting.experiment
    scans = _scan_level(setting, runs)
    patients = _patient_level(setting, runs, chosen, "test")
    slices = {fold: run.slices(experiment.classes) for fold, run in runs.items()}
    labelled, inherited, shares = (
        _labelled(setting, slices),
        _inherited(setting, runs, slices),
        _shares(setting, slices),
    )
    calibrated, calibration_points = _calibrate(setting, name, patients, runs, chosen)
    metrics = Predictor(
        n=Count(patients=_count_patients(patients), scans=int(sum(len(fold.sample.target) for fold in scans.values()))),
        patient=_level(setting, patients, with_delong=True),
        scan=_level(setting, scans),
        at_sensitivity_90=_sensitive(setting, patients),
        confusion=Confusion(
            classes=experiment.classes,
            matrix=tuple(map(tuple, confusion([*patients.values()], len(experiment.classes)))),
        ),
        folds=tuple(fold_rows(setting.ranking, chosen, patients)),
        calibration=calibrated,
        slice=_level(setting, labelled) if labelled else None,
        slice_inherited=Inherited(statement=INHERITED, figures=_level(setting, inherited)) if inherited else None,
        scan_by_slices={"auc": _level(setting, shares)["auc"]} if shares else None,
        external=_external(setting, runs, chosen),
    )
    points = [
        *_ranking_curves(setting, name, "patient", patients),
        *_ranking_curves(setting, name, "scan", scans),
        *calibration_points,
        *_ranking_curves(setting, name, "slice", labelled),
        *_ranking_curves(setting, name, "scan", shares, "roc_by_slices"),
    ]
    return Described(metrics, points, patients)


def _count_patients(folds: ByFold) -> int:
    return len({unit for fold in folds.values() for unit in fold.sample.unit.tolist()})


def _level(setting: Setting, folds: ByFold, with_delong: bool = False) -> Figures:
    measured = figures([*folds.values()], setting.prevalence)
    if with_delong:
        lower, upper = delong_limits([*folds.values()]) if len(setting.experiment.classes) == 2 else (np.nan, np.nan)
        limits = {"delong_lower": number(lower), "delong_upper": number(upper)}
        measured["auc"] = measured["auc"].model_copy(update=limits)
    return measured


def _sensitive(setting: Setting, patients: ByFold) -> Figures | None:
    """Return the decisions' metrics at the point that finds 90 % of validation positives; None for more classes."""
    if len(setting.experiment.classes) > 2:
        return None
    measured = figures([*patients.values()], setting.prevalence, point=1)
    return {name: estimate for name, estimate in measured.items() if name not in _OF_RANKING}


def _scan_level(setting: Setting, runs: Mapping[int, Run]) -> dict[int, Measured]:
    return {
        fold: measure(
            sample(setting.experiment, run.scans["test"]),
            thresholds(sample(setting.experiment, run.scans["validation"])),
            setting.weights,
        )
        for fold, run in runs.items()
    }


def _patient_level(
    setting: Setting, runs: Mapping[int, Run], chosen: Mapping[int, str], split: str
) -> dict[int, Measured]:
    return {
        fold: measure(
            by_patient(sample(setting.experiment, run.scans[split])),
            setting.ranking.validated[chosen[fold]][fold].thresholds,
            setting.weights,
        )
        for fold, run in runs.items()
        if split in run.scans
    }


def _ranking_curves(
    setting: Setting, name: str, level: curves.Level, folds: ByFold, curve: curves.Curve = "roc"
) -> list[CurvePoint]:
    samples = [fold.sample for fold in folds.values()]
    classes = setting.experiment.classes
    return list(curves.ranking_curves(name, level, samples, classes, setting.weights, curve)) if samples else []


def _calibrate(
    setting: Setting, name: str, patients: ByFold, runs: Mapping[int, Run], chosen: Mapping[int, str]
) -> tuple[Calibration, list[CurvePoint]]:
    """Return calibration and decision curve, with probabilities moved to the prior that applies; two classes only."""
    classes = setting.experiment.classes
    if len(classes) > 2:
        return Calibration(note="for two classes only"), []
    positives = {fold: setting.ranking.validated[chosen[fold]][fold].positives for fold in runs}
    learned = {fold: 0.5 if run.variant.class_weights else positives[fold] for fold, run in runs.items()}
    probability = {fold: measured.sample.probability[:, 1] for fold, measured in patients.items()}
    sizes = [sum(size) for size in zip(*unique_sizes([*patients.values()]), strict=True)]
    calibrated, points = Calibration(note=f"too few (n={', '.join(map(str, sizes))})"), []
    if all(size >= ENOUGH for size in sizes):
        moved = np.concatenate([shift_prior(probability[f], learned[f], positives[f]) for f in patients])
        positive = np.concatenate([measured.sample.target == 1 for measured in patients.values()])
        fold = np.concatenate([np.full(len(measured.sample.target), f) for f, measured in patients.items()])
        calibrated = _calibration(moved, positive, fold)
        points += curves.calibration_curve(name, moved, positive, classes[1])
    at_prevalence = [shift_prior(probability[f], learned[f], setting.prevalence) for f in patients]
    points += curves.decision_curve(
        name, [*patients.values()], at_prevalence, setting.weights, setting.prevalence, classes[1]
    )
    return calibrated, points


def _calibration(probability: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> Calibration:
    estimates = calibration(probability, positive, fold)
    brier = figure(float(np.mean((probability - positive) ** 2)))
    if estimates is None:
        return Calibration(note="no slope: the classes are separated", brier=brier)
    slope, intercept = estimates
    return Calibration(slope=_wald(slope), intercept=_wald(intercept), brier=brier)


def _wald(estimate: Estimate) -> Figure:
    return figure(estimate.value, estimate.limits, "wald")


def _inherited(setting: Setting, runs: Mapping[int, Run], slices: SlicesByFold) -> dict[int, Measured]:
    """Measure slices under their scan's label, as the original did, where all runs learned so."""
    if not all(run.variant.labels == "inherited" for run in runs.values()):
        return {}
    return _labelled(setting, {fold: _inherit(setting, by_split) for fold, by_split in slices.items()})


def _inherit(setting: Setting, by_split: Mapping[str, Predictions]) -> dict[str, Predictions]:
    index = {name: i for i, name in enumerate(setting.experiment.classes)}
    return {
        split: Predictions(
            slices.patient,
            slices.scan,
            slices.slice,
            np.array([index[setting.experiment.scans[str(scan)].label] for scan in slices.scan]),
            slices.probability,
        )
        for split, slices in by_split.items()
    }


def _labelled(setting: Setting, slices: SlicesByFold) -> dict[int, Measured]:
    """Measure the labelled test slices of each fold at the operating points of its labelled validation slices."""
    measured = {}
    for fold, by_split in slices.items():
        labelled = {
            split: sample(setting.experiment, predictions.where(predictions.target >= 0))
            for split, predictions in by_split.items()
            if np.any(predictions.target >= 0)
        }
        if "test" in labelled:
            points = thresholds(labelled.get("validation")) if len(setting.experiment.classes) == 2 else None
            measured[fold] = measure(labelled["test"], points, setting.weights)
    return measured


def _shares(setting: Setting, slices: SlicesByFold) -> dict[int, Measured]:
    """Measure the original's score of scans, the share of slices called positive at 0.5; two classes only."""
    if len(setting.experiment.classes) > 2 or not all("test" in by_split for by_split in slices.values()):
        return {}
    return {
        fold: measure(_share_of_slices(setting, by_split["test"]), (0.5, 0.5), setting.weights)
        for fold, by_split in slices.items()
    }


def _share_of_slices(setting: Setting, slices: Predictions) -> Sample:
    scans, first, inverse = np.unique(slices.scan, return_index=True, return_inverse=True)
    share = np.bincount(inverse, weights=slices.probability[:, 1] >= 0.5) / np.bincount(inverse)
    rows = [setting.experiment.scans[str(scan)] for scan in scans]
    unit = np.array([setting.experiment.index[str(patient)] for patient in slices.patient[first]])
    target = np.array([setting.experiment.classes.index(row.label) for row in rows])
    return Sample(unit, target, np.column_stack([1 - share, share]))


def _external(setting: Setting, runs: Mapping[int, Run], chosen: Mapping[int, str]) -> External | None:
    """Measure external patients, predicted by each fold's network; the figure is the mean over these networks."""
    folds = _patient_level(setting, runs, chosen, "external")
    return External(patients=_count_patients(folds), figures=_level(setting, folds)) if folds else None
