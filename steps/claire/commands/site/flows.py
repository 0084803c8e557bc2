"""The files that go from step to step of a workflow, read from its CWL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from claire.core.command.yaml_files import read_yaml_mapping


@dataclass(frozen=True)
class Origin:
    """Where files come from: a step, "" for the job. `files`: their names, as patterns; of the job's the input's."""

    step: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """Files that a step (`consumer`, "" for the results) takes from another one, or from the job."""

    origin: Origin
    consumer: str


@dataclass
class Workflow:
    """The steps of a workflow by their path (`/experiment/train`), those of its parts included, and its flows."""

    steps: list[str] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    outputs: dict[str, tuple[str, ...]] = field(default_factory=dict)


_Origins = frozenset[Origin]


@cache
def read_workflow(path: Path) -> Workflow:
    """Read the steps and flows of a CWL workflow, once."""
    workflow = Workflow()
    inputs = read_cwl(path)["inputs"].items()
    given = {name: frozenset([Origin("", (name,))]) for name, port in inputs if _holds_files(port["type"])}
    results = _read_part(workflow, path, "", given)
    workflow.flows += [Flow(origin, "") for origins in results.values() for origin in sorted(origins, key=str)]
    return workflow


@cache
def read_cwl(path: Path) -> dict[str, Any]:
    """Return a CWL document, which nobody changes."""
    return read_yaml_mapping(path, "Install the pipeline again.")


def _read_part(workflow: Workflow, path: Path, prefix: str, given: Mapping[str, _Origins]) -> dict[str, _Origins]:
    """Add a workflow that stands at `prefix` with the origins of its inputs; return those of its outputs."""
    document = read_cwl(path)
    produced: dict[str, dict[str, _Origins]] = {}

    def origins(names: Iterable[str]) -> _Origins:
        return frozenset().union(*map(origin, names))

    def origin(name: str) -> _Origins:
        step, _, port = name.partition("/")
        if not port:
            return given.get(name, frozenset())
        if step not in produced:
            described = document["steps"][step]
            inputs = {each: origins(_sources(value)) for each, value in described["in"].items()}
            produced[step] = _read_step(workflow, path.parent / described["run"], f"{prefix}/{step}", inputs)
        return produced[step].get(port, frozenset())

    for step in document["steps"]:
        origin(f"{step}/record")  # any output: the step is read
    return {name: origins(_names(port["outputSource"])) for name, port in document["outputs"].items()}


def _read_step(workflow: Workflow, path: Path, name: str, inputs: Mapping[str, _Origins]) -> dict[str, _Origins]:
    tool = read_cwl(path)
    if tool["class"] == "Workflow":
        return _read_part(workflow, path, name, inputs)
    workflow.steps.append(name)
    taken = frozenset[Origin]().union(*inputs.values())
    workflow.flows += [Flow(origin, name) for origin in sorted(taken, key=str)]
    passed = tuple(sorted({file for origin in taken for file in origin.files}))
    made = {
        port: passed if tool["class"] == "ExpressionTool" else file_patterns(output["outputBinding"]["glob"])
        for port, output in tool["outputs"].items()
        if _holds_files(output["type"])
    }
    workflow.outputs[name] = tuple(sorted({file for files in made.values() for file in files}))
    return {port: frozenset([Origin(name, files)]) for port, files in made.items()}


def file_patterns(glob: str | list[str]) -> tuple[str, ...]:
    """Return the names that a `glob` of CWL asks for; of an expression the texts that are quoted in it."""
    if isinstance(glob, list):
        return tuple(glob)
    return tuple(re.findall(r"'([^']+)'", glob)) if glob.startswith("$") else (glob,)


def _holds_files(kind: object) -> bool:
    return "File" in str(kind) or "Directory" in str(kind)


def _sources(value: object) -> list[str]:
    return _names(value.get("source", [])) if isinstance(value, dict) else _names(value)


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
