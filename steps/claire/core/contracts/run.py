"""`<run>.run.zip`: the results of a training: predictions, history, variant and facts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from claire.core.command.documents import Document, Part, parse_document
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import ArchiveReader, write_archive
from claire.core.contracts.cohort import Scan
from claire.core.contracts.variant import Variant, VariantDocument, check_id
from claire.core.statistics.intervals import by_patient

REMEDY = "Run `claire train` again for this run."
Split = Literal["validation", "test", "external"]
Level = Literal["scan", "slice"]
SPLITS: tuple[Split, ...] = ("validation", "test", "external")


class Pretrained(Part):
    """Number of weights loaded from a given file, names of untouched weights, names of unused entries."""

    loaded: int
    untouched: tuple[str, ...]
    unused: tuple[str, ...]


def run_name(variant: Variant, fold: int) -> str:
    """Return the name of a run, the stem of its files."""
    return f"{variant.id}-f{fold}"


class RunFacts(Document):
    """Facts of a training. `parameters`: number of weights; `best_epoch` counts from 1.

    `scans` and `patients` count by role (train, validation, test, external).
    """

    run: str
    fold: int
    classes: tuple[str, ...]
    cohort_sha256: str
    device: str
    parameters: int
    best_epoch: int
    epochs: int
    stopped_early: bool
    scans: dict[str, int]
    patients: dict[str, int]
    pretrained: Pretrained | None = None


class Epoch(Part):
    """A row of history.csv."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    validation_auc: float | None


class PredictionRow(NamedTuple):
    """A row of predictions.csv. `slice`: index in the ingested scan, None for scans; `target`: a class or None."""

    run: str
    fold: int
    split: Split
    level: Level
    patient: str
    scan: str
    slice: int | None
    target: str | None
    probability: tuple[float, ...]


COLUMNS = PredictionRow._fields[:-1]


@dataclass(frozen=True)
class ScanPrediction:
    """A network's prediction for one scan.

    `probability`: (classes,); `slices`: (rows,) the kept slices that a 2D network saw, each once, and
    `slice_probability`: (rows, classes) those of the slices; both empty in 3D.
    """

    scan: Scan
    probability: np.ndarray
    slices: np.ndarray
    slice_probability: np.ndarray


def prediction_rows(facts: RunFacts, split: Split, predictions: Iterable[ScanPrediction]) -> Iterator[PredictionRow]:
    """Yield the rows of one split: a scan, then its slices by their index in the ingested scan."""
    for prediction in predictions:
        scan, head = prediction.scan, (facts.run, facts.fold, split)
        yield PredictionRow(
            *head, "scan", scan.patient, scan.scan, None, scan.label, tuple(map(float, prediction.probability))
        )
        for row, probability in zip(prediction.slices, prediction.slice_probability, strict=True):
            label = scan.slice_labels[row]
            target = facts.classes[label] if label >= 0 else None
            index = scan.slices[row]
            yield PredictionRow(*head, "slice", scan.patient, scan.scan, index, target, tuple(map(float, probability)))


def write_run(
    path: Path, variant: Variant, facts: RunFacts, rows: Iterable[PredictionRow], history: Sequence[Epoch]
) -> Path:
    """Write the archive of a run, with the same bytes for the same results."""
    columns = [*COLUMNS, *(f"probability_{name}" for name in facts.classes)]
    cells = ([*row[:-1], *(f"{probability:.9g}" for probability in row.probability)] for row in rows)
    with write_archive(path) as archive:
        archive.add("predictions.csv", _table(columns, cells))
        archive.add(
            "history.csv", _table(list(Epoch.model_fields), ([*epoch.model_dump().values()] for epoch in history))
        )
        archive.add("variant.json", VariantDocument.of(variant).to_json())
        archive.add("train.json", facts.to_json())
    return path


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


@dataclass(frozen=True)
class Predictions:
    """Predictions of one run for one split at one level, one row per scan or slice.

    `patient` and `scan` (n,) hold pseudonyms, `slice` (n,) the index in the ingested scan (−1 for scans), `target` (n,)
    the class index (−1 without a label) and `probability` (n, classes) those of the network.
    """

    patient: np.ndarray
    scan: np.ndarray
    slice: np.ndarray
    target: np.ndarray
    probability: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    @property
    def finite(self) -> bool:
        """Whether every probability is a number from 0 to 1; a training that diverged gives others."""
        return bool(np.all(np.isfinite(self.probability) & (self.probability >= 0) & (self.probability <= 1)))

    def where(self, keep: np.ndarray) -> Predictions:
        """Return the rows that the boolean (n,) array `keep` selects."""
        return Predictions(
            self.patient[keep], self.scan[keep], self.slice[keep], self.target[keep], self.probability[keep]
        )

    def by_patient(self) -> Predictions:
        """Return one row per patient, in the order of their names: the mean of the probabilities of its scans.

        `scan` is that of the patient's first row, as is `target`.
        """
        patients, first = np.unique(self.patient, return_index=True)
        mean = by_patient(self.probability, self.patient)
        return Predictions(patients, self.scan[first], self.slice[first], self.target[first], mean)


@dataclass(frozen=True)
class Run:
    """One finished run: its archive, variant, the facts of its training, and its scans' predictions by split."""

    path: Path
    name: str
    variant: Variant
    fold: int
    facts: RunFacts
    scans: Mapping[str, Predictions]

    def slices(self, classes: Sequence[str]) -> dict[str, Predictions]:
        """Read the predictions of single slices by split; they are many, so they are read only when needed."""
        return read_predictions(self.path, "slice", classes)


def read_run(path: Path, classes: Sequence[str]) -> Run:
    """Read a run's archive. Raises ClaireError, naming the file, if it is damaged or of other classes."""
    with ArchiveReader(path, REMEDY) as archive:
        member = f"{path.name}: variant.json"
        document = parse_document(archive.read("variant.json"), VariantDocument, member, REMEDY)
        variant = check_id(document, member, REMEDY)
        facts = parse_document(archive.read("train.json"), RunFacts, f"{path.name}: train.json", REMEDY)
    name = run_name(variant, facts.fold)
    return Run(path, name, variant, facts.fold, facts, read_predictions(path, "scan", classes))


def read_predictions(path: Path, level: Level, classes: Sequence[str]) -> dict[str, Predictions]:
    """Return the predictions of a run's archive at `level` (scan or slice), by split; splits without rows are left out.

    Raises ClaireError if columns are missing, the classes are not `classes` or a cell cannot be parsed.
    """
    with ArchiveReader(path, REMEDY) as archive:
        lines = io.StringIO(archive.read("predictions.csv").decode("utf-8", "replace"), newline="")
    header = next(csv.reader([lines.readline()]), [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ClaireError(f"{path.name}: predictions.csv has no column {', '.join(missing)}", REMEDY)
    predicted = [name.removeprefix("probability_") for name in header if name.startswith("probability_")]
    if predicted != list(classes):
        raise ClaireError(
            f"{path.name} predicts the classes {', '.join(predicted)}: expected {', '.join(classes)}",
            "Evaluate runs of one cohort only.",
        )
    try:
        return _by_split(csv.reader(lines), header, level, classes)
    except (ValueError, IndexError, csv.Error) as error:
        raise ClaireError(f"{path.name}: predictions.csv has a cell that cannot be read", REMEDY) from error


def _by_split(
    rows: Iterable[list[str]], header: Sequence[str], level: str, classes: Sequence[str]
) -> dict[str, Predictions]:
    column_of = {name: header.index(name) for name in header}
    rows_of: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for row in rows:
        if row and row[column_of["level"]] == level:
            rows_of.setdefault(row[column_of["split"]], []).append(row)
    if set(rows_of) - set(SPLITS):
        raise ValueError("unknown split")
    index = {name: i for i, name in enumerate(classes)} | {"": -1}
    return {split: _columns(selected, column_of, index, classes) for split, selected in rows_of.items() if selected}


def _columns(
    rows: list[list[str]], column_of: Mapping[str, int], index: Mapping[str, int], classes: Sequence[str]
) -> Predictions:
    column = {name: [row[number] for row in rows] for name, number in column_of.items()}
    if not set(column["target"]) <= set(index):
        raise ValueError("unknown class")
    return Predictions(
        np.array(column["patient"]),
        np.array(column["scan"]),
        np.array([int(cell) if cell else -1 for cell in column["slice"]], dtype=np.int64),
        np.array([index[cell] for cell in column["target"]], dtype=np.int64),
        np.array([[_number(cell) for cell in column[f"probability_{name}"]] for name in classes]).T,
    )


def _number(cell: str) -> float:
    return float(cell) if cell else float("nan")
