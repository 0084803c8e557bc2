"""Rejects: every reason that the code gives is known, tables join in order, counts leave out what was never a loss."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, RejectedScan
from claire.core.contracts.rejects import REASONS, Reject, count_reasons, read_rejects, reject, write_rejects
from pydantic import ValidationError

SOURCE = Path(__file__).parents[3] / "steps/claire"
#: A reason where it is given: raised, noted by the cohort, or returned by the check of a header.
GIVEN = re.compile(r"(?:RejectedScan|\.rejected)\(\s*\"(\w+)\"|return \"(\w+)\", (?:f?\"|reason)")


def row(reason: str = "not_hu", **changes: object) -> Reject:
    values = {"step": "ingest", "shard": "0000", "line": 3, "scan": "S1", "reason": reason, "detail": "no peak"}
    return Reject.model_validate(values | changes)


def reasons_in_code() -> set[str]:
    texts = [path.read_text() for path in SOURCE.rglob("*.py") if path.name != "rejects.py"]
    return {next(filter(None, groups)) for text in texts for groups in GIVEN.findall(text)}


def test_every_reason_that_the_code_gives_is_known_and_every_known_one_is_given() -> None:
    assert reasons_in_code() == set(REASONS)


def test_every_reason_has_a_meaning_for_people_and_a_place_in_the_documents() -> None:
    text = (SOURCE.parents[1] / "docs/outputs.md").read_text()
    assert [name for name, reason in REASONS.items() if not reason.meaning or f"`{name}`" not in text] == []


def test_an_unknown_reason_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"reason\s.*is not a known reason"):
        row("bad_luck")


def test_a_scan_that_was_set_aside_keeps_its_line_reason_and_detail(tmp_path: Path) -> None:
    made = reject("segment", "0002", 7, "S1", RejectedScan("no_lungs", "no air in the body"))
    assert read_rejects([write_rejects(tmp_path / "r.csv", [made])]) == [made]
    assert (made.shard, made.line, made.reason, made.detail) == ("0002", 7, "no_lungs", "no air in the body")


def test_tables_are_joined_by_shard_line_and_step(tmp_path: Path) -> None:
    first = [row(shard="0001", line=10), row(shard="0000", line=2, step="segment")]
    second = [row(shard="0000", line=2, step="ingest"), row(shard="0000", line=None), row(shard="0001", line=9)]
    paths = [write_rejects(tmp_path / f"{i}.csv", rows) for i, rows in enumerate((first, second))]
    order = [("0000", None), ("0000", 2), ("0000", 2), ("0001", 9), ("0001", 10)]
    joined = read_rejects(paths)
    assert [(each.shard, each.line) for each in joined] == order
    assert [each.step for each in joined[1:3]] == ["ingest", "segment"]
    assert read_rejects(paths[::-1]) == joined


def test_no_table_has_no_rejects(tmp_path: Path) -> None:
    assert read_rejects([]) == []
    assert read_rejects([write_rejects(tmp_path / "r.csv", [])]) == []


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [("not_hu", "Doe^Jane", "reason"), (",3,", ",three,", "line"), (",3,", ",3.5,", "line")],
)
def test_a_changed_table_is_refused_by_line_and_column(tmp_path: Path, old: str, new: str, column: str) -> None:
    path = write_rejects(tmp_path / "0000.ingest.rejects.csv", [row(), row()])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ClaireError, match=rf"line 2 of 0000\.ingest\.rejects\.csv is not valid: {column}") as caught:
        read_rejects([path])
    assert "Jane" not in caught.value.problem


def test_reasons_are_counted_most_first_then_by_name() -> None:
    rows = [row(name) for name in ("not_hu", "gantry_tilt", "not_chosen", "not_chosen", "gantry_tilt", "burned_in")]
    assert [*count_reasons(rows).items()] == [("gantry_tilt", 2), ("not_chosen", 2), ("burned_in", 1), ("not_hu", 1)]
    assert [*count_reasons(rows, lost=True)] == ["gantry_tilt", "burned_in", "not_hu"]


@pytest.mark.parametrize("reason", ["not_chosen", "no_label", "not_ct", "localiser", "duplicate"])
def test_what_was_never_a_candidate_is_no_loss(reason: str) -> None:
    assert not REASONS[reason].lost


@pytest.mark.parametrize("reason", ["burned_in", "unreadable", "gantry_tilt", "missing_slices", "ambiguous_patient"])
def test_a_scan_that_could_have_entered_is_a_loss(reason: str) -> None:
    assert REASONS[reason].lost
