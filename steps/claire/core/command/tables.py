"""CSV tables with a fixed header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from claire.core.command.errors import UsageError
from claire.core.command.files import atomic

REJECT_COLUMNS = ("step", "shard", "line", "scan", "reason", "detail")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write `rows` under `columns`; a missing or None cell is empty, a float is printed in full. Unknown keys raise."""
    with atomic(path, "w") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if cell is None else cell for key, cell in row.items()} for row in rows)
    return path


def read_csv(path: Path, required: Sequence[str] = (), what: str = "table") -> list[dict[str, str]]:
    """Read a CSV table as dictionaries of stripped strings.

    Raises UsageError when a required column is missing, a column stands twice, a line has more cells than the header or
    a cell holds a line break (as after a stray quote, which would swallow the lines below), and when the file is no
    UTF-8 text. The message names lines and columns, never a cell.
    """
    what = f"{what} {path.name}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            rows = [_row(columns, cells, reader.line_num, what) for cells in reader if cells]
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} is not UTF-8 text (byte {error.start})", "Save it as CSV, UTF-8.") from error
    except csv.Error as error:
        raise UsageError(
            f"the {what} is not a CSV table: {error}", "Save it as CSV, UTF-8, with a header line."
        ) from error
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"the {what} has two columns of the name '{twice[0]}'", "Keep one of them.")
    if len(columns) == 1 and any(sign in columns[0] for sign in ";\t"):
        raise UsageError(f"the {what} is separated by semicolons or tabs", "Save it as CSV, with commas.")
    missing = [name for name in required if name not in columns]
    if missing:
        raise UsageError(
            f"the {what} has no column {', '.join(missing)}; it has: {', '.join(columns) or 'none'}", "Add the column."
        )
    return rows


def _row(columns: Sequence[str], cells: Sequence[str], line: int, what: str) -> dict[str, str]:
    if len(cells) > len(columns):
        raise UsageError(
            f"line {line} of the {what} has {len(cells)} cells, the header {len(columns)}",
            "Remove the surplus, or quote the cell that holds a comma.",
        )
    if any(sign in cell for cell in cells for sign in "\n\r\0"):
        raise UsageError(
            f"line {line} of the {what} ends a cell that holds a line break or a NUL",
            'Look for a stray " in it or above it: it swallows the lines that follow.',
        )
    return {name: cell.strip() for name, cell in zip(columns, [*cells, *[""] * len(columns)], strict=False)}


def write_rejects(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the scans that a step set aside: shard line, pseudonym, reason and detail."""
    return write_csv(path, REJECT_COLUMNS, rows)
