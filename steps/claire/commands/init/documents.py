"""The files of a new project: tables, key, grid and job file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.commands.init.join import Joined
from claire.commands.init.patients import LabelRow, Patient
from claire.core.command.files import write_text
from claire.core.command.tables import write_csv
from claire.core.contracts.labels import write_labels
from claire.index.choice import Rule
from claire.index.table import printable, study_date

KEY, LABELS, PATIENTS, GRID, JOB = "key", "labels.csv", "patients.csv", "grid.yml", "job.yml"
_PATIENT_COLUMNS = (
    *("patient", "named_by", "label", "matched_row", "study_dates", "study_descriptions", "series", "chosen"),
    *("chosen_series", "chosen_descriptions", "slices", "mm", "problems"),
)
#: Columns of labels.csv that are left for the user to fill in, besides `label`.
_MORE_COLUMNS = ("reference_standard", "site")
#: Cohorts with fewer patients get the smallest grid, with more than the second number the largest.
_SMALL, _LARGE = 100, 400


@dataclass(frozen=True)
class Job:
    """What the job file says. `labels`: the classes that the labels have, in no order; empty if none are known."""

    source: Path
    folder: Path
    classes: str
    labels: tuple[str, ...]
    fold_count: int
    smallest_class: int | None
    seed: int
    cores: int
    shards: int


def write_label_table(folder: Path, key: str, rows: Iterable[LabelRow], joined: Joined) -> Path:
    """Write labels.csv: a row for each patient or path, with the label where the join gave one."""
    listed = [*rows]
    columns = ("patient", *_MORE_COLUMNS) if key == "path" else _MORE_COLUMNS
    cells = [{key: row.key, **({"patient": row.patient} if key == "path" else {})} for row in listed]
    return write_labels(
        folder / LABELS,
        key,
        ({"label": "", **cell, **joined.labels.get(row.of.name, {})} for cell, row in zip(cells, listed, strict=True)),
        columns,
    )


def write_patients(folder: Path, patients: Iterable[Patient], joined: Joined) -> Path:
    """Write patients.csv: what the headers say about each patient, to help to fill in labels.csv."""
    return write_csv(folder / PATIENTS, _PATIENT_COLUMNS, (_overview(patient, joined) for patient in patients))


def _overview(patient: Patient, joined: Joined) -> dict[str, object]:
    chosen = patient.chosen
    headers = [series.header for series, _ in patient.scans if series.header]
    problems = [*patient.problems, *(["rows with different labels"] if patient.name in joined.contradicting else [])]
    return {
        "patient": printable(patient.name),
        "named_by": patient.named_by,
        "label": joined.labels.get(patient.name, {}).get("label", ""),
        "matched_row": printable(joined.matches.get(patient.name, "")),
        "study_dates": _listed(study_date(series) for series, _ in patient.scans),
        "study_descriptions": _listed(header.study_description for header in headers),
        "series": len(patient.scans),
        "chosen": len(chosen),
        "chosen_series": _listed((each.header.series_uid if each.header else "") or each.files[0] for each in chosen),
        "chosen_descriptions": _listed(each.header.description for each in chosen if each.header),
        "slices": _listed(str(each.instances) for each in chosen),
        "mm": _listed(f"{each.thickness_mm:g}" for each in chosen if each.thickness_mm < 1e6),
        "problems": "; ".join(problems),
    }


def _listed(texts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(printable(text) for text in texts if text))


def write_key(folder: Path) -> Path:
    """Write a new key of 32 random bytes in hex, for its owner alone."""
    path = write_text(folder / KEY, secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


def write_grid(folder: Path, patients: int) -> Path:
    """Write a starter grid fit for real CT of this many patients."""
    return write_text(folder / GRID, grid_text(patients))


def grid_text(patients: int) -> str:
    """Return a starter grid: the fewer patients, the fewer variants and the stronger the regularisation."""
    if patients < _SMALL:
        size, slices, epochs, decay = 128, 16, 40, "5.0e-2"
        why = (
            "Few patients: masked lungs, small batches (many steps) and strong weight decay; two variants, not more,\n"
        )
        why += "# for the best of many on few patients is the luckiest, not the best."
        axes = "  learning_rate: [1.0e-3, 3.0e-4]"
    elif patients <= _LARGE:
        size, slices, epochs, decay = 160, 16, 40, "1.0e-2"
        why = "Some hundred patients: two networks at two learning rates."
        axes = "  architecture: [torchvision:resnet18, torchvision:densenet121]\n  learning_rate: [1.0e-3, 3.0e-4]"
    else:
        size, slices, epochs, decay = 224, 24, 50, "1.0e-3"
        why = "Many patients: two networks, two learning rates and two ways to see the slice."
        axes = "  architecture: [torchvision:resnet18, torchvision:densenet121]\n"
        axes += "  learning_rate: [3.0e-4, 1.0e-4]\n  view: [lungs, box]"
    return f"""# A starter grid for {patients} patients; `claire plan --grid {GRID} --fold-count 5 --list` shows it.
# docs/usage.md (plan) describes every key; configs/grids has more grids, claire-108.yml is the published one.
# {why}
name: starter
base:
  architecture: torchvision:resnet18   # any classifier of torchvision or monai
  view: lungs                # everything but the lungs is blackened; box: the box around the lungs
  size: {size}                  # pixels; larger shows finer texture and costs its square
  slices: {slices}                 # slices of a scan that the network sees, spread evenly
  epochs: {epochs}
  patience: 10               # epochs without a lower validation loss before training stops
  batch_size: 2              # scans per step
  optimiser: adamw
  weight_decay: {decay}
  augmentation: standard     # healed: also copies without opacities; for cohorts without healthy negatives
axes:                        # all combinations of these are trained, each on every fold
{axes}
"""


def write_job(folder: Path, job: Job) -> Path:
    """Write job.yml with absolute paths; its comments say what each key is."""
    return write_text(folder / JOB, job_text(job))


def job_text(job: Job) -> str:
    """Return the job file."""
    return f"""# A run of the CLAIRE pipeline. `claire check {JOB}` checks it; docs/usage.md describes every key.
source: {{class: Directory, path: {_quoted(job.source)}}}   # the series; only read
labels: {{class: File, path: {_quoted(job.folder / LABELS)}}}   # fill in the column label; empty: set aside
key: {{class: File, path: {_quoted(job.folder / KEY)}}}   # secret key of the pseudonyms; keep it
grid: {{class: File, path: {_quoted(job.folder / GRID)}}}   # the variants that are trained and compared
private: {_quoted(job.folder / "private")}   # receives the table from pseudonyms to patients; stays here
store: {_quoted(job.folder / "store")}   # keeps finished trainings and saliency, so that a run can go on
data_store: {_quoted(job.folder / "store")}   # the same for the data steps, evaluation and report
{_classes_line(job)}
fold_count: {job.fold_count}   # {_fold_reason(job)}
seed: {job.seed}   # of folds, trainings and intervals: the same seed gives the same result
cores: {job.cores}   # processor cores of one training; several trainings run side by side
images: none   # whose pictures the report shows: none, or all (they are personal health data)
# min_slices: {Rule().min_slices}   # series with fewer slices are set aside; lower it for thinned or very thick scans
index_options:
  shards: {job.shards}   # parts of the data that are worked on at once
"""


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def _classes_line(job: Job) -> str:
    if job.classes:
        return f"classes: {json.dumps(job.classes, ensure_ascii=False)}   # in order, the negative one first"
    names = ",".join(job.labels) if job.labels else "normal,covid"
    return (
        "# FILL IN: all classes in order, the negative one first, and remove the # before it.\n"
        f"# classes: {json.dumps(names, ensure_ascii=False)}"
    )


def _fold_reason(job: Job) -> str:
    if job.smallest_class is None:
        return "folds; at least 3, at most the patients of the smallest class: check it when labels are filled in"
    return f"folds; the smallest class has {job.smallest_class} patients"


def fold_count_for(patients: int) -> int:
    """Return folds for the patients of the smallest class: 3 to 5, two patients of the class a fold where possible."""
    return min(5, max(3, patients // 2))


def taken(folder: Path) -> Sequence[str]:
    """Return the files of a project that are in a folder; an existing key is kept and does not count."""
    return [name for name in (LABELS, PATIENTS, GRID, JOB) if (folder / name).exists() or (folder / name).is_symlink()]
