"""Subgroups of patients, and guards that speak up when a result is too good or a scanner gives the label away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from claire.core.contracts.metrics import Finding, Guard, Subgroup
from claire.core.contracts.scan_table import ScanRow
from claire.core.privacy.cells import MERGED, SMALLEST_CELL, small_cells
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import Measured, figures, measure

SEVERAL, UNKNOWN = "several", "unknown"
ATTRIBUTES = ("sex", "age_band", "vendor", "kernel", "thickness", "site")
SHOWN = ("auc", "sensitivity", "specificity")
TOO_GOOD = 0.99
Predicting = Literal["headline", "winner"]


def attribute(rows: Sequence[ScanRow], name: str) -> str:
    """Return what a patient's scans say: "several" where they differ, "unknown" where they are silent."""
    values = {_thickness(row.thickness_mm) if name == "thickness" else str(getattr(row, name)) for row in rows}
    return SEVERAL if len(values) > 1 else values.pop() or UNKNOWN


def _thickness(millimetres: float | None) -> str:
    if millimetres is None:
        return ""
    edges = ((1.0, "up to 1 mm"), (2.0, "over 1 to 2 mm"), (3.0, "over 2 to 3 mm"))
    return next((name for edge, name in edges if millimetres <= edge + 1e-6), "over 3 mm")


def merge_small(groups: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """Merge groups of under 5 patients, and the next smallest until the rest holds 5: none can then be subtracted."""
    small = small_cells(groups)
    large = {name: members for name, members in groups.items() if name not in small}
    return large | ({MERGED: set().union(*(groups[name] for name in small))} if small else {})


def subgroups(
    experiment: Experiment, predictors: Mapping[Predicting, Sequence[Measured]], weights: np.ndarray, prevalence: float
) -> list[Subgroup]:
    """Return AUC, sensitivity and specificity of each predictor in each subgroup of its test patients, with n a class.

    A figure stands only where at least 5 patients of each class do; a count of 1 to 4 is None, phantoms excepted.
    """
    rows = []
    for name in ATTRIBUTES:
        for predictor, folds in predictors.items():
            for group, members in sorted(_groups(experiment, folds, name).items()):
                measured = _measure(experiment, folds, members, weights, prevalence)
                rows.append(Subgroup(attribute=name, group=group, predictor=predictor, **measured))
    return rows


def _groups(experiment: Experiment, folds: Sequence[Measured], name: str) -> dict[str, set[int]]:
    groups: dict[str, set[int]] = defaultdict(set)
    for unit in sorted({unit for fold in folds for unit in fold.sample.unit.tolist()}):
        groups[attribute(experiment.scans_of[experiment.patients[unit]], name)].add(unit)
    return dict(groups) if experiment.cohort.phantom else merge_small(groups)


def _measure(
    experiment: Experiment, folds: Sequence[Measured], members: set[int], weights: np.ndarray, prevalence: float
) -> dict[str, Any]:
    counts = np.bincount(experiment.target[sorted(members)], minlength=len(experiment.classes)).tolist()
    hidden = not experiment.cohort.phantom
    shown = [None if hidden and 0 < count < SMALLEST_CELL else count for count in counts]
    row: dict[str, Any] = {"n": len(members), "patients": dict(zip(experiment.classes, shown, strict=True))}
    if min(counts) < SMALLEST_CELL:
        return row | {"note": f"under {SMALLEST_CELL} patients of a class"}
    parts = [
        measure(fold.sample.where(keep), fold.thresholds, weights)
        for fold in folds
        if (keep := np.isin(fold.sample.unit, list(members))).any()
    ]
    measured = figures(parts, prevalence)
    return row | {metric: measured[metric] for metric in SHOWN}


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
            for name in ("site", "vendor")
        ),
    ]


def _guard(name: str, statement: str, findings: Sequence[Finding]) -> Guard:
    return Guard(name=name, statement=statement, fired=bool(findings), findings=tuple(findings))


def _one_label(experiment: Experiment, name: str) -> list[Finding]:
    labels: dict[str, set[str]] = defaultdict(set)
    for row in experiment.scans.values():
        labels[getattr(row, name) or UNKNOWN].add(row.label)
    return [Finding(what=value, label=min(own)) for value, own in sorted(labels.items()) if len(own) == 1]
