"""`folds.csv`: the role of each patient in each fold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from claire.core.command.errors import UsageError
from claire.core.command.tables import Row, read_rows, write_rows

REMEDY = "Run `claire cohort` again."
FixedSplit = Literal["train", "validation", "test", "external"]
#: The split of a patient in the labels table; "" if it is drawn.
TableSplit = FixedSplit | Literal[""]
FIXED_SPLITS: tuple[FixedSplit, ...] = ("train", "validation", "test", "external")


class FoldRow(Row):
    """A patient: its class, and its fold or fixed split."""

    patient: str
    label: str
    split: Literal["", "train", "validation", "test", "external"]
    fold: int | None


@dataclass(frozen=True)
class Folds:
    """`fold` maps patients to 0…count−1; `fixed` maps those with a split in the labels table to it (FIXED_SPLITS).

    `count` is 1 if every split is fixed.
    """

    count: int
    fold: dict[str, int]
    fixed: dict[str, FixedSplit]

    def split_of(self, patient: str) -> TableSplit:
        """Return the fixed split of a patient, "" if it is drawn."""
        return self.fixed.get(patient, "")

    def roles(self, k: int) -> dict[str, set[str]]:
        """Return the patients by role in fold `k`: test is fold k, validation the next, training the rest.

        Patients with a fixed split keep it in every fold; `external` are predicted but never trained on.
        """
        roles: dict[str, set[str]] = {name: set() for name in FIXED_SPLITS}
        for patient, split in self.fixed.items():
            roles[split].add(patient)
        for patient, fold in self.fold.items():
            role = "test" if fold == k else "validation" if fold == (k + 1) % self.count else "train"
            roles[role].add(patient)
        return roles


def write_folds(path: Path, rows: Iterable[FoldRow]) -> Path:
    """Write `folds.csv`, one row per patient; `fold` is empty if `split` is fixed."""
    return write_rows(path, FoldRow, rows)


def read_fold_rows(path: Path) -> list[FoldRow]:
    """Read the rows of `folds.csv`. Raises ClaireError."""
    return read_rows(path, FoldRow, REMEDY)


def read_folds(path: Path) -> Folds:
    """Read `folds.csv`. Raises ClaireError on damage, UsageError on a duplicate patient or one without a fold."""
    fold: dict[str, int] = {}
    fixed: dict[str, FixedSplit] = {}
    for row in read_fold_rows(path):
        if row.patient in fold or row.patient in fixed:
            raise UsageError(f"patient {row.patient} is a duplicate in {path.name}", REMEDY)
        if row.split:
            fixed[row.patient] = row.split
        elif row.fold is not None and row.fold >= 0:
            fold[row.patient] = row.fold
        else:
            raise UsageError(f"patient {row.patient} of {path.name} has neither fold nor split", REMEDY)
    return Folds(max(fold.values(), default=0) + 1, fold, fixed)


def require_count(fold_count: int) -> None:
    """Raise UsageError unless `fold_count` is at least 3, or 1 for a cohort whose table fixes every split."""
    if fold_count == 2:
        raise UsageError(
            "--fold-count 2 leaves nothing to train on: one fold tests, the next validates, the rest trains",
            "Give at least 3, or 1 where the labels table fixes the split of every patient.",
        )
