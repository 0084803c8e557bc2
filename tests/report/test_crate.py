"""Provenance as RO-Crate metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest
from claire.core.command.record import StepRecord
from claire.report.crate import PROFILE, crate, file_uri

from tests.support.report_inputs import SOURCE

A, B, C = "a" * 64, "b" * 64, "c" * 64


def a_record(step: str, stem: str = "", **more: Any) -> StepRecord:
    """The record of an execution of `step`."""
    state: dict[str, Any] = {"parameters": {"seed": 0}, "inputs": {}, "outputs": {}, "counts": {}, "facts": {}}
    state |= {"started": "2026-01-02T03:04:05Z", "seconds": 70.4} | more
    return StepRecord(step=step, stem=stem, version="0.1.0", source=SOURCE, **state)


@pytest.fixture
def chain() -> list[StepRecord]:
    """Ingest makes shards, train reads one of them."""
    made = a_record("ingest", "0000", outputs={"0000.scans.zip": A})
    return [a_record("train", "v1-f0", inputs={"cohort": A}, outputs={"v1-f0.run.zip": B}), made]


def entities(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The graph by id; no id stands twice."""
    found = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(found) == len(document["@graph"])
    return found


def links(value: Any) -> list[str]:
    """All ids that an entity refers to."""
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else [link for part in value.values() for link in links(part)]
    return [link for part in value for link in links(part)] if isinstance(value, list) else []


def test_the_root_names_profile_and_executions(chain: list[StepRecord]) -> None:
    found = entities(crate(chain, {}, "A run"))
    assert found["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    assert found["./"]["conformsTo"] == {"@id": PROFILE}
    assert links(found["./"]["mentions"]) == ["#0000.ingest", "#v1-f0.train"]


def test_every_reference_is_described(chain: list[StepRecord]) -> None:
    found = entities(crate(chain, {"report.html": C}, "A run"))
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert {link for entity in found.values() for link in links(list(entity.values()))} - outside <= set(found)


def test_what_one_step_made_and_another_read_is_one_file(chain: list[StepRecord]) -> None:
    found = entities(crate(chain, {}, "A run"))
    assert file_uri(A) in links(found["#v1-f0.train"]["object"])
    assert found["#0000.ingest"]["result"] == {"@id": file_uri(A)}
    assert found[file_uri(A)]["name"] == "0000.scans.zip"
    assert found[file_uri(A)]["sha256"] == A


def test_files_beside_the_crate_go_by_their_name(chain: list[StepRecord]) -> None:
    found = entities(crate(chain, {"v1-f0.run.zip": B, "a name.csv": C}, "A run"))
    assert found["#v1-f0.train"]["result"] == {"@id": "v1-f0.run.zip"}
    assert found["a%20name.csv"]["encodingFormat"] == "text/csv"
    assert {"v1-f0.run.zip", "a%20name.csv"} <= set(links(found["./"]["hasPart"]))


def test_the_tool_carries_version_and_source(chain: list[StepRecord]) -> None:
    found = entities(crate(chain, {}, "A run"))
    tool = found[found["#v1-f0.train"]["instrument"]["@id"]]
    assert (tool["name"], tool["softwareVersion"], tool["sha256"]) == ("claire train", "0.1.0", SOURCE)


def test_times_end_after_the_seconds_of_the_record(chain: list[StepRecord]) -> None:
    assert chain[0].ended == "2026-01-02T03:05:15Z"
    assert entities(crate(chain, {}, "A run"))["#v1-f0.train"]["endTime"] == "2026-01-02T03:05:15+00:00"


def test_an_execution_that_still_runs_has_no_times() -> None:
    running = a_record("report", started=None, outputs={"report.html": A})
    action = entities(crate([running], {"report.html": A}, "A run"))["#report"]
    assert "endTime" not in action
    assert action["result"] == {"@id": "report.html"}


def test_no_agent_and_no_clock(chain: list[StepRecord]) -> None:
    document = json.dumps(crate(chain, {}, "A run"))
    assert "agent" not in document
    assert document == json.dumps(crate(chain[::-1], {}, "A run"))


def test_equal_parameters_are_one_entity(chain: list[StepRecord]) -> None:
    again = a_record("train", "v1-f1", outputs={"v1-f1.run.zip": C})
    found = entities(crate([*chain, again], {}, "A run"))
    values = [entity for entity in found.values() if entity["@type"] == "PropertyValue" and "train" in entity["@id"]]
    assert [(value["name"], value["value"]) for value in values] == [("seed", "0")]


def test_a_hash_of_another_kind_is_still_a_valid_name() -> None:
    odd = a_record("train", inputs={"cohort": "not a hash"})
    link = entities(crate([odd], {}, "A run"))["#train"]["object"][0]["@id"]
    assert link.startswith("ni:///sha-256;")


def test_an_empty_run_is_a_valid_crate() -> None:
    found = entities(crate([], {}, "Nothing"))
    assert found["./"]["datePublished"] == "1980-01-01"
