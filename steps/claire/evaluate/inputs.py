"""Runs, scans and patients, gathered and checked: what must never happen is refused here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.progress import progress
from claire.core.contracts.cohort_summary import CohortSummary, read_cohort_summary
from claire.core.contracts.metrics import MissingRun
from claire.core.contracts.run import Predictions, Run, read_run
from claire.core.contracts.scan_table import ScanRow, read_scan_table
from claire.core.contracts.variant import Variant


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

    `test_fold` says where each patient is tested: its fold, or its fixed split. `missing` lists runs that are not there or
    not usable, with the reason.
    """

    cohort: CohortSummary
    classes: tuple[str, ...]
    scans: Mapping[str, ScanRow]
    patients: tuple[str, ...]
    target: np.ndarray
    test_fold: tuple[str, ...]
    folds: tuple[int, ...]
    candidates: Mapping[str, Candidate]
    missing: Sequence[MissingRun]

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each patient."""
        return {patient: i for i, patient in enumerate(self.patients)}

    @cached_property
    def scans_of(self) -> dict[str, list[ScanRow]]:
        """Scans of each patient."""
        scans: dict[str, list[ScanRow]] = defaultdict(list)
        for row in self.scans.values():
            scans[row.patient].append(row)
        return scans

    @property
    def eligible(self) -> list[str]:
        """Variants that may win: the complete ones; all, if none is complete."""
        complete = [name for name, candidate in self.candidates.items() if candidate.complete]
        return complete or list(self.candidates)


def gather(paths: Sequence[Path], scans: Path, cohort: Path) -> Experiment:
    """Read all runs and what they were made from. Raises ClaireError where they do not belong together or leak."""
    if not paths:
        raise UsageError("the manifest of runs is empty", "Give at least one `.run.zip`.")
    summary = read_cohort_summary(cohort)
    classes = summary.classes
    rows = read_scan_table(scans)
    runs = [_checked(read_run(path, classes), summary, rows, classes) for path in progress(paths, "runs read")]
    usable, missing = _sort_out(runs)
    folds = _folds(summary, runs)
    _refuse_leaks(usable, rows)
    patients = tuple(sorted({row.patient for row in rows.values()}))
    labels = {row.patient: row.label for row in rows.values()}
    test_folds = _test_folds(usable, rows)
    _refuse_duplicates(rows, test_folds)
    candidates = _candidates(runs, usable, folds)
    gaps = _gaps(candidates, folds, missing)
    return Experiment(
        summary,
        classes,
        rows,
        patients,
        np.array([classes.index(labels[patient]) for patient in patients]),
        tuple(test_folds.get(patient, "unseen") for patient in patients),
        folds,
        candidates,
        [*missing, *gaps],
    )


def _checked(run: Run, summary: CohortSummary, rows: Mapping[str, ScanRow], classes: Sequence[str]) -> Run:
    """Return the run; raise ClaireError where it is of another cohort, or contradicts the table of scans."""
    if run.facts.cohort_sha256 != summary.sha256:
        raise ClaireError(
            f"run {run.name} was trained on cohort {run.facts.cohort_sha256[:12]}…, not on {summary.sha256[:12]}…",
            "Evaluate runs of one cohort only, with its own cohort.json and scans.csv.",
        )
    for split in run.scans.values():
        for scan, patient, target in zip(split.scan, split.patient, split.target, strict=True):
            row = rows.get(str(scan))
            if row is None or row.patient != patient or row.label != classes[target] or target < 0:
                problem = "is not in" if row is None else "contradicts"
                raise ClaireError(
                    f"scan {scan} of run {run.name} {problem} the table of scans", "Give the scans.csv of this cohort."
                )
    return run


def _sort_out(runs: Sequence[Run]) -> tuple[list[tuple[int, Run]], list[MissingRun]]:
    """Return usable runs with their positions, and why the others are not. Raises UsageError on a run given twice."""
    names = [run.name for run in runs]
    duplicates = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if duplicates:
        raise UsageError(f"run {duplicates[0]} is a duplicate in the manifest", "Give each run once.")
    usable, missing = [], []
    for position, run in enumerate(runs):
        why = _unusable(run)
        if why:
            missing.append(MissingRun(variant=run.variant.id, fold=run.fold, why=why))
        else:
            usable.append((position, run))
    if not usable:
        raise ClaireError(f"none of {len(runs)} runs can be used: {missing[0].why}", "Look into their training.")
    return usable, missing


def _unusable(run: Run) -> str:
    if "test" not in run.scans or "validation" not in run.scans:
        return "no predictions for " + " and ".join(s for s in ("validation", "test") if s not in run.scans)
    if not all(split.finite for split in run.scans.values()):
        return "probabilities that are not numbers from 0 to 1: the training diverged"
    return ""


def _folds(summary: CohortSummary, runs: Sequence[Run]) -> tuple[int, ...]:
    return tuple(sorted({*range(summary.fold_count), *(run.fold for run in runs)}))


def _refuse_leaks(usable: Sequence[tuple[int, Run]], rows: Mapping[str, ScanRow]) -> None:
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


def _refuse_patients_in_two_folds(first: Mapping[tuple[int, str], Run], rows: Mapping[str, ScanRow]) -> None:
    tested: dict[str, int] = {}
    for (fold, split), run in first.items():
        if split != "test":
            continue
        for scan, patient in zip(run.scans["test"].scan, run.scans["test"].patient, strict=True):
            if not rows[str(scan)].split and tested.setdefault(patient, fold) != fold:
                raise ClaireError(
                    f"patient {patient} is tested in fold {tested[patient]} and in fold {fold}", "Draw the folds again."
                )


def _test_folds(usable: Sequence[tuple[int, Run]], rows: Mapping[str, ScanRow]) -> dict[str, str]:
    test_folds: dict[str, str] = {row.patient: row.split for row in rows.values() if row.split}
    for _, run in usable:
        for patient in set(run.scans["test"].patient):
            test_folds.setdefault(str(patient), str(run.fold))
    return test_folds


def _refuse_duplicates(rows: Mapping[str, ScanRow], test_folds: Mapping[str, str]) -> None:
    seen: dict[str, ScanRow] = {}
    for row in rows.values():
        other = seen.setdefault(row.pixel_hash, row)
        if test_folds.get(other.patient) != test_folds.get(row.patient):
            raise ClaireError(
                f"scans {other.scan} and {row.scan} have the same voxels in different folds",
                "Give both the same patient in labels.csv, or leave one out, and run `claire cohort` again.",
            )


def _candidates(runs: Sequence[Run], usable: Sequence[tuple[int, Run]], folds: Sequence[int]) -> dict[str, Candidate]:
    variants = {run.variant.id: run.variant for run in runs}
    runs_of: dict[str, dict[int, tuple[int, Run]]] = {name: {} for name in variants}
    for position, run in usable:
        runs_of[run.variant.id][run.fold] = (position, run)
    return {
        name: Candidate(
            variants[name],
            {fold: by_fold[fold][1] for fold in sorted(by_fold)},
            {fold: by_fold[fold][0] for fold in sorted(by_fold)},
            set(by_fold) == set(folds),
        )
        for name, by_fold in runs_of.items()
        if by_fold
    }


def _gaps(candidates: Mapping[str, Candidate], folds: Sequence[int], missing: Sequence[MissingRun]) -> list[MissingRun]:
    known = {(run.variant, run.fold) for run in missing}
    return [
        MissingRun(variant=name, fold=fold, why="no run was given")
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
