"""The inputs of a training: read and checked before any time is spent, and their content key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError, require
from claire.core.command.files import sha256_file
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.folds import Folds, read_folds
from claire.core.contracts.run import run_name
from claire.core.contracts.variant import Variant, read_variant
from claire.core.contracts.verified import open_verified
from claire.core.networks.devices import Device
from claire.core.networks.training_key import training_key
from claire.train import Parameters


@dataclass(frozen=True)
class Job:
    """One training: a variant on a fold of a cohort. `scans` maps the roles of the fold to its scans."""

    variant: Variant
    cohort: Cohort
    fold: int
    scans: dict[str, list[Scan]]
    pretrained: Path | None

    @property
    def name(self) -> str:
        """Name of the run, the stem of its files."""
        return run_name(self.variant, self.fold)


def read_job(parameters: Parameters) -> Job:
    """Read and check the inputs of a training. Raises UsageError or ClaireError."""
    variant, folds = read_variant(parameters.variant), read_folds(parameters.folds)
    last = max(folds.count, 1) - 1
    require(
        parameters.fold <= last,
        f"--fold is not a fold of {parameters.folds.name}: expected 0 to {last}, got {parameters.fold}",
        "Choose one of them.",
    )
    _check_pretrained(variant, parameters.pretrained)
    cohort = open_verified(parameters.cohort, parameters.store)
    _check_patients(cohort, folds)
    scans = {role: cohort.by_patient(patients) for role, patients in folds.roles(parameters.fold).items()}
    _check_roles(scans, cohort, parameters.fold)
    return Job(variant, cohort, parameters.fold, scans, parameters.pretrained)


def _check_pretrained(variant: Variant, pretrained: Path | None) -> None:
    expected = "none" if variant.pretraining == "none" else variant.pretraining.removeprefix("weights:")
    actual = pretrained.name if pretrained else "none"
    require(
        expected == actual,
        f"--pretrained is not the file that variant {variant.id} names: expected {expected}, got {actual}",
        "Give the weights file that the variant's `pretraining` names, and no other.",
    )


def _check_patients(cohort: Cohort, folds: Folds) -> None:
    remedy = "Give the folds.csv that was written beside this cohort.h5."
    with_scan, with_fold = {scan.patient for scan in cohort.scans}, {*folds.fold, *folds.fixed}
    if missing := with_scan - with_fold:
        raise ClaireError(f"{len(missing)} patients of the cohort are in no fold, such as {min(missing)}", remedy)
    if unknown := with_fold - with_scan:
        raise ClaireError(
            f"{len(unknown)} patients of the folds have no scan in the cohort, such as {min(unknown)}", remedy
        )


def _check_roles(scans: dict[str, list[Scan]], cohort: Cohort, fold: int) -> None:
    for role in ("train", "validation", "test"):
        if not scans[role]:
            raise ClaireError(
                f"fold {fold} has no {role} scans", "Draw other folds: `claire cohort --fold-count`, --seed."
            )
    missing = sorted(set(cohort.classes) - {scan.label for scan in scans["train"]})
    if missing:
        raise ClaireError(
            f"fold {fold} has no training scan of class {', '.join(missing)}",
            "Gather more patients of that class, or draw fewer folds: every role needs patients of every class.",
        )


def store_key(job: Job, folds: Path, device: Device) -> dict[str, Any]:
    """Return the content key of a training (`networks.training_key`)."""
    pretrained = sha256_file(job.pretrained) if job.pretrained else None
    return training_key(job.variant, job.fold, job.cohort.sha256, sha256_file(folds), pretrained, device.kind)
