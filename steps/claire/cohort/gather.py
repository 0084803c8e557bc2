"""What enters the cohort: read, checked and dealt into folds, all before any voxel is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.cohort import Parameters, checks
from claire.cohort.patients import patients_of
from claire.core.command.errors import ClaireError
from claire.core.contracts.classes import class_order
from claire.core.contracts.fold_draw import Patient, draw_folds, require_classes_in_all_roles
from claire.core.contracts.folds import Folds
from claire.core.contracts.members import Member, read_members
from claire.core.contracts.rejects import Reject, read_rejects, write_rejects


@dataclass(frozen=True)
class Gathered:
    """What enters the cohort, checked: scans in the order of their ids; slices are (size, size) pixels."""

    members: list[Member]
    size: int
    patients: list[Patient]
    classes: tuple[str, ...]
    folds: Folds
    rejects: list[Reject]


def gather(parameters: Parameters) -> Gathered:
    """Return what enters. Raises ClaireError or UsageError on what cannot be, after `rejects.csv` is written."""
    checks.require_all_shards(parameters.prepared, parameters.reject_tables)
    members, size = read_members(parameters.prepared)
    rejects = read_rejects(parameters.reject_tables)
    path = write_rejects(parameters.out / "rejects.csv", rejects)
    try:
        checks.require_scans(members, rejects)
        members, duplicates = checks.without_duplicates(members)
        rejects += duplicates
        write_rejects(path, rejects)
        return _checked(parameters, members, size, rejects)
    except ClaireError as error:
        raise type(error)(error.problem, f"{error.remedy}\n  {_where(path, rejects)}") from error


def _checked(parameters: Parameters, members: Sequence[Member], size: int, rejects: list[Reject]) -> Gathered:
    checks.require_few_rejects(len(members), rejects, parameters.max_reject_fraction)
    patients = patients_of([member.facts for member in members])
    classes = class_order({patient.label for patient in patients}, parameters.classes)
    folds = draw_folds(patients, parameters.fold_count, parameters.seed)
    require_classes_in_all_roles(patients, folds, classes)
    return Gathered(list(members), size, patients, classes, folds, rejects)


def _where(path: Path, rejects: Sequence[Reject]) -> str:
    return f"{path.name} in --out lists the {len(rejects)} series that were set aside, with reasons."
