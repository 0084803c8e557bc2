"""CSV tables: cells survive, no cell is a formula, and a fault is named by line and column, never by a cell."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.tables import Row, neutral, plain, read_csv, read_rows, write_csv, write_rows
from claire.core.contracts.folds import FoldRow, read_fold_rows, write_folds
from claire.core.contracts.rejects import Reject, read_rejects, write_rejects
from claire.core.contracts.result_tables import (
    ComparisonRow,
    CurvePoint,
    read_comparisons,
    read_curves,
    write_comparisons,
    write_curves,
)
from claire.core.contracts.scan_table import ScanRow, read_scan_table, write_scan_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\tx", "=HYPERLINK(\"http://x\",'a')", "'=1", "''@x")
#: What a cell may hold: no line break, which the reader refuses, and no blanks at its ends, which it strips.
cells = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20).map(str.strip)
SAME_FOLDER = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Example(Row):
    """A row with a column of every type that tables use."""

    name: str
    kind: Literal["", "a", "b"]
    count: int | None
    share: float | None
    flag: bool


def example(**changes: object) -> Example:
    values: dict[str, object] = {"name": "x", "kind": "a", "count": 1, "share": 0.5, "flag": True}
    return Example.model_validate(values | changes)


def scan_row(text: str) -> ScanRow:
    return ScanRow(
        scan="S1", patient="P1", label=text, split="", site=text, vendor=text, model=text, kernel=text,
        thickness_mm=-1.5, slice_spacing_mm=None, slices_kept=3, slices=9, right_ml=1.0, left_ml=2.0, sex=text,
        age_band=text, reference_standard=text, phantom=False, pixel_hash="00",
    )  # fmt: skip


def comparison(text: str) -> ComparisonRow:
    return ComparisonRow(
        against="winner", variant=text, other=text, folds=3, auc=0.5, auc_other=0.5, difference=-0.25, lower=None,
        upper=None, p_bootstrap=None, delong_lower=None, delong_upper=None, p=None, p_holm=None,
    )  # fmt: skip


#: Every table that people open, with text of a site in its cells: writer, reader, row.
TABLES = {
    "scans.csv": (write_scan_table, lambda path: [*read_scan_table(path).values()], scan_row),
    "folds.csv": (write_folds, read_fold_rows, lambda text: FoldRow(patient=text, label=text, split="", fold=1)),
    "rejects.csv": (
        write_rejects,
        lambda path: read_rejects([path]),
        lambda text: Reject(step="ingest", shard="0", line=1, scan=text, reason="not_hu", detail=text),
    ),
    "comparisons.csv": (write_comparisons, read_comparisons, comparison),
    "curves.csv": (
        write_curves,
        read_curves,
        lambda text: CurvePoint(variant=text, level="scan", curve="roc", label=text, x=-0.5, y=1.0),
    ),
}


def raw_cells(path: Path) -> list[str]:
    with path.open(newline="") as stream:
        return [cell for row in csv.reader(stream) for cell in row]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("name", TABLES)
def test_no_cell_is_a_formula_and_it_is_read_as_it_was(tmp_path: Path, name: str, formula: str) -> None:
    write, read, row = TABLES[name]
    write(tmp_path / name, [row(formula)])
    for cell in raw_cells(tmp_path / name):
        with suppress(ValueError):
            float(cell)
            continue
        assert not cell.startswith(("=", "+", "-", "@", "\t")), cell
    assert read(tmp_path / name) == [row(formula)]


@pytest.mark.parametrize("number", ["-1", "+2.5", "-1e-5", "-0.25"])
def test_a_negative_number_stays_a_number(number: str) -> None:
    assert neutral(number) == number


@given(st.text(max_size=30))
def test_neutralising_is_undone(text: str) -> None:
    assert plain(neutral(text)) == text


@SAME_FOLDER
@given(st.lists(st.tuples(cells, cells, st.floats(allow_nan=False, allow_infinity=False)), max_size=6))
def test_rows_are_read_as_they_were_written(tmp_path: Path, drawn: list[tuple[str, str, float]]) -> None:
    rows = [example(name=name or "x", share=share, kind="b", flag=bool(other)) for name, other, share in drawn]
    assert read_rows(write_rows(tmp_path / "t.csv", Example, rows), Example, "Again.") == rows


def test_empty_cells_are_none_or_empty_text(tmp_path: Path) -> None:
    row = example(name="", kind="", count=None, share=None, flag=False)
    path = write_rows(tmp_path / "t.csv", Example, [row])
    assert path.read_text() == "name,kind,count,share,flag\n,,,,false\n"
    assert read_rows(path, Example, "Again.") == [row]


@pytest.mark.parametrize(
    ("column", "cell"),
    [("kind", "Doe^Jane"), ("count", "Doe^Jane"), ("share", "Doe^Jane"), ("share", "nan"), ("flag", "Doe^Jane")],
)
def test_a_wrong_cell_is_named_by_line_and_column(tmp_path: Path, column: str, cell: str) -> None:
    row = {"name": "x", "kind": "a", "count": 1, "share": 0.5, "flag": "true", column: cell}
    path = write_csv(tmp_path / "t.csv", Example.columns(), [example().model_dump(), row])
    with pytest.raises(ClaireError, match=rf"line 3 of t\.csv is not valid: {column}") as caught:
        read_rows(path, Example, "Again.")
    assert caught.value.remedy == "Again."
    assert "Jane" not in str(caught.value)


def test_unknown_columns_are_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", (*Example.columns(), "PatientName"), [example().model_dump()])
    with pytest.raises(ClaireError, match=r"t\.csv has unknown columns: PatientName"):
        read_rows(path, Example, "Again.")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_one_of_its_columns_is_refused(tmp_path: Path, name: str) -> None:
    write, read, row = TABLES[name]
    write(tmp_path / name, [row("x")])
    header, line = (tmp_path / name).read_text().splitlines()
    for place, column in enumerate(header.split(",")):
        shorter = [",".join(part for i, part in enumerate(text.split(",")) if i != place) for text in (header, line)]
        (tmp_path / name).write_text("\n".join(shorter) + "\n")
        with pytest.raises(UsageError, match=f"{name} has no column {column}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has no column a; it has: none"),
        ("b\n1\n", "has no column a; it has: b"),
        ("a;b\nDoe;Jane\n", "is separated by semicolons or tabs"),
        ("a\tb\nDoe\tJane\n", "is separated by semicolons or tabs"),
        ("a,b,a\n1,2,3\n", "has two columns named 'a'"),
        ("a,b\n1,Doe,Jane\n", "line 2 of the labels t.csv has 3 cells, the header 2"),
        ('a,b\n1,"Doe\nJane"\n', "line 3 of the labels t.csv ends a cell that holds a line break"),
        ('a,b\n1,2\n1,"Doe', "is not a CSV table"),
        ("a,b\n1,Doe\0Jane\n", "t.csv"),
    ],
)
def test_a_faulty_table_is_named_without_its_cells(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_csv(tmp_path / "t.csv", ["a"], "labels")
    assert fault in caught.value.problem
    assert caught.value.remedy
    assert "Doe" not in str(caught.value)


def test_a_table_that_excel_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf a ,b\r\n 1 ,\r\n\r\n3\r\n")
    assert read_csv(tmp_path / "t.csv", ["a"]) == [{"a": "1", "b": ""}, {"a": "3", "b": ""}]


@SAME_FOLDER
@given(st.binary(max_size=80))
def test_random_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with suppress(UsageError):
        assert all(isinstance(row, dict) for row in read_csv(tmp_path / "t.csv"))
