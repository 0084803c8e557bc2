"""Read the runs and their cohort, and refuse what leaks: runs of other folds, shared patients, duplicate scans."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.progress import progress
from claire.core.contracts.cohort_summary import CohortSummary, read_cohort_summary
from claire.core.contracts.metrics import MissingRun
from claire.core.contracts.run import Run, read_run
from claire.core.contracts.scan_table import ScanRow, read_scan_table
from claire.core.contracts.variant import Variant
from claire.core.statistics import IntArray


def given_path(path: Path | None, flag: str) -> Path:
    """Return the path of a flag that may be left out. Raises UsageError where it was, but is needed."""
    if path is None:
        raise UsageError(f"{flag} is missing", "`claire evaluate --help` says what belongs together.")
    return path


@dataclass(frozen=True)
class Candidate:
    """A variant with its usable runs and their positions in the manifest, by fold; complete: a run on every fold."""

    variant: Variant
    runs: Mapping[int, Run]
    positions: Mapping[int, int]
    complete: bool


@dataclass(frozen=True)
class Experiment:
    """All runs over one cohort.

    `scans` are keyed by pseudonym; `patients` are sorted, `target` (patients,) holds their class indices and
    `test_fold` (patients,) where each is tested: its fold, its fixed split, or "unseen". `missing` lists the runs that
    are absent or unusable.
    """

    cohort: CohortSummary
    classes: tuple[str, ...]
    scans: Mapping[str, ScanRow]
    patients: tuple[str, ...]
    target: IntArray
    test_fold: tuple[str, ...]
    folds: tuple[int, ...]
    candidates: Mapping[str, Candidate]
    missing: Sequence[MissingRun]

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each patient in `patients`."""
        return {patient: i for i, patient in enumerate(self.patients)}

    @cached_property
    def scans_of(self) -> dict[str, list[ScanRow]]:
        """Scans by patient."""
        scans: dict[str, list[ScanRow]] = defaultdict(list)
        for row in self.scans.values():
            scans[row.patient].append(row)
        return scans

    @property
    def eligible(self) -> list[str]:
        """Ids of the variants that may win: the complete ones; all, if none is complete."""
        complete = [name for name, candidate in self.candidates.items() if candidate.complete]
        return complete or list(self.candidates)


def read_experiment(paths: Sequence[Path], scans: Path, cohort_summary: Path) -> Experiment:
    """Read all runs and the tables of their cohort.

    Raises UsageError on a manifest that is empty or names a run twice, ClaireError where runs do not belong together
    or patients leak between folds.
    """
    if not paths:
        raise UsageError("the manifest of runs is empty", "Give at least one `.run.zip`.")
    summary, rows = read_cohort_summary(cohort_summary), read_scan_table(scans)
    runs = [read_run(path, summary.classes) for path in progress(paths, "runs read")]
    _refuse_other_cohorts(runs, summary, rows)
    _refuse_duplicate_runs(runs)
    usable, unusable = _split_usable(runs)
    test_folds = _test_folds(usable.values(), rows)
    _refuse_leaks(list(usable.values()), rows, test_folds)
    folds = tuple(sorted({*range(summary.fold_count), *(run.fold for run in runs)}))
    candidates = _candidates(runs, usable, folds)
    patients = tuple(sorted({row.patient for row in rows.values()}))
    labels = {row.patient: row.label for row in rows.values()}
    return Experiment(
        cohort=summary,
        classes=summary.classes,
        scans=rows,
        patients=patients,
        target=np.array([summary.classes.index(labels[patient]) for patient in patients]),
        test_fold=tuple(test_folds.get(patient, "unseen") for patient in patients),
        folds=folds,
        candidates=candidates,
        missing=[*unusable, *_absent(candidates, folds, unusable)],
    )


def _refuse_other_cohorts(runs: Sequence[Run], summary: CohortSummary, rows: Mapping[str, ScanRow]) -> None:
    for run in runs:
        if run.facts.cohort_sha256 != summary.sha256:
            raise ClaireError(
                f"run {run.name} was trained on another cohort: expected {summary.sha256[:12]}…, "
                f"got {run.facts.cohort_sha256[:12]}…",
                "Evaluate runs of one cohort only, with its own cohort.json and scans.csv.",
            )
        _refuse_other_scans(run, summary.classes, rows)


def _refuse_other_scans(run: Run, classes: Sequence[str], rows: Mapping[str, ScanRow]) -> None:
    for split in run.scans.values():
        for scan, patient, target in zip(split.scan, split.patient, split.target, strict=True):
            row = rows.get(str(scan))
            if row is None or row.patient != patient or row.label != classes[target] or target < 0:
                problem = "is not in" if row is None else "contradicts"
                raise ClaireError(
                    f"scan {scan} of run {run.name} {problem} the table of scans", "Give the scans.csv of this cohort."
                )


def _refuse_duplicate_runs(runs: Sequence[Run]) -> None:
    name, count = Counter(run.name for run in runs).most_common(1)[0]
    if count > 1:
        raise UsageError(f"run {name} is a duplicate in the manifest", "Give each run once.")


def _split_usable(runs: Sequence[Run]) -> tuple[dict[int, Run], list[MissingRun]]:
    """Return the usable runs by their position in the manifest, and the others with the reason."""
    faults = [_fault(run) for run in runs]
    usable = {position: run for position, run in enumerate(runs) if not faults[position]}
    if not usable:
        raise ClaireError(f"none of {len(runs)} runs can be used: {faults[0]}", "Look into their training.")
    return usable, [
        MissingRun(variant=run.variant.id, fold=run.fold, why=fault)
        for run, fault in zip(runs, faults, strict=True)
        if fault
    ]


def _fault(run: Run) -> str:
    """Return why a run cannot be used, or ""."""
    absent = [split for split in ("validation", "test") if split not in run.scans]
    if absent:
        return f"no predictions for {' and '.join(absent)}"
    if not all(split.finite for split in run.scans.values()):
        return "probabilities that are not numbers from 0 to 1: the training diverged"
    return ""


def _test_folds(usable: Iterable[Run], rows: Mapping[str, ScanRow]) -> dict[str, str]:
    """Return where each patient is tested: its fixed split, or the fold whose runs test it."""
    test_folds: dict[str, str] = {row.patient: row.split for row in rows.values() if row.split}
    for run in usable:
        for patient in set(run.scans["test"].patient):
            test_folds.setdefault(str(patient), str(run.fold))
    return test_folds


def _refuse_leaks(usable: Sequence[Run], rows: Mapping[str, ScanRow], test_folds: Mapping[str, str]) -> None:
    for run in usable:
        _refuse_leaks_within(run)
    _refuse_different_scans(usable)
    _refuse_patients_in_two_folds(usable, rows)
    _refuse_duplicate_scans(rows, test_folds)


def _refuse_leaks_within(run: Run) -> None:
    shared = set(run.scans["test"].patient) & set(run.scans["validation"].patient)
    if shared:
        raise ClaireError(f"run {run.name} validates and tests patient {min(shared)}", "Draw the folds again.")
    for split, predictions in run.scans.items():
        if len(set(predictions.scan)) != len(predictions):
            raise ClaireError(f"run {run.name} predicts a {split} scan twice", "Run `claire train` again.")


def _refuse_different_scans(usable: Sequence[Run]) -> None:
    """Refuse runs of one fold that predict different scans of a split."""
    first_runs: dict[tuple[int, str], Run] = {}
    for run in usable:
        for split, predictions in run.scans.items():
            first_run = first_runs.setdefault((run.fold, split), run)
            if set(first_run.scans[split].scan) != set(predictions.scan):
                raise ClaireError(
                    f"runs {first_run.name} and {run.name} predict different {split} scans of fold {run.fold}",
                    "Evaluate runs that were trained with the same folds.csv.",
                )


def _refuse_patients_in_two_folds(usable: Sequence[Run], rows: Mapping[str, ScanRow]) -> None:
    """Refuse a patient that is tested in two folds; patients of the fixed split "test" are tested in all."""
    tested: dict[str, int] = {}
    for run in {run.fold: run for run in usable}.values():
        for scan, patient in zip(run.scans["test"].scan, run.scans["test"].patient, strict=True):
            if not rows[str(scan)].split and tested.setdefault(patient, run.fold) != run.fold:
                raise ClaireError(
                    f"patient {patient} is tested in fold {tested[patient]} and in fold {run.fold}",
                    "Draw the folds again.",
                )


def _refuse_duplicate_scans(rows: Mapping[str, ScanRow], test_folds: Mapping[str, str]) -> None:
    first_rows: dict[str, ScanRow] = {}
    for row in rows.values():
        first_row = first_rows.setdefault(row.pixel_hash, row)
        if test_folds.get(first_row.patient) != test_folds.get(row.patient):
            raise ClaireError(
                f"scans {first_row.scan} and {row.scan} have the same voxels in different folds",
                "Give both the same patient in labels.csv, or leave one out, and run `claire cohort` again.",
            )


def _candidates(runs: Sequence[Run], usable: Mapping[int, Run], folds: Sequence[int]) -> dict[str, Candidate]:
    """Return the variants that have a usable run by id, in the order of the manifest."""
    variants = {run.variant.id: run.variant for run in runs}
    positions: dict[str, dict[int, int]] = {name: {} for name in variants}
    for position, run in sorted(usable.items(), key=lambda item: item[1].fold):
        positions[run.variant.id][run.fold] = position
    return {
        name: Candidate(
            variant=variants[name],
            runs={fold: usable[position] for fold, position in by_fold.items()},
            positions=by_fold,
            complete=set(by_fold) == set(folds),
        )
        for name, by_fold in positions.items()
        if by_fold
    }


def _absent(
    candidates: Mapping[str, Candidate], folds: Sequence[int], unusable: Sequence[MissingRun]
) -> list[MissingRun]:
    known = {(run.variant, run.fold) for run in unusable}
    return [
        MissingRun(variant=name, fold=fold, why="no run was given")
        for name, candidate in candidates.items()
        for fold in folds
        if fold not in candidate.runs and (name, fold) not in known
    ]
