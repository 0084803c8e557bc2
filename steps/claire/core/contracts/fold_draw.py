"""Folds: patients dealt out, balanced by class and site, from a seed. `cohort` draws them, `index` foretells them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from claire.core.command.errors import UsageError
from claire.core.contracts.folds import Folds, TableSplit


@dataclass(frozen=True)
class Patient:
    """A patient: one label, the site of most scans, and a fixed split or ""."""

    patient: str
    label: str
    site: str
    split: TableSplit


def draw_folds(patients: Sequence[Patient], fold_count: int, seed: int) -> Folds:
    """Deal the patients without a fixed split out to `fold_count` folds.

    They stand in line by class, within it by site, within that by a hash of seed and pseudonym, and are dealt out like
    cards. So patients a fold, a class and fold, and a class, site and fold differ by at most one; the order of the
    input and the versions of libraries play no part. Raises UsageError when `fold_count` does not suit fixed splits.
    """
    drawn = [patient for patient in patients if not patient.split]
    fixed = {patient.patient: patient.split for patient in patients if patient.split}
    if drawn and fold_count < 3:
        raise UsageError(
            f"--fold-count {fold_count}, but {len(drawn)} patients have no fixed split and are drawn into folds",
            "Give --fold-count of at least 3: one tests, the next validates, the rest trains.",
        )
    if fixed and not drawn and fold_count != 1:
        raise UsageError(
            f"--fold-count {fold_count}, but the labels table fixes the split of every patient: "
            "all folds would be the same",
            "Give --fold-count 1, or empty the column `split`.",
        )
    line = sorted(drawn, key=lambda patient: (patient.label, patient.site, _shuffled(patient.patient, seed)))
    return Folds(fold_count, {patient.patient: number % fold_count for number, patient in enumerate(line)}, fixed)


def _shuffled(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{patient}".encode()).digest()


def require_classes_in_all_roles(patients: Sequence[Patient], folds: Folds, classes: Sequence[str]) -> None:
    """Raise UsageError unless every class trains, validates and tests in every fold."""
    for fault in class_faults(patients, folds, classes):
        raise fault


def class_faults(patients: Sequence[Patient], folds: Folds, classes: Sequence[str]) -> Iterator[UsageError]:
    """Yield the error of each class that does not train, validate and test in every fold."""
    label = {patient.patient: patient.label for patient in patients}
    faulty: set[str] = set()
    for k in range(folds.count):
        roles = folds.roles(k)
        for role in ("train", "validation", "test"):
            missing = set(classes) - {label[patient] for patient in roles[role]} - faulty
            faulty |= missing
            for name in sorted(missing):
                yield UsageError(*_too_few(name, role, patients, folds))


def _too_few(name: str, role: str, patients: Sequence[Patient], folds: Folds) -> tuple[str, str]:
    free = sum(patient.label == name and not patient.split for patient in patients)
    problem = f"class '{name}' has {free} patients to draw into {folds.count} folds"
    if not folds.fold:
        return f"no patient of class '{name}' has the split {role}", "Give each class patients of every split."
    if 3 <= free < folds.count:
        return (
            f"{problem}: some fold would {_does(role)} without it",
            f"Give --fold-count {free} at most, or add patients.",
        )
    return f"{problem}: some fold would {_does(role)} without it", "Add patients of this class; 3 are the least."


def _does(role: str) -> str:
    return {"train": "train", "validation": "validate", "test": "test"}[role]
