"""`folds.csv`: roles in every fold, fixed splits, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.folds import (
    FIXED_SPLITS,
    FoldRow,
    Folds,
    read_fold_rows,
    read_folds,
    require_count,
    write_folds,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import DAMAGES

SAME_FOLDER = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: A patient's fixed split, or its fold.
places = st.one_of(st.sampled_from(FIXED_SPLITS), st.integers(0, 4))


def rows_of(drawn: list[str | int]) -> list[FoldRow]:
    return [
        FoldRow(patient=f"P{i}", label="x", split=place, fold=None)
        if isinstance(place, str)
        else FoldRow(patient=f"P{i}", label="x", split="", fold=place)
        for i, place in enumerate(drawn)
    ]


@SAME_FOLDER
@given(st.lists(places, max_size=20))
def test_folds_are_read_as_they_were_written(tmp_path: Path, drawn: list[str | int]) -> None:
    path = write_folds(tmp_path / "folds.csv", rows_of(drawn))
    assert read_fold_rows(path) == rows_of(drawn)
    folds = read_folds(path)
    assert {**folds.fold, **folds.fixed} == {f"P{i}": place for i, place in enumerate(drawn)}
    assert all(folds.split_of(f"P{i}") == (place if isinstance(place, str) else "") for i, place in enumerate(drawn))


@given(st.lists(places, min_size=1, max_size=30), st.integers(3, 5))
def test_every_patient_has_one_role_in_every_fold(drawn: list[str | int], count: int) -> None:
    fold = {f"P{i}": place % count for i, place in enumerate(drawn) if isinstance(place, int)}
    fixed = {f"P{i}": place for i, place in enumerate(drawn) if isinstance(place, str)}
    folds = Folds(count, fold, fixed)
    for k in range(count):
        roles = folds.roles(k)
        assert Counter(patient for members in roles.values() for patient in members) == Counter([*fold, *fixed])
        assert all(patient in roles[split] for patient, split in fixed.items())
        assert roles["test"] - fixed.keys() == {patient for patient, place in fold.items() if place == k}
        assert not roles["external"] & fold.keys()


def test_the_next_fold_validates_and_the_last_wraps_around() -> None:
    folds = Folds(3, {"a": 0, "b": 1, "c": 2}, {})
    assert [folds.roles(k)["validation"] for k in range(3)] == [{"b"}, {"c"}, {"a"}]
    assert [folds.roles(k)["train"] for k in range(3)] == [{"c"}, {"a"}, {"b"}]


@pytest.mark.parametrize(
    ("row", "error", "fault"),
    [
        ("P1,x,,-1", UsageError, "patient P1 of folds.csv has neither fold nor split"),
        ("P1,x,,1.5", ClaireError, "line 2 of folds.csv is not valid: fold"),
        ("P1,x,tset,", ClaireError, "line 2 of folds.csv is not valid: split"),
        ("P1,x,test,\nP1,x,,0", UsageError, "patient P1 is a duplicate"),
        ("P1,x,,0\nP1,x,test,", UsageError, "patient P1 is a duplicate"),
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, row: str, error: type[ClaireError], fault: str) -> None:
    (tmp_path / "folds.csv").write_text(f"patient,label,split,fold\n{row}\n")
    with pytest.raises(error) as caught:
        read_folds(tmp_path / "folds.csv")
    assert fault in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_table_is_refused(tmp_path: Path, how: str) -> None:
    path = write_folds(tmp_path / "folds.csv", rows_of([0, 1, 2, "test"]))
    # What is left of the first half must not end at a line, or it would be a table.
    path.write_bytes(DAMAGES[how](path.read_bytes()[:-3]))
    with pytest.raises(ClaireError, match=r"folds\.csv"):
        read_folds(path)


@pytest.mark.parametrize(("count", "refused"), [(1, False), (2, True), (3, False), (10, False)])
def test_two_folds_leave_nothing_to_train_on(count: int, refused: bool) -> None:
    if not refused:
        require_count(count)
        return
    with pytest.raises(UsageError, match="leaves nothing to train on") as caught:
        require_count(count)
    assert "at least 3, or 1" in caught.value.remedy
