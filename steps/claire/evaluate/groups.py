"""Subgroups of patients, and guards that fire on a result that is too good or a scanner that predicts the label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from claire.core.contracts.metrics import Finding, Guard, Subgroup
from claire.core.contracts.scan_table import ScanRow
from claire.core.privacy.cells import MERGED, SMALLEST_CELL, small_cells
from claire.core.statistics import FloatArray
from claire.evaluate.figures import figures
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import Measured, measure

SEVERAL, UNKNOWN = "several", "unknown"
ATTRIBUTES = ("sex", "age_band", "vendor", "kernel", "thickness", "site")
SUBGROUP_METRICS = ("auc", "sensitivity", "specificity")
TOO_GOOD = 0.99
Predicting = Literal["headline", "winner"]


def attribute(rows: Sequence[ScanRow], name: str) -> str:
    """Return an attribute of a patient's scans: "several" where they differ, "unknown" where it is empty."""
    values = {_thickness(row.thickness_mm) if name == "thickness" else str(getattr(row, name)) for row in rows}
    return SEVERAL if len(values) > 1 else values.pop() or UNKNOWN


def _thickness(millimetres: float | None) -> str:
    if millimetres is None:
        return ""
    edges = ((1.0, "up to 1 mm"), (2.0, "over 1 to 2 mm"), (3.0, "over 2 to 3 mm"))
    return next((name for edge, name in edges if millimetres <= edge + 1e-6), "over 3 mm")


def merge_small(groups: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """Merge groups of under 5 patients, and the next smallest until they hold 5: none can then be subtracted."""
    small = small_cells(groups)
    large = {name: members for name, members in groups.items() if name not in small}
    return large | ({MERGED: set().union(*(groups[name] for name in small))} if small else {})


def subgroups(
    experiment: Experiment, predictors: Mapping[Predicting, Sequence[Measured]], weights: FloatArray, prevalence: float
) -> list[Subgroup]:
    """Return AUC, sensitivity and specificity of each predictor in each subgroup, with the patients of each class.

    There are figures only with at least 5 patients of each class; a count of 1 to 4 is None, phantoms excepted.
    """
    rows = []
    for name in ATTRIBUTES:
        for predictor, folds in predictors.items():
            for group, members in sorted(_groups(experiment, folds, name).items()):
                cells = _counts(experiment, members) | _figures(experiment, folds, members, weights, prevalence)
                rows.append(Subgroup(attribute=name, group=group, predictor=predictor, **cells))
    return rows


def _groups(experiment: Experiment, folds: Sequence[Measured], name: str) -> dict[str, set[int]]:
    groups: dict[str, set[int]] = defaultdict(set)
    for unit in sorted({unit for fold in folds for unit in fold.sample.unit.tolist()}):
        groups[attribute(experiment.scans_of[experiment.patients[unit]], name)].add(unit)
    return dict(groups) if experiment.cohort.phantom else merge_small(groups)


def _by_class(experiment: Experiment, members: set[int]) -> dict[str, int]:
    counts = np.bincount(experiment.target[sorted(members)], minlength=len(experiment.classes)).tolist()
    return dict(zip(experiment.classes, counts, strict=True))


def _counts(experiment: Experiment, members: set[int]) -> dict[str, Any]:
    hide = not experiment.cohort.phantom
    patients = {
        name: None if hide and 0 < count < SMALLEST_CELL else count
        for name, count in _by_class(experiment, members).items()
    }
    return {"n": len(members), "patients": patients}


def _figures(
    experiment: Experiment, folds: Sequence[Measured], members: set[int], weights: FloatArray, prevalence: float
) -> dict[str, Any]:
    if min(_by_class(experiment, members).values()) < SMALLEST_CELL:
        return {"note": f"under {SMALLEST_CELL} patients of a class"}
    selected = [(fold, np.isin(fold.sample.unit, list(members))) for fold in folds]
    parts = [measure(fold.sample.where(rows), fold.thresholds, weights) for fold, rows in selected if rows.any()]
    measured = figures(parts, prevalence)
    return {metric: measured[metric] for metric in SUBGROUP_METRICS}


def guards(experiment: Experiment, areas: Mapping[str, float | None]) -> list[Guard]:
    """Return each guard: what should hold, whether it fired, on what. `areas` are patient AUCs by predictor."""
    high = [Finding(what=name, auc=area) for name, area in areas.items() if area is not None and area >= TOO_GOOD]
    return [
        _guard("patient_in_two_folds", "no patient is tested in two folds, or validated and tested by one run", []),
        _guard("duplicate_scans", "no scan is in two folds under different names (keyed hash of its voxels)", []),
        _guard(
            "auc_too_good", f"no AUC is {TOO_GOOD} or more, which more often means a leak than a good network", high
        ),
        *(
            _guard(
                f"one_label_{name}", f"every {name} has patients of more than one class", _one_label(experiment, name)
            )
            for name in ("site", "vendor", "kernel")
        ),
    ]


def _guard(name: str, statement: str, findings: Sequence[Finding]) -> Guard:
    return Guard(name=name, statement=statement, fired=bool(findings), findings=tuple(findings))


def _one_label(experiment: Experiment, name: str) -> list[Finding]:
    labels: dict[str, set[str]] = defaultdict(set)
    for row in experiment.scans.values():
        labels[getattr(row, name) or UNKNOWN].add(row.label)
    return [Finding(what=value, label=min(names)) for value, names in sorted(labels.items()) if len(names) == 1]
