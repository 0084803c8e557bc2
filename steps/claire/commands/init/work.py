"""A project made of a source: refusals first, then the index, the files, the cost and the next steps."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.commands.init import Parameters
from claire.commands.init import documents as docs
from claire.commands.init.calibrate import measured_rate
from claire.commands.init.cost import (
    cores_for,
    cost_text,
    estimate,
    guessed_rate,
    this_machine,
)
from claire.commands.init.join import Joined, join
from claire.commands.init.patients import LabelRow, Patient, find_patients, label_rows
from claire.core.command.errors import ClaireError, UsageError, require
from claire.core.command.files import make_directory, only_for_owner, require_plain
from claire.core.contracts.classes import class_order
from claire.core.contracts.labels import read_labels
from claire.core.privacy.pseudonym import read_key
from claire.index.choice import Rule, choose
from claire.index.early import FEWEST_FOLDS
from claire.index.series import Series, find_series, require_series
from claire.index.table import printable
from claire.index.tree import Passed
from claire.plan.grid import expand, load_grid

_MOST_SHARDS, _SCANS_A_SHARD = 64, 25


@dataclass(frozen=True)
class Project:
    """What the source holds, and what becomes of it in the project."""

    series: Sequence[Series]
    passed: Passed
    patients: Sequence[Patient]
    key: str
    rows: Sequence[LabelRow]
    joined: Joined

    @property
    def chosen(self) -> list[Series]:
        """The series that a run takes."""
        return [series for patient in self.patients for series in patient.chosen]

    def class_sizes(self) -> Counter[str]:
        """Return the patients by label."""
        members = {row.of.name: row.of for row in self.rows}
        return Counter(self.joined.labels[name]["label"] for name in members if name in self.joined.labels)


def run(parameters: Parameters) -> None:
    """Write the project and print what it holds, what it costs and what comes next."""
    folder, source = parameters.directory.resolve(), parameters.source.resolve()
    _require_apart(folder, source)
    _require_free(folder)
    _require_readable(parameters.source)
    project = _look(source, parameters)
    with only_for_owner():
        make_directory(folder, "DIRECTORY")
        new_key = _write(folder, source, project, parameters)
    print("\n".join([*_found(project), *_labels(project, parameters), ""]))
    machine = this_machine(folder)
    variants, cores = expand(load_grid(folder / docs.GRID), parameters.seed), cores_for(machine)
    rate = measured_rate(variants[0], cores) if parameters.calibrate else None
    cost = estimate(project.chosen, variants, _fold_count(project), rate or guessed_rate(machine))
    print(cost_text(cost, machine, cores, rate is not None), "", *_next(folder, project, parameters, new_key), sep="\n")


def _require_apart(folder: Path, source: Path) -> None:
    require(
        not folder.is_relative_to(source),
        "DIRECTORY is inside --source: nothing may be written into the source",
        "Name a folder outside of it.",
    )
    for name, path in (("DIRECTORY", folder), ("--source", source)):
        require_plain(name, path)


def _require_free(folder: Path) -> None:
    require(not folder.is_file(), f"DIRECTORY {folder} is a file", "Name a folder.")
    taken = docs.taken(folder)
    require(
        not taken,
        f"DIRECTORY {folder} holds {', '.join(taken)} already: nothing is overwritten",
        "Name another folder, or move these files away; a key that is there is kept.",
    )
    if (folder / docs.KEY).exists():
        read_key(folder / docs.KEY)


def _require_readable(source: Path) -> None:
    try:
        os.scandir(source).close()
    except OSError as error:
        raise UsageError(
            f"--source {source} cannot be read: {error.strerror}", "Ask for the right to read it, or mount it again."
        ) from error


def _look(source: Path, parameters: Parameters) -> Project:
    passed, rule = Passed(), Rule()
    series = require_series(find_series(source, parameters.threads, passed), passed)
    verdicts = choose(series, rule)
    patients = find_patients(series, verdicts, rule)
    key, rows = label_rows(patients)
    if not rows:
        raise ClaireError(
            f"--source holds no CT series that could be chosen ({len(series)} series of other kinds)",
            "`claire index --source DIR --list` names each with the reason.",
        )
    joined = Joined()
    if parameters.labels_from:
        joined = join(patients, parameters.labels_from, parameters.key_column, parameters.label_column)
    project = Project(series, passed, patients, key, rows, joined)
    if parameters.classes and joined.labels:
        class_order({*project.class_sizes()}, parameters.classes)
    return project


def _write(folder: Path, source: Path, project: Project, parameters: Parameters) -> bool:
    """Write the files, the job last; return whether the key is new."""
    new_key = not (folder / docs.KEY).exists()
    if new_key:
        docs.write_key(folder)
    read_labels(docs.write_label_table(folder, project.key, project.rows, project.joined))
    docs.write_patients(folder, project.patients, project.joined)
    docs.write_grid(folder, _patient_count(project))
    cores, sizes = cores_for(this_machine(folder)), project.class_sizes()
    job = docs.Job(
        source=source,
        folder=folder,
        classes=parameters.classes,
        labels=tuple(sorted(sizes)),
        fold_count=_fold_count(project),
        smallest_class=min(sizes.values(), default=None),
        seed=parameters.seed,
        cores=cores,
        shards=_shards(project),
    )
    docs.write_job(folder, job)
    return new_key


def _patient_count(project: Project) -> int:
    return len({row.of.name for row in project.rows})


def _fold_count(project: Project) -> int:
    """Return folds for the smallest class; where no labels are known, for classes of a third of the patients."""
    sizes = project.class_sizes()
    return docs.fold_count_for(min(sizes.values()) if len(sizes) > 1 else _patient_count(project) // 3)


def _shards(project: Project) -> int:
    processors = len(os.sched_getaffinity(0))
    wanted = max(processors, len(project.chosen) // _SCANS_A_SHARD)
    return max(1, min(wanted, _patient_count(project), _MOST_SHARDS))


def _found(project: Project) -> Iterator[str]:
    patients = _counted(_patient_count(project), "patient")
    yield f"{len(project.series)} series, {len(project.chosen)} chosen, of {patients}"
    if project.passed.summary():
        yield f"passed over: {project.passed.summary()}; `claire index --source DIR --list` names them"
    without = sum(not patient.chosen for patient in project.patients)
    if without:
        yield f"{_counted(without, 'patient')} without a series that was chosen: {docs.PATIENTS} says why"
    faulty = sum(bool(patient.problems and patient.chosen) for patient in project.patients)
    if faulty:
        yield f"{_counted(faulty, 'patient')} to look at: column `problems` of {docs.PATIENTS}"
    few = sum(each.instances < Rule().min_slices for each in project.chosen)
    if few:
        yield (
            f"{few} of {len(project.chosen)} chosen series have fewer than {Rule().min_slices} slices and will be set "
            f"aside, unless `min_slices` of {docs.JOB} says less"
        )
    yield from _rules(project)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _rules(project: Project) -> Iterator[str]:
    """Say by what the patients are named, where it is not the PatientID of the header."""
    named = Counter(patient.named_by for patient in {id(row.of): row.of for row in project.rows}.values())
    column = f"in the column `patient` of {docs.LABELS}: correct it where several are one person"
    if named["BIDS subject"]:
        yield f"{_counted(named['BIDS subject'], 'patient')} named by the BIDS subject (sub-*) of the path"
    if named["file"]:
        files = _counted(named["file"], "NIfTI file")
        yield f"{files} without a patient: each is one of its own, named by its file {column}"
    if named["study"]:
        studies = "1 study" if named["study"] == 1 else f"{named['study']} studies"
        yield f"{studies} without a usable PatientID: each is a patient of its own {column}"
    yield f"the key column of {docs.LABELS} is `{project.key}`"


def _labels(project: Project, parameters: Parameters) -> Iterator[str]:
    if not parameters.labels_from:
        return
    joined, sizes = project.joined, project.class_sizes()
    yield f"{sum(sizes.values())} of {_counted(_patient_count(project), 'patient')} got a label: " + (
        ", ".join(f"{label} {count}" for label, count in sorted(sizes.items())) or "none"
    )
    if joined.loose:
        yield f"{joined.loose} of them only without case and leading zeros: check `matched_row` of {docs.PATIENTS}"
    if joined.contradicting:
        yield f"{_counted(len(joined.contradicting), 'patient')} with different labels got none: see `problems`"
    if joined.unmatched_rows:
        yield f"{joined.unmatched_rows} of {_counted(joined.rows, 'row')} of the table match no patient here"
    if joined.unlabelled_rows:
        yield f"{joined.unlabelled_rows} of {_counted(joined.rows, 'row')} of the table have no key or no label"
    if joined.left_out:
        yield f"columns of the table not taken along: {', '.join(map(printable, joined.left_out))}"
    small = [label for label, count in sorted(sizes.items()) if count < FEWEST_FOLDS]
    if small:
        yield f"too few patients of {', '.join(small)}: a run needs at least {FEWEST_FOLDS} of each class"


def _next(folder: Path, project: Project, parameters: Parameters, new_key: bool) -> Iterator[str]:
    yield f"written into {folder}: {docs.LABELS}, {docs.PATIENTS}, {docs.GRID}, {docs.JOB}" + (
        f", {docs.KEY}" if new_key else f"; the {docs.KEY} that was there is kept"
    )
    yield f"{docs.LABELS}, {docs.PATIENTS} and {docs.KEY} identify patients: they stay here"
    yield ""
    yield "next:"
    missing = _patient_count(project) - sum(project.class_sizes().values())
    if missing:
        left = f"{_counted(missing, 'patient')}; empty ones are set aside"
        yield f"  fill in the column `label` of {folder / docs.LABELS} ({left})"
    if not parameters.classes:
        yield f"  fill in `classes` in {folder / docs.JOB}, the negative class first"
    yield f"  claire check {folder / docs.JOB}"
    yield f"  claire run {folder / docs.JOB}"
