"""Folds: patients dealt out, balanced by class and site, from a seed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from claire.cohort.checks import require_one_value
from claire.core.command.errors import UsageError
from claire.core.contracts.folds import Folds, TableSplit
from claire.core.contracts.scans import ScanFacts


@dataclass(frozen=True)
class Patient:
    """A patient: one label, the site of most scans, and a fixed split or ""."""

    patient: str
    label: str
    site: str
    split: TableSplit


def patients_of(scans: Sequence[ScanFacts]) -> list[Patient]:
    """Return the patients in order of their pseudonyms.

    Raises ClaireError when the scans of one have different labels or fixed splits.
    """
    require_one_value(scans, "label", [scan.label for scan in scans])
    require_one_value(scans, "split", [scan.split for scan in scans])
    scans_of: dict[str, list[ScanFacts]] = defaultdict(list)
    for scan in scans:
        scans_of[scan.patient].append(scan)
    return [Patient(patient, own[0].label, _usual_site(own), own[0].split) for patient, own in sorted(scans_of.items())]


def _usual_site(scans: Sequence[ScanFacts]) -> str:
    sites = Counter(scan.site for scan in scans)
    return min(sites, key=lambda site: (-sites[site], site))


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
    label = {patient.patient: patient.label for patient in patients}
    for k in range(folds.count):
        roles = folds.roles(k)
        for role in ("train", "validation", "test"):
            missing = set(classes) - {label[patient] for patient in roles[role]}
            if missing:
                raise UsageError(*_too_few(sorted(missing)[0], role, patients, folds))


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
