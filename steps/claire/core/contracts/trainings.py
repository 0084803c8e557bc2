"""`trainings.csv`, the trainings that the workflow asks for, and `collected.json`, which of them are finished."""

from __future__ import annotations

from pathlib import Path

from claire.core.command.documents import Document
from claire.core.command.files import write_text
from claire.core.command.tables import Row, read_rows


class TrainingRow(Row):
    """A training of the plan: id of its variant, its fold, and path of the weights file that it starts from."""

    variant: str
    fold: int
    pretrained: str | None


class Collected(Document):
    """The trainings of `trainings.csv` by position, from 0. The engines load it as a whole.

    `found`: the finished ones, in the order of the names of their files; `missing`: the others, in the table's order.
    """

    found: tuple[int, ...]
    missing: tuple[int, ...]


def read_trainings(path: Path) -> list[TrainingRow]:
    """Read `trainings.csv`. Raises ClaireError."""
    return read_rows(path, TrainingRow, "Give one row per training: variant,fold,pretrained.")


def write_collected(path: Path, collected: Collected) -> Path:
    """Write `collected.json`, compact."""
    return write_text(path, collected.to_canonical_json() + "\n")
