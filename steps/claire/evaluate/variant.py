"""Everything about one predictor: a variant, or the nested procedure, over its folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from claire.core.contracts.run import Predictions, Run
from claire.core.statistics.decisions import shift_prior
from claire.evaluate import curves
from claire.evaluate.calibration import Estimate, calibration
from claire.evaluate.inputs import Experiment, Sample, by_patient, sample
from claire.evaluate.measure import (
    Figure,
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

ENOUGH = 50
INHERITED = "original's slice metrics (inherited labels)"
Document = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What all predictors of an evaluation share."""

    experiment: Experiment
    ranking: Ranking
    weights: np.ndarray
    prevalence: float


@dataclass
class Described:
    """A predictor's document, its curves, and its measured patients by fold."""

    document: Document
    curves: list[curves.Row] = field(default_factory=list)
    patients: dict[int, Measured] = field(default_factory=dict)


def describe(setting: Setting, name: str, runs: Mapping[int, Run], chosen: Mapping[int, str]) -> Described:
    """Measure one predictor at every level; `runs` are its runs by fold, `chosen` the variant that each belongs to."""
    experiment = setting.experiment
    scans = _scan_level(setting, runs, "test")
    patients = {
        fold: measure(
            by_patient(sample(experiment, run.scans["test"])),
            setting.ranking.validated[chosen[fold]][fold].thresholds,
            setting.weights,
        )
        for fold, run in runs.items()
    }
    made = Described(
        {
            "n": {
                "patients": _patients(patients),
                "scans": int(sum(len(fold.sample.target) for fold in scans.values())),
            },
            "patient": _level(setting, patients, with_delong=True),
            "scan": _level(setting, scans),
            "at_sensitivity_90": _sensitive(setting, patients),
            "confusion": {
                "classes": list(experiment.classes),
                "matrix": confusion([*patients.values()], len(experiment.classes)),
            },
            "folds": fold_rows(setting.ranking, chosen, patients),
        },
        patients=patients,
    )
    _add_curves(made, setting, name, patients, scans)
    _add_calibration(made, setting, name, patients, runs, chosen)
    _add_slices(made, setting, name, runs)
    _add_external(made, setting, runs, chosen)
    return made


def _patients(folds: Mapping[int, Measured]) -> int:
    return len({unit for fold in folds.values() for unit in fold.sample.unit.tolist()})


def _level(setting: Setting, folds: Mapping[int, Measured], with_delong: bool = False) -> dict[str, Figure]:
    made = figures([*folds.values()], setting.prevalence)
    if with_delong:
        lower, upper = delong_limits([*folds.values()]) if len(setting.experiment.classes) == 2 else (np.nan, np.nan)
        made["auc"] |= {"delong_lower": number(lower), "delong_upper": number(upper)}
    return made


def _sensitive(setting: Setting, patients: Mapping[int, Measured]) -> dict[str, Figure] | None:
    """Return the decisions' metrics at the point that finds 90 % of validation positives; None for more classes."""
    if len(setting.experiment.classes) > 2:
        return None
    made = figures([*patients.values()], setting.prevalence, point=1)
    return {name: made[name] for name in made if name not in ("auc", "auprg", "log_loss", "brier")}


def _scan_level(setting: Setting, runs: Mapping[int, Run], split: str) -> dict[int, Measured]:
    return {
        fold: measure(
            sample(setting.experiment, run.scans[split]),
            thresholds(sample(setting.experiment, run.scans["validation"])),
            setting.weights,
        )
        for fold, run in runs.items()
    }


def _add_curves(
    made: Described, setting: Setting, name: str, patients: Mapping[int, Measured], scans: Mapping[int, Measured]
) -> None:
    classes = setting.experiment.classes
    for level, folds in (("patient", patients), ("scan", scans)):
        samples = [fold.sample for fold in folds.values()]
        made.curves += curves.ranking_curves(name, level, samples, classes, setting.weights)


def _add_calibration(
    made: Described,
    setting: Setting,
    name: str,
    patients: Mapping[int, Measured],
    runs: Mapping[int, Run],
    chosen: Mapping[int, str],
) -> None:
    """Add calibration and decision curve, with probabilities moved to the prior that applies; two classes only."""
    if len(setting.experiment.classes) > 2:
        made.document["calibration"] = {"note": "for two classes only"}
        return
    learned = {
        fold: 0.5 if run.variant.class_weights else setting.ranking.validated[chosen[fold]][fold].positives
        for fold, run in runs.items()
    }
    positives = {fold: setting.ranking.validated[chosen[fold]][fold].positives for fold in runs}
    sizes = unique_sizes([*patients.values()])
    made.document["calibration"] = {
        "note": f"too few (n={', '.join(str(sum(size)) for size in zip(*sizes, strict=True))})"
    }
    probability = {fold: of.sample.probability[:, 1] for fold, of in patients.items()}
    if all(sum(size) >= ENOUGH for size in zip(*sizes, strict=True)):
        moved = np.concatenate([shift_prior(probability[f], learned[f], positives[f]) for f in patients])
        positive = np.concatenate([of.sample.target == 1 for of in patients.values()])
        fold = np.concatenate([np.full(len(of.sample.target), f) for f, of in patients.items()])
        made.document["calibration"] = _calibration(moved, positive, fold)
        made.curves += curves.calibration_curve(name, moved, positive, setting.experiment.classes[1])
    there = [shift_prior(probability[f], learned[f], setting.prevalence) for f in patients]
    made.curves += curves.decision_curve(
        name, [*patients.values()], there, setting.weights, setting.prevalence, setting.experiment.classes[1]
    )


def _calibration(probability: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> Document:
    found = calibration(probability, positive, fold)
    brier = {"value": number(float(np.mean((probability - positive) ** 2)))}
    if found is None:
        return {"note": "no slope: the classes are separated", "brier": brier}
    slope, intercept = found
    return {"note": "", "slope": _wald(slope), "intercept": _wald(intercept), "brier": brier}


def _wald(estimate: Estimate) -> Figure:
    return figure(estimate.value, estimate.limits, "wald")


def _add_slices(made: Described, setting: Setting, name: str, runs: Mapping[int, Run]) -> None:
    """Add what single slices say: their metrics where somebody labelled them, and the original's figures, so marked."""
    classes = setting.experiment.classes
    made.document |= {"slice": None, "slice_inherited": None, "scan_by_slices": None}
    predictions = {fold: run.slices(classes) for fold, run in runs.items()}
    labelled = _labelled(setting, predictions)
    if labelled:
        made.document["slice"] = _level(setting, labelled)
        made.curves += curves.ranking_curves(
            name, "slice", [fold.sample for fold in labelled.values()], classes, setting.weights
        )
    if all(run.variant.labels == "inherited" for run in runs.values()):
        inherited = _labelled(setting, {fold: _inherit(setting, of) for fold, of in predictions.items()})
        if inherited:
            made.document["slice_inherited"] = {"statement": INHERITED} | _level(setting, inherited)
    _add_share_of_slices(made, setting, name, predictions)


def _inherit(setting: Setting, by_split: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Give every slice the label of its scan, as the original did."""
    index = {name: i for i, name in enumerate(setting.experiment.classes)}
    return {
        split: Predictions(
            of.patient,
            of.scan,
            of.slice,
            np.array([index[setting.experiment.scans[str(scan)]["label"]] for scan in of.scan]),
            of.probability,
        )
        for split, of in by_split.items()
    }


def _labelled(setting: Setting, predictions: Mapping[int, Mapping[str, Predictions]]) -> dict[int, Measured]:
    """Measure the labelled test slices of each fold at the operating points of its labelled validation slices."""
    found = {}
    for fold, by_split in predictions.items():
        known = {
            split: sample(setting.experiment, of.where(of.target >= 0))
            for split, of in by_split.items()
            if np.any(of.target >= 0)
        }
        if "test" in known:
            points = thresholds(known.get("validation")) if len(setting.experiment.classes) == 2 else None
            found[fold] = measure(known["test"], points, setting.weights)
    return found


def _add_share_of_slices(
    made: Described, setting: Setting, name: str, predictions: Mapping[int, Mapping[str, Predictions]]
) -> None:
    """Add the original's ROC of scans: the score is the share of slices called positive at 0.5; two classes only."""
    if len(setting.experiment.classes) > 2 or not all("test" in of for of in predictions.values()):
        return
    samples = [_share_of_slices(setting, of["test"]) for of in predictions.values()]
    folds = [measure(of, (0.5, 0.5), setting.weights) for of in samples]
    made.document["scan_by_slices"] = {"auc": figures(folds, setting.prevalence)["auc"]}
    made.curves += curves.ranking_curves(
        name, "scan", samples, setting.experiment.classes, setting.weights, "roc_by_slices"
    )


def _share_of_slices(setting: Setting, slices: Predictions) -> Sample:
    scans, first, inverse = np.unique(slices.scan, return_index=True, return_inverse=True)
    share = np.bincount(inverse, weights=slices.probability[:, 1] >= 0.5) / np.bincount(inverse)
    rows = [setting.experiment.scans[str(scan)] for scan in scans]
    unit = np.array([setting.experiment.index[str(patient)] for patient in slices.patient[first]])
    target = np.array([setting.experiment.classes.index(row["label"]) for row in rows])
    return Sample(unit, target, np.column_stack([1 - share, share]))


def _add_external(made: Described, setting: Setting, runs: Mapping[int, Run], chosen: Mapping[int, str]) -> None:
    """Add external patients, predicted by each fold's network; the figure is the mean over these networks."""
    folds = {
        fold: measure(
            by_patient(sample(setting.experiment, run.scans["external"])),
            setting.ranking.validated[chosen[fold]][fold].thresholds,
            setting.weights,
        )
        for fold, run in runs.items()
        if "external" in run.scans
    }
    made.document["external"] = {"patients": _patients(folds)} | _level(setting, folds) if folds else None
