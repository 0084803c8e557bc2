"""Every JSON document that crosses between steps: read as it was written, strict, and damage named."""

from __future__ import annotations

import importlib
import json
import pkgutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from claire.core import contracts
from claire.core.command.documents import Document, finite, parse_document, read_document, write_document
from claire.core.command.errors import ClaireError
from claire.core.contracts.plan import Plan
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.damage import damaged
from tests.support.documents import NAMES, examples, plan

FILE, REMEDY = "0001.file.json", "Run it again."


def values_of(name: str) -> dict[str, Any]:
    """Return the example of a document as its file holds it."""
    values: dict[str, Any] = json.loads(examples()[name].to_json())
    return values


def parse(name: str, values: object) -> Document:
    content = values if isinstance(values, bytes) else json.dumps(values)
    return parse_document(content, type(examples()[name]), FILE, REMEDY)


def refused(name: str, values: object) -> str:
    """Return the problem of a document that must be refused with the file's name and the remedy."""
    with pytest.raises(ClaireError) as caught:
        parse(name, values)
    assert caught.value.remedy == REMEDY
    assert caught.value.problem.startswith(FILE)
    return caught.value.problem


def test_every_document_of_the_contracts_is_tested_here() -> None:
    for module in pkgutil.iter_modules(contracts.__path__):
        importlib.import_module(f"claire.core.contracts.{module.name}")
    assert sorted(kind.__name__ for kind in Document.__subclasses__() if "contracts" in kind.__module__) == [*NAMES]
    assert sorted(examples()) == [*NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_read_as_it_was_written(name: str) -> None:
    document = examples()[name]
    assert parse_document(document.to_json(), type(document), FILE, REMEDY).to_json() == document.to_json()
    packed = document.to_canonical_json()
    assert parse_document(packed, type(document), FILE, REMEDY).to_canonical_json() == packed
    assert "\n" not in packed


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_key_is_refused_and_named_without_its_value(name: str) -> None:
    problem = refused(name, values_of(name) | {"PatientName": "Doe^Jane"})
    assert "PatientName: Extra inputs are not permitted" in problem
    assert "Jane" not in problem


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_key_of_a_part_is_refused(name: str) -> None:
    values = values_of(name)
    parts = [key for key, value in values.items() if isinstance(value, dict) and not _is_map(name, key)]
    for key in parts:
        assert f"{key}.surplus" in refused(name, values | {key: values[key] | {"surplus": 1}}), key


def _is_map(name: str, key: str) -> bool:
    """Say whether a key holds a mapping whose keys are data."""
    return str(type(examples()[name]).model_fields[key].annotation).startswith("dict")


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
@pytest.mark.parametrize("name", NAMES)
def test_another_schema_version_is_refused(name: str, version: object) -> None:
    assert f"has schema version {version}: expected 1" in refused(name, values_of(name) | {"schema_version": version})


@pytest.mark.parametrize("name", NAMES)
def test_a_document_without_schema_version_is_refused(name: str) -> None:
    values = values_of(name)
    del values["schema_version"]
    assert "has schema version None" in refused(name, values)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_key_is_named(name: str) -> None:
    required = [key for key, field in type(examples()[name]).model_fields.items() if field.is_required()]
    assert required
    for key in required:
        values = values_of(name)
        del values[key]
        assert f"{key}: Field required" in refused(name, values)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_is_named_by_its_key_and_never_quoted(name: str) -> None:
    values = values_of(name)
    for key in values.keys() - {"schema_version"}:
        problem = refused(name, values | {key: {"odd": ["Doe^Jane"]}})
        assert key in problem
        assert "Jane" not in problem


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_changed_after_it_was_built(name: str) -> None:
    document = examples()[name]
    with pytest.raises(ValidationError, match="frozen"):
        setattr(document, next(iter(type(document).model_fields)), None)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_document_holds_finite_numbers_only(number: float) -> None:
    values = values_of("LesionsDocument")
    values["scans"][0]["lesions"][0]["delta"] = number
    assert "scans.0.lesions.0.delta: Input should be a finite number" in refused("LesionsDocument", values)
    assert finite(number) is None


def test_a_number_of_a_document_is_rounded_where_it_says_so() -> None:
    assert (finite(0.123456789), finite(0.123456789, 3), finite(2)) == (0.123456789, 0.123, 2.0)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not a JSON document"),
        (b"\x80\x81", "is not a JSON document"),
        (b'{"schema_version": 1', "is not a JSON document"),
        (b"[1]", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"[" * 200_000, "is not a JSON document"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, fault: str) -> None:
    assert fault in refused("Plan", content)


def test_several_faults_are_counted() -> None:
    assert "(and 1 more)" in refused("Plan", values_of("Plan") | {"a": 1, "b": 2})


@given(damaged(plan().to_json().encode()))
def test_a_damaged_document_is_refused_or_still_one(content: bytes) -> None:
    with suppress(ClaireError):
        assert isinstance(parse_document(content, Plan, FILE, REMEDY), Plan)


@given(st.binary(max_size=60))
def test_random_bytes_are_never_a_document(content: bytes) -> None:
    with pytest.raises(ClaireError, match=FILE):
        parse_document(content, Plan, FILE, REMEDY)


def test_a_document_is_written_in_one_piece_and_read_again(tmp_path: Path) -> None:
    path = write_document(tmp_path / "plan.json", plan())
    assert read_document(path, Plan, REMEDY) == plan()
    assert [each.name for each in tmp_path.iterdir()] == ["plan.json"]


def test_a_file_that_cannot_be_opened_is_named_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    for name, cause in (("folder.json", "Is a directory"), ("gone.json", "No such file")):
        with pytest.raises(ClaireError, match=f"{name} cannot be read: {cause}"):
            read_document(tmp_path / name, Plan, REMEDY)
