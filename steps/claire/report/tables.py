"""Tables as data; the template determines their appearance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a smaller second line, its sort key, a picture, a link, the kind of badge."""

    text: str
    note: str = ""
    sort: float | str | None = None
    picture: Markup | str = ""
    link: str = ""
    badge: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it holds numbers, and what it means (shown on hover and in the glossary)."""

    name: str
    numeric: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption; `sortable` if the order of its rows carries no meaning."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    note: str = ""


def table(
    caption: str,
    columns: Iterable[Column | str],
    rows: Iterable[Iterable[Cell | object]],
    *,
    sortable: bool = False,
    note: str = "",
) -> Table:
    """Return a table; headings and cells may be plain values. Columns that are empty in every row are left out."""
    headings = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[cell_of(value) for value in row] for row in rows]
    has_text = [any(row[index].text not in ("", NONE) for row in cells) for index in range(len(headings))]
    shown_cells = [[cell for cell, shown in zip(row, has_text, strict=True) if shown] for row in cells]
    headings = [head for head, shown in zip(headings, has_text, strict=True) if shown]
    return Table(caption, headings, shown_cells, sortable, note)


def cell_of(value: object) -> Cell:
    """Return `value` as a cell: numbers sort as numbers; empty values become a dash."""
    if isinstance(value, Cell):
        return value
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int | float):
        return Cell(number(value), sort=float(value))
    return Cell(str(value)) if value not in (None, "") else Cell(NONE, sort="")


def floating(text: object) -> float | None:
    """Return the number in a CSV or JSON cell, or None."""
    try:
        value = float(text)  # type: ignore[arg-type]  # what float() refuses is None
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def number(value: object, digits: int = 3) -> str:
    """Return a number for display: integers whole, others with `digits` decimals, large ones with fewer."""
    parsed = floating(value)
    if parsed is None:
        return NONE
    if isinstance(value, int) or (parsed == int(parsed) and abs(parsed) >= 10):
        return str(int(parsed)).replace("-", "−")
    places = digits if abs(parsed) < 10 else 1 if abs(parsed) < 1000 else 0
    return f"{parsed:.{places}f}".replace("-", "−")


def chance(value: object) -> str:
    """Return a probability for display; values that round to 0 or 1 are given as bounds."""
    parsed = floating(value)
    if parsed is None:
        return NONE
    return "< 0.001" if parsed < 0.0005 else "> 0.999" if parsed >= 0.9995 else number(value)


def interval(lower: object, upper: object, digits: int = 3) -> str:
    """Return the limits of an interval, "" if there are none or if they are equal."""
    if floating(lower) is None or floating(upper) is None or lower == upper:
        return ""
    limits = number(lower, digits), number(upper, digits)
    return f"{limits[0]} to {limits[1]}" if limits[0] != limits[1] else ""


def figure_cell(value: object, lower: object = None, upper: object = None, digits: int = 3) -> Cell:
    """Return a figure with its interval below."""
    parsed = floating(value)
    return Cell(number(value, digits), interval(lower, upper, digits), parsed if parsed is not None else "")


def duration(seconds: float) -> str:
    """Return a duration for display: "0.4 s", "2 min 5 s", "3 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds_left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds_left} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
