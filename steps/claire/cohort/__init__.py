"""Join shards into the one file of voxels that training reads, and draw the folds.

Refuses what could not be learned from fairly: patients with two labels or two splits, the same picture under two
patients, too few patients a class for the folds, too many scans set aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claire.core.command.files import write_json
from claire.core.command.parameters import Manifest, StepParameters, parameter
from claire.core.command.progress import progress
from claire.core.command.record import Record
from claire.core.command.tables import write_csv, write_rejects
from claire.core.contracts.folds import Folds, require_count, write_folds

if TYPE_CHECKING:
    from claire.cohort.draw import Patient
    from claire.cohort.shards import Member

STEP = "cohort"


@dataclass(frozen=True)
class Gathered:
    """What enters the cohort, checked: scans in the order of their ids, and rows of all rejects."""

    members: list[Member]
    size: int
    patients: list[Patient]
    classes: tuple[str, ...]
    folds: Folds
    rejects: list[dict[str, Any]]


class Parameters(StepParameters):
    """Parameters of `claire cohort`."""

    prepared: Manifest = parameter(help="manifest of the NNNN.prepared.h5 files of preprocess")
    rejects: Manifest = parameter(help="manifest of the rejects.csv files of the steps before")
    fold_count: int = parameter(
        5,
        help="folds of the cross-validation, at least 3; 1 where the labels table fixes every patient's split",
        ge=1,
    )
    seed: int = parameter(0, help="seed of the folds", ge=0)
    classes: str = parameter(
        "",
        help="class names in order, separated by commas, the negative class first; by default a name known to mean "
        "negative comes first and the rest follows the alphabet",
    )
    max_reject_fraction: float = parameter(
        0.5, help="share of the chosen scans that may have been set aside before the cohort is refused", ge=0, le=1
    )


def run(parameters: Parameters) -> None:
    """Gather the shards, check them, and write the cohort, its tables and the record."""
    require_count(parameters.fold_count)
    files = {f"prepared/{path.name}": path for path in parameters.prepared}
    files |= {f"rejects/{path.name}": path for path in parameters.rejects}
    with Record(STEP, "", parameters.out, parameters.recorded(), files) as record:
        write(parameters, gather(parameters), record)


def gather(parameters: Parameters) -> Gathered:
    """Return the scans that enter, their patients and folds. Raises ClaireError or UsageError on what cannot be."""
    from claire.cohort import checks
    from claire.cohort.draw import draw_folds, patients_of, require_classes_in_all_roles
    from claire.cohort.shards import read_rejects, read_shards

    checks.require_all_shards(parameters.prepared, parameters.rejects)
    shards, rejects = read_shards(parameters.prepared), read_rejects(parameters.rejects)
    checks.require_scans(shards.members, rejects)
    members, twice = checks.without_duplicates(shards.members)
    rejects += twice
    checks.require_few_rejects(len(members), rejects, parameters.max_reject_fraction)
    patients = patients_of([member.scan for member in members])
    classes = checks.class_order({patient.label for patient in patients}, parameters.classes)
    folds = draw_folds(patients, parameters.fold_count, parameters.seed)
    require_classes_in_all_roles(patients, folds, classes)
    return Gathered(members, shards.size, patients, classes, folds, rejects)


def write(parameters: Parameters, found: Gathered, record: Record) -> None:
    """Write the voxels, scan by scan, and the tables."""
    from claire.cohort import tables
    from claire.cohort.shards import label_slices, place, voxel_blocks
    from claire.core.contracts.cohort import write_cohort

    out, scans = parameters.out, place(label_slices(found.members, found.classes))
    blocks = progress(voxel_blocks(found.members), "joined scan", len(scans))
    sha256 = write_cohort(out / "cohort.h5", scans, found.classes, found.size, blocks)
    record.output(out / "cohort.h5", sha256)
    head = {"sha256": sha256, "size": found.size, "folds": parameters.fold_count, "seed": parameters.seed}
    summary = tables.summary(scans, found.patients, found.classes, found.rejects) | head
    record.output(write_json(out / "cohort.json", summary))
    record.output(write_csv(out / "scans.csv", tables.SCAN_COLUMNS, map(tables.scan_row, scans)))
    record.output(write_folds(out / "folds.csv", tables.fold_rows(found.patients, found.folds)))
    record.output(write_rejects(out / "rejects.csv", found.rejects))
    record.counts.update(scans=len(scans), patients=len(found.patients), rejects=len(found.rejects))
    tables.tell(summary)
