"""`winner.json`: the winner's runs and those to be explained. The workflow engines read it, so it must stay small."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from claire.core.command.documents import Document, read_document, write_document

REMEDY = "Run `claire evaluate` again."


class Winner(Document):
    """Positions count the runs given to evaluate from 0.

    `winner`: positions of the winner's runs; `fold`: the fold of each; `explained`: positions of the runs to be
    explained; `judge`: for each of them the position of the best run of another architecture on the same fold and
    grid, −1 for none. `guards_fired`: names of the guards that fired; `better_than_chance`: whether the interval of
    the variant's patient AUC lies above 0.5: what explain may know, as it runs where no site's name may be.
    """

    variant: str
    winner: tuple[int, ...]
    fold: tuple[int, ...]
    explained: tuple[int, ...]
    judge: tuple[int, ...]
    guards_fired: tuple[str, ...] = ()
    better_than_chance: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Winner:
        if len(self.fold) != len(self.winner):
            raise ValueError(f"{len(self.winner)} runs have {len(self.fold)} folds")
        if not set(self.explained) <= set(self.winner) or len(set(self.explained)) < len(self.explained):
            raise ValueError("explained: expected positions of the winner's runs, each once")
        if len(self.judge) != len(self.explained):
            raise ValueError(f"{len(self.explained)} runs to be explained have {len(self.judge)} judges")
        return self


def write_winner(path: Path, winner: Winner) -> Path:
    """Write `winner.json`."""
    return write_document(path, winner)


def read_winner(path: Path) -> Winner:
    """Read `winner.json`. Raises ClaireError."""
    return read_document(path, Winner, REMEDY)
