"""Runs, scans and patients, gathered and checked: what must never happen is refused here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.progress import progress
from claire.core.command.record import SCHEMA_VERSION
from claire.core.command.tables import read_csv
from claire.core.contracts.run import Predictions, Run, read_run
from claire.core.contracts.variant import Variant

SCAN_COLUMNS = ("scan", "patient", "label", "split", "site", "vendor", "kernel", "thickness_mm", "sex", "age_band")
Row = dict[str, str]


@dataclass(frozen=True)
class Candidate:
    """A variant with its usable runs by fold, and the position of each in the manifest."""

    variant: Variant
    runs: Mapping[int, Run]
    positions: Mapping[int, int]
    complete: bool


@dataclass(frozen=True)
class Experiment:
    """All runs over one cohort. `patients` are in a fixed order; `target` (patients,) holds their class indices.

    `home` says where each patient is tested: its fold, or its fixed split. `missing` lists runs that are not there or
    not usable, with the reason.
    """

    cohort: Mapping[str, Any]
    classes: tuple[str, ...]
    scans: Mapping[str, Row]
    patients: tuple[str, ...]
    target: np.ndarray
    home: tuple[str, ...]
    folds: tuple[int, ...]
    candidates: Mapping[str, Candidate]
    missing: Sequence[Mapping[str, Any]]

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each patient."""
        return {patient: i for i, patient in enumerate(self.patients)}

    @cached_property
    def scans_of(self) -> dict[str, list[Row]]:
        """Scans of each patient."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.scans.values():
            found[row["patient"]].append(row)
        return found

    @property
    def eligible(self) -> list[str]:
        """Variants that may win: the complete ones; all, if none is complete."""
        complete = [name for name, candidate in self.candidates.items() if candidate.complete]
        return complete or list(self.candidates)


def read_cohort(path: Path) -> dict[str, Any]:
    """Read `cohort.json`. Raises ClaireError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version, classes = document["schema_version"], document["classes"]
        document["sha256"] = str(document["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ClaireError(
            f"{path.name} is no cohort summary ({type(error).__name__})", "Run `claire cohort` again."
        ) from error
    if version != SCHEMA_VERSION:
        raise ClaireError(
            f"{path.name} has schema version {version}, not {SCHEMA_VERSION}", "Run `claire cohort` again."
        )
    if len(classes) < 2:
        raise ClaireError(f"{path.name} has {len(classes)} class", "A comparison needs two classes.")
    return document


def gather(paths: Sequence[Path], scans: Path, cohort: Path) -> Experiment:
    """Read all runs and what they were made from. Raises ClaireError where they do not belong together or leak."""
    if not paths:
        raise UsageError("the manifest of runs is empty", "Give at least one `.run.zip`.")
    summary = read_cohort(cohort)
    classes = tuple(summary["classes"])
    rows = {row["scan"]: row for row in read_csv(scans, SCAN_COLUMNS, "table of scans")}
    runs = [_checked(read_run(path, classes), summary, rows, classes) for path in progress(paths, "runs read")]
    usable, missing = _sort_out(runs)
    folds = _folds(summary, runs)
    _refuse_leaks(usable, rows)
    patients = tuple(sorted({row["patient"] for row in rows.values()}))
    labels = {row["patient"]: row["label"] for row in rows.values()}
    homes = _homes(usable, rows)
    _refuse_duplicates(rows, homes)
    candidates = _candidates(runs, usable, folds)
    gaps = _gaps(candidates, folds, missing)
    return Experiment(
        summary,
        classes,
        rows,
        patients,
        np.array([classes.index(labels[patient]) for patient in patients]),
        tuple(homes.get(patient, "unseen") for patient in patients),
        folds,
        candidates,
        [*missing, *gaps],
    )


def _checked(run: Run, summary: Mapping[str, Any], rows: Mapping[str, Row], classes: Sequence[str]) -> Run:
    """Return the run; raise ClaireError where it is of another cohort, or contradicts the table of scans."""
    if run.cohort != summary["sha256"]:
        raise ClaireError(
            f"run {run.name} was trained on cohort {run.cohort[:12]}…, not on {summary['sha256'][:12]}…",
            "Evaluate runs of one cohort only, with its own cohort.json and scans.csv.",
        )
    for split in run.scans.values():
        for scan, patient, target in zip(split.scan, split.patient, split.target, strict=True):
            row = rows.get(str(scan))
            if row is None or row["patient"] != patient or row["label"] != classes[target] or target < 0:
                what = "does not stand in" if row is None else "contradicts"
                raise ClaireError(
                    f"scan {scan} of run {run.name} {what} the table of scans", "Give the scans.csv of this cohort."
                )
    return run


def _sort_out(runs: Sequence[Run]) -> tuple[list[tuple[int, Run]], list[dict[str, Any]]]:
    """Return usable runs with their positions, and why the others are not. Raises UsageError on a run given twice."""
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise UsageError(f"run {twice[0]} stands twice in the manifest", "Give each run once.")
    usable, missing = [], []
    for position, run in enumerate(runs):
        why = _unusable(run)
        if why:
            missing.append({"variant": run.variant.id, "fold": run.fold, "why": why})
        else:
            usable.append((position, run))
    if not usable:
        raise ClaireError(f"none of {len(runs)} runs can be used: {missing[0]['why']}", "Look into their training.")
    return usable, missing


def _unusable(run: Run) -> str:
    if "test" not in run.scans or "validation" not in run.scans:
        return "no predictions for " + " and ".join(s for s in ("validation", "test") if s not in run.scans)
    if not all(split.finite for split in run.scans.values()):
        return "probabilities that are no numbers from 0 to 1: the training diverged"
    return ""


def _folds(summary: Mapping[str, Any], runs: Sequence[Run]) -> tuple[int, ...]:
    count = summary.get("folds")
    expected = set(range(count)) if isinstance(count, int) else set()
    return tuple(sorted(expected | {run.fold for run in runs}))


def _refuse_leaks(usable: Sequence[tuple[int, Run]], rows: Mapping[str, Row]) -> None:
    first: dict[tuple[int, str], Run] = {}
    for _, run in usable:
        both = set(run.scans["test"].patient) & set(run.scans["validation"].patient)
        if both:
            raise ClaireError(f"run {run.name} validates and tests patient {min(both)}", "Draw the folds again.")
        for split, predictions in run.scans.items():
            other = first.setdefault((run.fold, split), run)
            if set(other.scans[split].scan) != set(predictions.scan):
                raise ClaireError(
                    f"runs {other.name} and {run.name} predict different {split} scans of fold {run.fold}",
                    "Evaluate runs that were trained with the same folds.csv.",
                )
            if len(set(predictions.scan)) != len(predictions):
                raise ClaireError(f"run {run.name} predicts a {split} scan twice", "Run `claire train` again.")
    _refuse_patients_in_two_folds(first, rows)


def _refuse_patients_in_two_folds(first: Mapping[tuple[int, str], Run], rows: Mapping[str, Row]) -> None:
    tested: dict[str, int] = {}
    for (fold, split), run in first.items():
        if split != "test":
            continue
        for scan, patient in zip(run.scans["test"].scan, run.scans["test"].patient, strict=True):
            if not rows[str(scan)]["split"] and tested.setdefault(patient, fold) != fold:
                raise ClaireError(
                    f"patient {patient} is tested in fold {tested[patient]} and in fold {fold}", "Draw the folds again."
                )


def _homes(usable: Sequence[tuple[int, Run]], rows: Mapping[str, Row]) -> dict[str, str]:
    homes = {row["patient"]: row["split"] for row in rows.values() if row["split"]}
    for _, run in usable:
        for patient in set(run.scans["test"].patient):
            homes.setdefault(str(patient), str(run.fold))
    return homes


def _refuse_duplicates(rows: Mapping[str, Row], homes: Mapping[str, str]) -> None:
    seen: dict[str, Row] = {}
    for row in rows.values():
        other = seen.setdefault(row.get("pixel_hash") or row["scan"], row)
        if homes.get(other["patient"]) != homes.get(row["patient"]):
            raise ClaireError(
                f"scans {other['scan']} and {row['scan']} are the same pixels in different folds",
                "Give both the same patient in labels.csv, or leave one out, and run `claire cohort` again.",
            )


def _candidates(runs: Sequence[Run], usable: Sequence[tuple[int, Run]], folds: Sequence[int]) -> dict[str, Candidate]:
    variants = {run.variant.id: run.variant for run in runs}
    found: dict[str, dict[int, tuple[int, Run]]] = {name: {} for name in variants}
    for position, run in usable:
        found[run.variant.id][run.fold] = (position, run)
    return {
        name: Candidate(
            variants[name],
            {fold: of[fold][1] for fold in sorted(of)},
            {fold: of[fold][0] for fold in sorted(of)},
            set(of) == set(folds),
        )
        for name, of in found.items()
        if of
    }


def _gaps(
    candidates: Mapping[str, Candidate], folds: Sequence[int], missing: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    known = {(entry["variant"], entry["fold"]) for entry in missing}
    return [
        {"variant": name, "fold": fold, "why": "no run was given"}
        for name, candidate in candidates.items()
        for fold in folds
        if fold not in candidate.runs and (name, fold) not in known
    ]


@dataclass(frozen=True)
class Sample:
    """What is measured: `unit` (n,) numbers of patients, `target` (n,) class indices, `probability` (n, classes)."""

    unit: np.ndarray
    target: np.ndarray
    probability: np.ndarray

    def where(self, keep: np.ndarray) -> Sample:
        """Return the rows that the boolean (n,) array `keep` selects."""
        return Sample(self.unit[keep], self.target[keep], self.probability[keep])


def sample(experiment: Experiment, predictions: Predictions) -> Sample:
    """Return predictions of scans or slices as they are, with patients by number."""
    unit = np.array([experiment.index[str(patient)] for patient in predictions.patient], dtype=np.int64)
    return Sample(unit, predictions.target, predictions.probability)


def by_patient(scans: Sample) -> Sample:
    """Return one row a patient: the mean of its scans' probabilities."""
    units, first, inverse = np.unique(scans.unit, return_index=True, return_inverse=True)
    sums = np.zeros((len(units), scans.probability.shape[1]))
    np.add.at(sums, inverse, scans.probability)
    return Sample(units, scans.target[first], sums / np.bincount(inverse)[:, None])
