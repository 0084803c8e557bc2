"""The labels table whatever people put into it: read as meant, or refused by line and column without naming anybody."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from claire.core.command.errors import RejectedScan, UsageError
from claire.core.command.tables import write_csv
from claire.core.contracts.labels import (
    COLUMNS,
    KEYS,
    Label,
    Names,
    age_band,
    age_years,
    parse_date,
    read_labels,
    read_slice_labels,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SAME_FOLDER = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = Names("4711", "1.2", "1.2.3", ("ward/7/a.dcm", "ward/7/b.dcm"))
cells = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)


def table(folder: Path, *rows: dict[str, object], columns: tuple[str, ...] = ()) -> Path:
    return write_csv(folder / "labels.csv", columns or tuple(rows[0]), rows)


@SAME_FOLDER
@given(
    st.lists(st.dictionaries(st.sampled_from((*COLUMNS, *KEYS, "name")), cells, max_size=4), max_size=4),
    st.sets(st.sampled_from((*COLUMNS, *KEYS, "name")), min_size=1, max_size=5),
)
def test_any_table_is_read_or_refused_without_its_cells(
    tmp_path: Path, rows: list[dict[str, str]], columns: set[str]
) -> None:
    path = table(tmp_path, *rows, columns=tuple(sorted(columns.union(*rows))))
    try:
        found = read_labels(path)
    except UsageError as error:
        quoted = [cell for row in rows for cell in row.values() if len(cell) > 3 and cell in error.problem]
        own_words = " ".join(("table of labels labels.csv", *COLUMNS, *KEYS))
        assert [cell for cell in quoted if cell not in own_words] == []
    else:
        assert found.rows
        assert all(isinstance(label, Label) for label in found.rows.values())


@SAME_FOLDER
@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.csv").write_bytes(b"patient_id,label\n" + content)
    for read in (read_labels, read_slice_labels):
        with suppress(UsageError):
            assert read(tmp_path / "labels.csv").rows is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patient_id", "4711"), ("study_uid", "1.2"), ("series_uid", "1.2.3"), ("path", "ward"), ("path", "ward/7/"),
        ("path", "./ward/7"), ("path", "ward/7/b.dcm"),
    ],
)  # fmt: skip
def test_a_series_is_found_by_any_key(tmp_path: Path, key: str, value: str) -> None:
    label = read_labels(table(tmp_path, {key: value, "label": "covid"})).find(NAMES)
    assert label == Label("covid")


def test_the_most_specific_path_counts(tmp_path: Path) -> None:
    rows = [{"path": path, "label": path} for path in ("ward", "ward/7", "ward/8", "ward/7/b.dcm")]
    assert read_labels(table(tmp_path, *rows)).find(NAMES) == Label("ward/7/b.dcm")
    assert read_labels(table(tmp_path, *rows[:3])).find(NAMES) == Label("ward/7")


def test_a_row_without_label_is_no_label(tmp_path: Path) -> None:
    found = read_labels(table(tmp_path, {"patient_id": "4711", "label": ""}, {"patient_id": "1", "label": "x"}))
    assert found.find(NAMES) is None


def test_every_column_is_read(tmp_path: Path) -> None:
    row = {
        "patient_id": "4711", "label": "covid", "patient": "one", "reference_standard": "RT-PCR",
        "label_date": "20200317", "split": "external", "site": "north", "sex": "Female", "age": "63.5",
    }  # fmt: skip
    assert read_labels(table(tmp_path, row)).find(NAMES) == Label(
        "covid", "one", "RT-PCR", date(2020, 3, 17), "external", "north", "F", 63.5
    )


def test_equal_rows_are_one(tmp_path: Path) -> None:
    row = {"patient_id": "4711", "label": "covid"}
    assert len(read_labels(table(tmp_path, row, row)).rows) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("patient_id\np1\n", "no column label"),
        ("patient_id,study_uid,label\np1,1,x\n", "2 key columns"),
        ("label\nx\n", "0 key columns"),
        ("patient_id,label,lable\np1,x,y\n", "unknown columns: lable"),
        ("patient_id,label\np1,x\np1,y\n", "line 3 .*contradicts"),
        ("patient_id,label\n,x\n", "no patient_id"),
        ("patient_id,label,split\np1,x,tset\n", "split is not understood"),
        ("patient_id,label,label_date\np1,x,31.1.2020\n", "label_date"),
        ("patient_id,label,age\np1,x,old\n", "age"),
        ("patient_id,label,sex\np1,x,?\n", "sex"),
        ("patient_id,label\n", "no rows"),
        ("patient_id,label,label\np1,x,y\n", "two columns named 'label'"),
        ('patient_id,label\np0,"x\np1,y\n', "no(t a)? CSV table"),
        ('patient_id,label\np0,"x\np1,y"\np2,z\n', "line 3 .*line break"),
        ("patient_id,label\np1,x,y\n", "line 2 .*3 cells, the header 2"),
        ("patient_id,label\np1,x\0\n", "line 2 .*NUL"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_without_naming_a_patient(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=told) as caught:
        read_labels(tmp_path / "labels.csv")
    assert "p1" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-03-17", date(2020, 3, 17)), ("20200317", date(2020, 3, 17)), ("2020.03.17", date(2020, 3, 17)),
        ("2020-13-01", None), ("17.3.2020", None), ("", None), ("2020-03-17T10:00", None),
    ],
)  # fmt: skip
def test_dates(text: str, expected: date | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    ("age", "born", "studied", "years"),
    [
        ("063Y", "", "", 63), ("018M", "", "", 1.5), ("052W", "", "", 52 / 52.18), ("100D", "", "", 100 / 365.25),
        ("", "19570101", "20200101", 63), ("odd", "19570101", "20200101", 63), ("", "20210101", "20200101", None),
        ("", "", "20200101", None), ("", "18000101", "20200101", None),
    ],
)  # fmt: skip
def test_ages(age: str, born: str, studied: str, years: float | None) -> None:
    found = age_years(age, born, studied)
    assert found == (None if years is None else pytest.approx(years, abs=0.01))


@given(st.floats(0, 130))
def test_a_band_holds_its_age_and_hides_the_old(years: float) -> None:
    band = age_band(years)
    if years >= 90:
        assert band == "90+"
    else:
        low, high = map(int, band.split("-"))
        assert low <= years < high + 1 == low + 10
    assert age_band(None) == ""


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"patient_id": "1", "label": "x"}], "needs one column of slice and sop_uid"),
        ([{"patient_id": "1", "slice": 1, "sop_uid": "1.2", "label": "x"}], "needs one column of slice and sop_uid"),
        ([{"patient_id": "1", "slice": "Doe^Jane", "label": "x"}], "line 2 .* slice is not an integer from 0"),
        ([{"patient_id": "1", "slice": -1, "label": "x"}], "line 2 .* slice is not an integer from 0"),
        ([{"patient_id": "1", "slice": 1, "label": each} for each in "xy"], "line 3 .* contradicts an earlier line"),
        ([{"slice": 1, "label": "x"}], r"has 0 key columns \(none\)"),
        ([{"patient_id": "1", "slice": 1, "label": "x", "split": "test"}], "unknown columns: split"),
    ],
)
def test_a_faulty_table_of_slices_is_refused(tmp_path: Path, rows: list[dict[str, object]], fault: str) -> None:
    with pytest.raises(UsageError, match=fault) as caught:
        read_slice_labels(table(tmp_path, *rows))
    assert caught.value.remedy
    assert "Jane" not in str(caught.value)


def test_slices_are_labelled_by_position_or_uid(tmp_path: Path) -> None:
    by_place = [
        {"patient_id": "4711", "slice": place, "label": label} for place, label in ((2, "x"), (0, "y"), (1, ""))
    ]
    assert read_slice_labels(table(tmp_path, *by_place)).find(NAMES, (), 3) == ["y", None, "x"]
    by_uid = [{"series_uid": "1.2.3", "sop_uid": "u2", "label": "x"}]
    assert read_slice_labels(table(tmp_path, *by_uid)).find(NAMES, ("u1", "u2"), 2) == [None, "x"]
    assert read_slice_labels(table(tmp_path, *by_uid)).find(Names("", "", "9", ()), ("u1",), 1) is None


@pytest.mark.parametrize("column", [{"slice": 3}, {"sop_uid": "u9"}])
def test_a_label_of_a_slice_that_is_not_there_sets_the_scan_aside(tmp_path: Path, column: dict[str, object]) -> None:
    rows = [{"patient_id": "4711", **column, "label": "x"}]
    with pytest.raises(RejectedScan) as caught:
        read_slice_labels(table(tmp_path, *rows)).find(NAMES, ("u1", "u2", "u3"), 3)
    assert caught.value.reason == "inconsistent"
