"""Who trains, validates and tests in which fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from claire.core.command.errors import UsageError
from claire.core.command.tables import read_csv, write_csv

COLUMNS = ("patient", "label", "site", "split", "fold")
FIXED_SPLITS = ("train", "validation", "test", "external")


@dataclass(frozen=True)
class Folds:
    """`fold` maps patients to 0…count−1; `fixed` maps those whose table gave a split to it (FIXED_SPLITS).

    `count` is 1 where every split is fixed.
    """

    count: int
    fold: dict[str, int]
    fixed: dict[str, str]

    def roles(self, k: int) -> dict[str, set[str]]:
        """Return the patients by role in fold `k`: test is fold k, validation the next, training the rest.

        Patients with a fixed split keep it in every fold; `external` are predicted and never learned from.
        """
        roles: dict[str, set[str]] = {name: set() for name in FIXED_SPLITS}
        for patient, split in self.fixed.items():
            roles[split].add(patient)
        for patient, fold in self.fold.items():
            role = "test" if fold == k else "validation" if fold == (k + 1) % self.count else "train"
            roles[role].add(patient)
        return roles


def read_folds(path: Path) -> Folds:
    """Read `folds.csv`. Raises UsageError on an unknown split or fold, or a patient that stands twice."""
    fold: dict[str, int] = {}
    fixed: dict[str, str] = {}
    for row in read_csv(path, COLUMNS, "folds table"):
        patient = row["patient"]
        if patient in fold or patient in fixed:
            raise UsageError(f"patient {patient} stands twice in {path.name}", "Run `claire cohort` again.")
        if row["split"]:
            if row["split"] not in FIXED_SPLITS:
                raise UsageError(f"split '{row['split']}' is unknown", f"It may be {', '.join(FIXED_SPLITS)} or empty.")
            fixed[patient] = row["split"]
        elif row["fold"].isdecimal():
            fold[patient] = int(row["fold"])
        else:
            raise UsageError(
                f"patient {patient} of {path.name} has neither fold nor split", "Run `claire cohort` again."
            )
    return Folds(max(fold.values(), default=0) + 1, fold, fixed)


def require_count(folds: int) -> None:
    """Raise UsageError unless `folds` is at least 3, or 1 for a cohort whose table fixes every split."""
    if folds == 2:
        raise UsageError(
            "--fold-count 2 leaves nothing to train on: one fold tests, the next validates, the rest trains",
            "Give at least 3, or 1 where the labels table fixes the split of every patient.",
        )


def write_folds(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write `folds.csv`, a line a patient; `fold` is empty where `split` is fixed."""
    return write_csv(path, COLUMNS, rows)
