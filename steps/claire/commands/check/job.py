"""The keys of a job file: unknown ones with near matches, missing ones, types, files that are not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from claire import __version__
from claire.core.command.findings import Findings
from claire.core.command.yaml_files import read_yaml_mapping

#: Inputs that name a place where a step writes: an absolute path, or it lies in a job's folder and vanishes with it.
PLACES = ("private", "store", "data_store")
#: Inputs of earlier versions, and what they are now.
RENAMED = {"folds": "fold_count", "explain_limit": "explain_options: {limit: …}", "weights": "pretrained"}
_PYTHON = {"int": (int,), "float": (int, float), "boolean": (bool,), "string": (str,)}


@dataclass(frozen=True)
class Port:
    """An input of the workflow or a field of a record: its types, whether it may be left out, its fields if any."""

    types: tuple[str, ...]
    optional: bool
    fields: Mapping[str, Port]
    symbols: tuple[str, ...] = ()
    default: Any = None


@dataclass
class Job:
    """The values of a job. `faulty` names inputs (`seed`) and options (`index_options.shards`) not to be relied on."""

    path: Path
    values: Mapping[str, Any]
    ports: Mapping[str, Port]
    faulty: set[str] = field(default_factory=set)

    def value(self, name: str) -> Any:
        """Return the value of an input; its default in the workflow where it is left out or faulty."""
        value = None if name in self.faulty else self.values.get(name)
        default = self.ports[name].default if name in self.ports else None
        return default if value is None else value

    def options(self, step: str) -> dict[str, Any]:
        """Return the options of a step that are set and not faulty."""
        record = self.value(f"{step}_options")
        values = record if isinstance(record, dict) else {}
        known = self.ports[f"{step}_options"].fields if f"{step}_options" in self.ports else {}
        return {
            name: value
            for name, value in values.items()
            if value is not None and name in known and f"{step}_options.{name}" not in self.faulty
        }

    def paths(self, name: str) -> list[Path]:
        """Return the existing files or directories of an input on this machine."""
        value = self.value(name)
        entries = value if isinstance(value, list) else [value]
        return [local_path(entry, self.path.parent) for entry in entries if isinstance(entry, dict)]

    def local(self, name: str) -> Path | None:
        """Return the existing file or directory of an input; None if it is at the site, left out or faulty."""
        return next(iter(self.paths(name)), None)

    def at_site(self) -> list[str]:
        """Return the inputs that are given as a path at the site: nothing of them can be looked at here."""
        kinds = {"File", "Directory"}
        return [name for name in self.ports if isinstance(self.value(name), str) and kinds & {*self.ports[name].types}]


def read_job(path: Path, workflow: Path, findings: Findings) -> Job:
    """Read a job; faults of its keys, types and files are added. Raises UsageError if it is no job at all."""
    ports = read_ports(workflow)
    values = read_yaml_mapping(path, "Give a job file such as configs/smoke.yml.")
    folder, faulty = path.parent, set[str]()
    for problem in check_job(values, ports, folder):
        findings.fault(problem)
    unknown = [name for name in values if name not in ports]
    if len(unknown) > 2:
        findings.warn(
            f"{len(unknown)} keys are unknown to claire {__version__}: the job file may be one of another version",
            "Compare it with docs/usage.md and configs/smoke.yml of this version.",
        )
    for name, port in ports.items():
        value = values.get(name)
        if isinstance(value, dict) and port.fields:
            faulty |= {
                f"{name}.{option}"
                for option, content in value.items()
                if content is None
                or option not in port.fields
                or any(_check_value(option, content, port.fields[option], folder))
            }
        elif value is not None and any(_check_value(name, value, port, folder)):
            faulty.add(name)
    return Job(path, values, ports, faulty)


def local_path(value: Mapping[str, Any], folder: Path) -> Path:
    """Return the path that a File or Directory of a job names."""
    return folder / str(value.get("path") or value.get("location") or "").removeprefix("file://")


def read_ports(workflow: Path) -> dict[str, Port]:
    """Return the inputs of a CWL workflow by name; records and enums are read from the files that it imports."""
    document = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    inputs = document["inputs"].items()
    return {
        name: replace(_port(port["type"], "default" in port, workflow), default=port.get("default"))
        for name, port in inputs
    }


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
    if name in RENAMED:
        return f" (it was renamed: it is `{RENAMED[name]}` now)"
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
    elif isinstance(value, list) and "File[]" in port.types and all(_fits(each, "File") for each in value):
        for each in value:
            yield from _check_file(name, each, replace(port, types=("File",)), folder)
    elif not port.symbols and not any(_fits(value, kind) for kind in port.types):
        yield f"'{name}' is {json.dumps(value, default=str)}: expected {' or '.join(port.types)}"
    elif name in PLACES and not str(value).startswith("/"):
        yield f"'{name}' is the relative path {value!r}: expected an absolute path where the step is executed"


def _check_record(name: str, value: Any, port: Port, folder: Path) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"'{name}' is not a mapping: expected keys out of {', '.join(port.fields)}"
        return
    for option, content in value.items():
        if option not in port.fields:
            yield f"unknown key '{name}.{option}'{_near(str(option), {**port.fields})}"
        elif content is not None:
            for problem in _check_value(option, content, port.fields[option], folder):
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
    path = local_path(value, folder)
    if not text or re.match(r"\w+://", text.removeprefix("file://")):
        yield f"'{name}' has no local path: expected `path`"
    elif re.search(r"#|%[0-9A-Fa-f]{2}", text):
        yield f"'{name}' has a path with '#' or '%' in it, which engines take for a URL: rename or link {text}"
    elif not (path.is_dir() if kind == "Directory" else path.is_file()):
        yield f"'{name}': there is no {kind.lower()} {text}"
