"""One model a step: flags, help, validation and record follow from its fields."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from claire.core.command.cli import parse
from claire.core.command.parameters import (
    InputDirectory,
    InputFile,
    Integers,
    Manifest,
    SitePath,
    StepParameters,
    describe,
    parameter,
    refused_values,
)
from pydantic import ValidationError


class Parameters(StepParameters):
    """Every kind of parameter."""

    source: InputDirectory = parameter(help="where the data lie")
    table: InputFile | None = parameter(None, help="a table")
    runs: Manifest = parameter((), help="runs")
    store: SitePath | None = parameter(None, help="store")
    count: int = parameter(4, help="a count", ge=1)
    share: float = parameter(0.5, help="100 % of it", ge=0, le=1, unit="ml")
    method: Literal["fast", "exact"] = parameter("fast", help="how")
    folds: Integers | None = parameter(None, help="folds")
    list: bool = parameter(False, help="print", for_people=True)


def parsed(tmp_path: Path, *argv: str) -> Parameters:
    return parse("test", "A step.", Parameters, ["--source", str(tmp_path), *argv])


def test_defaults_and_given_values(tmp_path: Path) -> None:
    given = parsed(tmp_path, "--count", "7", "--share", "0.25", "--folds", "0,2", "--list", "--threads", "2")
    assert (given.count, given.share, given.folds, given.list, given.threads) == (7, 0.25, (0, 2), True, 2)
    assert parsed(tmp_path).folds is None
    assert parsed(tmp_path, "--folds", "none").folds == ()


def test_the_same_model_is_called_from_python(tmp_path: Path) -> None:
    assert Parameters(source=tmp_path, runs=[__file__]).runs == (Path(__file__),)
    with pytest.raises(ValidationError, match="count"):
        Parameters(source=tmp_path, count=0)


def test_a_manifest_names_files_that_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing = tmp_path / "runs.txt"
    listing.write_text(f"{listing}\n")
    assert parsed(tmp_path, "--runs", str(listing)).runs == (listing,)
    listing.write_text(f"{listing}\n{tmp_path / 'gone.zip'}\n")
    with pytest.raises(SystemExit):
        parsed(tmp_path, "--runs", str(listing))
    assert "names no file: 'gone.zip'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--count", "0"], "argument --count: expected an integer of at least 1, got '0'"),
        (["--count", "two"], "argument --count: expected an integer of at least 1, got 'two'"),
        (["--share", "nan"], "argument --share: expected a number of at least 0 and at most 1, got 'nan'"),
        (["--table", "gone.csv"], "argument --table: there is no file 'gone.csv'"),
        (["--method", "slow"], "--method"),
        (["--folds", "0,x"], "argument --folds: expected integers separated by commas"),
    ],
)
def test_a_wrong_value_names_the_flag_and_what_it_expects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(tmp_path, *argv)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_record_holds_what_shaped_the_result_and_no_path(tmp_path: Path) -> None:
    recorded = parsed(tmp_path, "--table", __file__, "--store", "/s", "--list", "--threads", "2").recorded()
    assert recorded == {"count": 4, "share": 0.5, "method": "fast", "folds": None}


def test_help_shows_units_defaults_and_no_default_of_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(tmp_path, "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert "100 % of it (ml; default: 0.5)" in text
    assert "where the data lie (required)" in text
    assert "None" not in text


def test_the_description_has_own_parameters_first() -> None:
    names = [described.name for described in describe(Parameters)]
    assert names[-3:] == ["out", "threads", "log_level"]
    assert {described.name: described.kind for described in describe(Parameters)}["table"] == "file"


class Listing(StepParameters):
    """A step that can print a file instead of doing its work."""

    table: InputFile | None = parameter(None, unless="list", help="a table")
    runs: Manifest = parameter((), unless="list", help="runs")
    list: InputFile | None = parameter(None, help="print a file", for_people=True)


def test_what_is_required_unless_another_flag_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("test", "A step.", Listing, ["--list", __file__]).list == Path(__file__)
    with pytest.raises(SystemExit):
        parse("test", "A step.", Listing, ["--table", __file__])
    assert "test: error: the following arguments are required: --runs\n" in capsys.readouterr().err
    with pytest.raises(ValidationError, match="--table, --runs"):
        Listing()
    described = {each.name: each.required for each in describe(Listing)}
    assert (described["table"], described["runs"], described["list"]) == (True, True, False)
    assert refused_values(Listing, {"runs": "gone.txt"}) == {"runs": "there is no file 'gone.txt'"}
