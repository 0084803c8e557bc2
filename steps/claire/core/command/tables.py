"""CSV tables with a fixed header: from dictionaries, or from rows of a model."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import atomic

#: A cell that a spreadsheet would interpret as a formula (OWASP, "CSV injection"), or one already neutralised.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class Row(BaseModel):
    """A row of a table that crosses between steps; its fields are the columns, in order. Empty cells are None or ""."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(cls.model_fields)


R = TypeVar("R", bound=Row)


def write_rows(path: Path, model: type[R], rows: Iterable[R]) -> Path:
    """Write rows of a model after a header."""
    return write_csv(path, model.columns(), (row.model_dump() for row in rows))


def read_rows(path: Path, model: type[R], remedy: str) -> list[R]:
    """Read the rows of a table that a step wrote. Raises ClaireError, naming file, line and column."""
    columns = model.columns()
    rows = read_csv(path, columns, "table")
    extra = [name for name in (rows[0] if rows else {}) if name not in columns]
    if extra:
        raise ClaireError(f"{path.name} has unknown columns: {', '.join(extra)}", remedy)
    parsed = []
    for line, row in enumerate(rows, start=2):
        try:
            parsed.append(model.model_validate({name: _value(model, name, cell) for name, cell in row.items()}))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            column = ".".join(map(str, fault["loc"]))
            raise ClaireError(f"line {line} of {path.name} is not valid: {column}: {fault['msg']}", remedy) from error
    return parsed


def _value(model: type[Row], name: str, cell: str) -> str | None:
    """Return a cell for the model: None for an empty cell if the column may be None."""
    if cell:
        return plain(cell)
    return None if type(None) in get_args(model.model_fields[name].annotation) else ""


def neutral(text: str) -> str:
    """Return a cell that no spreadsheet interprets as a formula: prefixed with an apostrophe if needed."""
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def plain(cell: str) -> str:
    """Undo `neutral`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return neutral(value) if isinstance(value, str) else value


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write `rows` under `columns`; missing and None cells are empty, floats in full precision. Unknown keys raise."""
    with atomic(path, "w") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return path


def read_csv(
    path: Path, required: Sequence[str] = (), what: str = "table", delimiter: str = ","
) -> list[dict[str, str]]:
    """Read a CSV table as dictionaries of stripped strings.

    Raises UsageError when a required column is missing, a column is a duplicate, a line has more cells than the header
    or a cell holds a line break (as after a stray quote, which would swallow the lines below), and when the file is
    not UTF-8 text. The message names lines and columns, never a cell.
    """
    what = f"{what} {path.name}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True, delimiter=delimiter)
            columns = [name.strip() for name in next(reader, [])]
            rows = [_row(columns, cells, reader.line_num, what) for cells in reader if cells]
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} is not UTF-8 text (byte {error.start})", "Save it as CSV, UTF-8.") from error
    except csv.Error as error:
        raise UsageError(
            f"the {what} is not a CSV table: {error}", "Save it as CSV, UTF-8, with a header line."
        ) from error
    duplicates = sorted({name for name in columns if columns.count(name) > 1})
    if duplicates:
        raise UsageError(f"the {what} has two columns named '{duplicates[0]}'", "Keep one of them.")
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
