"""`NNNN.shard.jsonl`: series are read as they were written; a cut or changed list is refused without naming anybody."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.shard_list import ListedSeries, read_shard_list, write_shard_list
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import DAMAGES, damaged
from tests.support.documents import listed_series

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
SAME_FOLDER = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, count: int = 3) -> Path:
    return write_shard_list(folder / "0007.shard.jsonl", [listed_series(line) for line in range(count)])


def refused(path: Path) -> str:
    with pytest.raises(ClaireError, match=r"0007\.shard\.jsonl") as caught:
        read_shard_list(path)
    assert caught.value.remedy == "Run `claire index` again."
    return caught.value.problem


@SAME_FOLDER
@given(st.lists(st.tuples(names, st.booleans(), st.sampled_from(["dicom", "nifti"])), max_size=5))
def test_series_are_read_as_they_were_written(tmp_path: Path, drawn: list[tuple[str, bool, str]]) -> None:
    series = [
        listed_series(line, files=(f"{name}/{name}",), chosen=chosen, kind=kind)
        for line, (name, chosen, kind) in enumerate(drawn)
    ]
    assert read_shard_list(write_shard_list(tmp_path / "0007.shard.jsonl", series)) == series


def test_a_file_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    series = [listed_series(files=("R\udcf6ntgen/1.dcm",))]
    assert read_shard_list(write_shard_list(tmp_path / "0007.shard.jsonl", series)) == series


def test_an_empty_shard_is_a_list_of_no_series(tmp_path: Path) -> None:
    path = write(tmp_path, 0)
    assert path.read_text() == '{"lines": 0}\n'
    assert read_shard_list(path) == []


@pytest.mark.parametrize("dropped", [0, 1, 2, 3])
def test_a_lost_line_is_noticed(tmp_path: Path, dropped: int) -> None:
    path = write(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:dropped] + lines[dropped + 1 :]))
    assert "is incomplete" in refused(path)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_list_is_refused(tmp_path: Path, how: str) -> None:
    path = write(tmp_path)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    assert "is incomplete" in refused(path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "not a kind"}, "line 1 of shard 0007.shard.jsonl is not valid: kind"),
        ({"PatientID": "Doe^Jane"}, "line 1 of shard 0007.shard.jsonl is not valid: PatientID"),
        ({"files": "Doe^Jane.dcm"}, "line 1 of shard 0007.shard.jsonl is not valid: files"),
        ({"schema_version": 2}, "line 1 of shard 0007.shard.jsonl is not valid: schema_version"),
        ({"files": ["../Doe^Jane.dcm"]}, "line 1 of shard 0007.shard.jsonl names a file outside the source"),
        ({"files": ["a.dcm", "/Doe^Jane.dcm"]}, "line 1 of shard 0007.shard.jsonl names a file outside the source"),
    ],
)
def test_a_wrong_line_is_named_without_what_it_holds(tmp_path: Path, change: dict[str, object], fault: str) -> None:
    path = write(tmp_path)
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    path.write_text("\n".join(lines) + "\n")
    problem = refused(path)
    assert problem.startswith(fault)
    assert "Jane" not in problem


def test_a_scan_is_named_after_its_series_or_its_first_file() -> None:
    assert listed_series(series_uid="1.2").name == "1.2"
    assert listed_series(series_uid="1.2", part=3).name == "1.2#3"
    assert listed_series(series_uid="", files=("b", "a")).name == "file a"
    assert listed_series(series_uid="", files=("b", "a"), part=1).name == "file a#1"


@SAME_FOLDER
@given(st.data())
def test_damage_never_ends_in_an_unforeseen_error(tmp_path: Path, data: st.DataObject) -> None:
    path = write(tmp_path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with suppress(ClaireError):
        assert all(isinstance(each, ListedSeries) for each in read_shard_list(path))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"line": 1,', '"line": 1', 1))
    assert refused(path) == "line 1 of shard 0007.shard.jsonl is not JSON"
