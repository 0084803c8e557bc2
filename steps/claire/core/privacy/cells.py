"""Small cells in tables of patients: they are merged, so that nobody can be identified."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from typing import TypeVar

SMALLEST_CELL = 5
MERGED = "others (merged)"
K = TypeVar("K", bound=Hashable)


def small_cells(patients: Mapping[K, Set[object]]) -> list[K]:
    """Return the cells of a table (cell → patients) that must be merged into one.

    These are the cells under 5 patients and the next smallest until together they hold 5; otherwise a single small
    cell could be recovered by subtraction.
    """
    small: list[K] = []
    merged_patients: set[object] = set()
    for cell, members in sorted(patients.items(), key=lambda item: (len(item[1]), str(item[0]))):
        if len(members) >= SMALLEST_CELL and not 0 < len(merged_patients) < SMALLEST_CELL:
            break
        small.append(cell)
        merged_patients |= members
    return small
