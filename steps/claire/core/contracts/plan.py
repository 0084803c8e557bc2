"""`plan.json`: the trainings of a grid. The engines load it as a whole, so it holds only ids and positions."""

from __future__ import annotations

from pathlib import Path

from claire.core.command.documents import Document, read_document
from claire.core.command.files import write_text

REMEDY = "Run `claire plan` again."


class Plan(Document):
    """Every variant is trained on every fold.

    `variants`: ids in the grid's order; `pretraining`: the position of each variant's weights file among the given
    files, −1 for none.
    """

    name: str
    fold_count: int
    trainings: int
    epochs: int
    variants: tuple[str, ...]
    pretraining: tuple[int, ...]


def write_plan(path: Path, plan: Plan) -> Path:
    """Write `plan.json`, compact."""
    return write_text(path, plan.to_canonical_json() + "\n")


def read_plan(path: Path) -> Plan:
    """Read `plan.json`. Raises ClaireError."""
    return read_document(path, Plan, REMEDY)
