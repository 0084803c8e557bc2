"""CSV tables with a fixed header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from steps.core.errors import UsageError
from steps.core.record import atomic

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

    Raises UsageError when a required column is missing or the file is no UTF-8 text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [{key: (cell or "").strip() for key, cell in row.items() if key} for row in reader]
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} is not UTF-8 text (byte {error.start})", "Save it as CSV, UTF-8.") from error
    except csv.Error as error:
        raise UsageError(
            f"the {what} is not a CSV table: {error}", "Save it as CSV, UTF-8, with a header line."
        ) from error
    missing = [name for name in required if name not in columns]
    if missing:
        raise UsageError(
            f"the {what} has no column {', '.join(missing)}; it has: {', '.join(columns) or 'none'}", "Add the column."
        )
    return rows


def write_rejects(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the scans that a step set aside: shard line, pseudonym, reason and detail."""
    return write_csv(path, REJECT_COLUMNS, rows)
