"""Predictions of finished runs: what `train` packs into `<variant>-f<k>.run.zip`."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claire.core.command.errors import ClaireError
from claire.core.contracts.variant import Variant, parse_variant

COLUMNS = ("run", "fold", "split", "level", "patient", "scan", "slice", "target")
SPLITS = ("validation", "test", "external")
AGAIN = "Run `claire train` again for this run."


@dataclass(frozen=True)
class Predictions:
    """Predictions of one run for one split at one level, a row a scan or slice.

    `patient` and `scan` (n,) hold pseudonyms, `slice` (n,) the index in the ingested scan (−1 for scans), `target` (n,)
    the class index (−1 where nobody labelled it) and `probability` (n, classes) what the network said.
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
        return Predictions(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Run:
    """One finished run: its archive, variant, fold, the facts of its training, and its scans' predictions by split."""

    path: Path
    name: str
    variant: Variant
    fold: int
    facts: Mapping[str, Any]
    scans: Mapping[str, Predictions]

    @property
    def cohort(self) -> str:
        """SHA-256 of the cohort that the run was trained on."""
        found = self.facts.get("cohort_sha256") or self.facts.get("cohort")
        if not isinstance(found, str):
            raise ClaireError(f"{self.path.name} does not name its cohort", AGAIN)
        return found

    def slices(self, classes: Sequence[str]) -> dict[str, Predictions]:
        """Read the predictions of single slices by split; they are many, so they are read when asked for."""
        return read_predictions(self.path, "slice", classes)


def read_run(path: Path, classes: Sequence[str]) -> Run:
    """Read a run's archive. Raises ClaireError, naming the file, where it is damaged or of other classes."""
    document, facts = _read_json(path, "variant.json"), _read_json(path, "train.json")
    variant = parse_variant(document.get("variant", {}), f"{path.name}: variant.json")
    if variant.id != document.get("id"):
        raise ClaireError(
            f"{path.name}: the variant's content has the id {variant.id}, not {document.get('id')}", AGAIN
        )
    if not isinstance(facts.get("fold"), int):
        raise ClaireError(f"{path.name}: train.json names no fold", AGAIN)
    fold = facts["fold"]
    return Run(path, f"{variant.id}-f{fold}", variant, fold, facts, read_predictions(path, "scan", classes))


def read_predictions(path: Path, level: str, classes: Sequence[str]) -> dict[str, Predictions]:
    """Return the predictions of a run's archive at `level` (scan or slice), by split; splits without rows are left out.

    Raises ClaireError where columns are missing, the classes are not `classes` or a cell is no number.
    """
    lines = io.StringIO(_read(path, "predictions.csv").decode("utf-8"), newline="")
    header = next(csv.reader([lines.readline()]), [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ClaireError(f"{path.name}: predictions.csv has no column {', '.join(missing)}", AGAIN)
    given = [name.removeprefix("probability_") for name in header if name.startswith("probability_")]
    if given != list(classes):
        raise ClaireError(
            f"{path.name} predicts the classes {', '.join(given)}, the cohort has {', '.join(classes)}",
            "Evaluate runs of one cohort only.",
        )
    try:
        return _by_split(csv.reader(lines), header, level, classes)
    except (ValueError, IndexError) as error:
        raise ClaireError(f"{path.name}: predictions.csv has a cell that cannot be read", AGAIN) from error


def _by_split(
    rows: Iterable[list[str]], header: Sequence[str], level: str, classes: Sequence[str]
) -> dict[str, Predictions]:
    at = {name: header.index(name) for name in header}
    chosen: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for row in rows:
        if row and row[at["level"]] == level:
            chosen.setdefault(row[at["split"]], []).append(row)
    if set(chosen) - set(SPLITS):
        raise ValueError("unknown split")
    index = {name: i for i, name in enumerate(classes)} | {"": -1}
    return {split: _columns(found, at, index, classes) for split, found in chosen.items() if found}


def _columns(
    rows: list[list[str]], at: Mapping[str, int], index: Mapping[str, int], classes: Sequence[str]
) -> Predictions:
    column = {name: [row[place] for row in rows] for name, place in at.items()}
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


def _read(path: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ClaireError(f"{path.name} is no complete archive of a run: {member} cannot be read", AGAIN) from error


def _read_json(path: Path, member: str) -> dict[str, Any]:
    try:
        document = json.loads(_read(path, member))
    except ValueError as error:
        raise ClaireError(f"{path.name}: {member} is no JSON document", AGAIN) from error
    if not isinstance(document, dict):
        raise ClaireError(f"{path.name}: {member} is no JSON object", AGAIN)
    return document
