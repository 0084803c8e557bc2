"""Check a job file before anything is run.

Workflow engines ignore keys that they do not know, so that a slip runs with a default. This command names unknown keys
with near matches, missing inputs, values of another type, files that are not there and places that would vanish.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from claire.core.command.errors import UsageError
from claire.core.command.parameters import InputFile, StepParameters, parameter
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping

WORKFLOW = shipped("cwl/main.cwl")
#: Inputs that name a place where a step writes: an absolute path, or it lies in a job's folder and vanishes with it.
PLACES = ("private", "store")
_PYTHON = {"int": (int,), "float": (int, float), "boolean": (bool,), "string": (str,)}


class Parameters(StepParameters):
    """Parameters of `claire check`."""

    job: InputFile = parameter(help="the job file", positional=True)
    workflow: InputFile | None = parameter(
        None,
        help="the workflow that the job is for; without it cwl/main.cwl of this checkout",
        details="Only for a workflow of your own.",
    )


@dataclass(frozen=True)
class Port:
    """An input of the workflow or a field of a record: its types, whether it may be left out, its fields if any."""

    types: tuple[str, ...]
    optional: bool
    fields: Mapping[str, Port]
    symbols: tuple[str, ...] = ()


def run(parameters: Parameters) -> None:
    """Print that the job is well, or raise UsageError with everything that is wrong."""
    workflow = parameters.workflow or WORKFLOW
    if not workflow.is_file():
        raise UsageError("--workflow is missing: this installation has no checkout beside it", "Name cwl/main.cwl.")
    ports = read_ports(workflow)
    job = read_yaml_mapping(parameters.job, "Give a job file such as configs/smoke.yml.")
    problems = list(check_job(job, ports, parameters.job.parent))
    if problems:
        raise UsageError(
            f"{parameters.job.name} has {len(problems)} fault{'s' if len(problems) > 1 else ''}:\n  "
            + "\n  ".join(problems),
            "Correct the job file; docs/usage.md describes every input.",
        )
    print(f"{parameters.job.name}: all {len(job)} keys are inputs of {workflow.name}, and their files exist")


def read_ports(workflow: Path) -> dict[str, Port]:
    """Return the inputs of a CWL workflow by name; records and enums are read from the files that it imports."""
    document = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    return {name: _port(port["type"], "default" in port, workflow) for name, port in document["inputs"].items()}


def _port(kind: Any, has_default: bool, workflow: Path) -> Port:
    alternatives = kind if isinstance(kind, list) else [kind]
    optional = has_default or any(str(each) == "null" or str(each).endswith("?") for each in alternatives)
    types, fields, symbols = [], {}, ()
    for each in alternatives:
        schema = _schema(each, workflow)
        if schema.get("type") == "record":
            fields = {name: _port(field["type"], False, workflow) for name, field in schema["fields"].items()}
        symbols = symbols or tuple(schema.get("symbols", ()))
        types.append(str(schema.get("type", each)) if schema else str(each).removesuffix("?"))
    return Port(tuple(name for name in types if name != "null"), optional, fields, symbols)


def _schema(kind: Any, workflow: Path) -> dict[str, Any]:
    """Return the schema that `types/x.yml#name` names, a schema given in place, or {} for a plain type."""
    if isinstance(kind, dict):
        return kind
    name, mark, _ = str(kind).removesuffix("?").partition("#")
    return yaml.safe_load((workflow.parent / name).read_text(encoding="utf-8")) if mark else {}


def check_job(job: Mapping[str, Any], ports: Mapping[str, Port], folder: Path) -> Iterator[str]:
    """Yield what is wrong with a job, a sentence each; paths are relative to `folder`."""
    for name in job:
        if name not in ports:
            yield f"unknown key '{name}'{_near(str(name), ports)}"
    for name, port in ports.items():
        if name not in job and not port.optional:
            yield f"'{name}' is missing"
        elif job.get(name) is not None:
            yield from _check_value(name, job[name], port, folder)


def _near(name: str, ports: Mapping[str, Port]) -> str:
    """Return near matches: of the inputs, of the fields of the records, and names that the key is a part of."""
    known = {known: known for known in ports}
    known |= {field: f"{record}: {{{field}: …}}" for record, port in ports.items() for field in port.fields}
    near = get_close_matches(name, known, n=2, cutoff=0.6)
    near += [each for each in known if each not in near and name.rstrip("s") in each.split("_")]
    return f" (did you mean {' or '.join(known[each] for each in near[:3])}?)" if near else ""


def _check_value(name: str, value: Any, port: Port, folder: Path) -> Iterator[str]:
    if port.fields:
        yield from _check_record(name, value, port, folder)
    elif port.symbols and value not in port.symbols:
        yield f"'{name}' is {value!r}: expected one of {', '.join(port.symbols)}"
    elif isinstance(value, dict) and value.get("class") in ("File", "Directory"):
        yield from _check_file(name, value, port, folder)
    elif not port.symbols and not any(_fits(value, kind) for kind in port.types):
        yield f"'{name}' is {json.dumps(value, default=str)}: expected {' or '.join(port.types)}"
    elif name in PLACES and not str(value).startswith("/"):
        yield f"'{name}' is the relative path {value!r}: expected an absolute path where the step is executed"


def _check_record(name: str, value: Any, port: Port, folder: Path) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"'{name}' is not a mapping: expected keys out of {', '.join(port.fields)}"
        return
    for field, content in value.items():
        if field not in port.fields:
            yield f"unknown key '{name}.{field}'{_near(str(field), {**port.fields})}"
        elif content is not None:
            for problem in _check_value(field, content, port.fields[field], folder):
                yield f"{name}: {problem}"


def _fits(value: Any, kind: str) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, list) and all(_fits(each, kind.removesuffix("[]")) for each in value)
    if kind in ("File", "Directory"):
        return isinstance(value, dict) and value.get("class") == kind
    allowed = _PYTHON.get(kind, ())
    return isinstance(value, allowed) and (kind == "boolean" or not isinstance(value, bool))


def _check_file(name: str, value: Mapping[str, Any], port: Port, folder: Path) -> Iterator[str]:
    kind = str(value["class"])
    if kind not in port.types:
        yield f"'{name}' is a {kind}: expected {' or '.join(port.types)}"
        return
    if "listing" in value:
        yield f"'{name}' is a Directory with a listing, which engines stage as links: expected `path` of a directory"
        return
    text = str(value.get("path") or value.get("location") or "")
    path = folder / text.removeprefix("file://")
    if not text or re.match(r"\w+://", text.removeprefix("file://")):
        yield f"'{name}' has no local path: expected `path`"
    elif re.search(r"#|%[0-9A-Fa-f]{2}", text):
        yield f"'{name}' has a path with '#' or '%' in it, which engines take for a URL: rename or link {text}"
    elif not (path.is_dir() if kind == "Directory" else path.is_file()):
        yield f"'{name}': there is no {kind.lower()} {text}"
