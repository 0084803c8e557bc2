"""Small cells in tables of patients: they are merged, so that nobody can be told apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from typing import TypeVar

SMALLEST_CELL = 5
MERGED = "others (merged)"
K = TypeVar("K", bound=Hashable)


def small_cells(patients: Mapping[K, Set[object]]) -> list[K]:
    """Return the cells to be merged into one, of a table that maps each cell to its patients.

    They are the cells under 5 patients and the next smallest until together they hold 5, for else a lone small cell
    could be found by subtraction.
    """
    small: list[K] = []
    together: set[object] = set()
    for cell, members in sorted(patients.items(), key=lambda item: (len(item[1]), str(item[0]))):
        if len(members) >= SMALLEST_CELL and not 0 < len(together) < SMALLEST_CELL:
            break
        small.append(cell)
        together |= members
    return small
