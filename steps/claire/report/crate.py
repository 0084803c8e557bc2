"""Provenance as RO-Crate metadata, written from the records of the steps.

Follows the Process Run Crate 0.5 profile of the Workflow Run RO-Crate collection (Leo et al. 2024,
doi:10.1371/journal.pone.0309210) on RO-Crate 1.1: one action per execution of a step, with tool, inputs and outputs.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import claire
from claire.core.command.files import canonical_json, sha256_json
from claire.core.command.record import StepRecord

CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PIPELINE = "#claire-pipeline"
TERMS = "#terms"
#: Listed here because Python's own table depends on the machine.
MEDIA = {
    ".csv": "text/csv",
    ".h5": "application/x-hdf5",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}

Entity = dict[str, Any]


def crate(records: Sequence[StepRecord], present: Mapping[str, str], title: str) -> dict[str, Any]:
    """Return the content of `ro-crate-metadata.json`.

    `present` maps the names of the files next to the crate to their SHA-256. All other files are referred to by their
    hash (RFC 6920). The order of `records` does not matter, and no clock is read: the same input gives the same bytes.
    The agent is left out because records name no person.
    """
    files = _Files(records, present)
    ordered = sorted(records, key=lambda record: (record.started or "", record.step, record.stem))
    actions = [_action(record, files) for record in ordered]
    graph = {
        entity["@id"]: entity
        for entity in (
            {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "conformsTo": _ref(CRATE), "about": _ref("./")},
            _root(title, ordered, actions, files),
            {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
            {"@id": TERMS, "@type": "CreativeWork", "name": "Derived from the user's data: their terms apply"},
            {
                "@id": PIPELINE,
                "@type": "SoftwareApplication",
                "name": "CLAIRE pipeline",
                **_version(claire.__version__),
            },
            *map(_instrument, ordered),
            *actions,
            *(parameter for record in ordered for parameter in _parameters(record)),
            *files.entities(),
        )
    }
    return {"@context": CONTEXT, "@graph": list(graph.values())}


def file_uri(sha256: str) -> str:
    """Return the `ni:` URI (RFC 6920) of a file that is known only by its SHA-256."""
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


class _Files:
    """Lists every file once: by its path in the crate if it is there, else by its hash."""

    def __init__(self, records: Iterable[StepRecord], present: Mapping[str, str]) -> None:
        self._present = {sha256: name for name, sha256 in sorted(present.items(), reverse=True)}
        self._names = {sha256: name for record in records for name, sha256 in record.outputs.items()}
        self._entities: dict[str, Entity] = {}
        for name, sha256 in sorted(present.items()):
            self._add(quote(name), name, sha256)

    def reference(self, sha256: str, name: str) -> dict[str, str]:
        """Add the file with this hash, called `name` unless the step that wrote it named it; return a reference."""
        if sha256 in self._present:
            return _ref(quote(self._present[sha256]))
        known = self._names.get(sha256, name)
        identifier = file_uri(sha256 if _is_sha256(sha256) else sha256_json(sha256))
        self._add(identifier, known, sha256)
        return _ref(identifier)

    def entities(self) -> list[Entity]:
        return [self._entities[identifier] for identifier in sorted(self._entities)]

    def _add(self, identifier: str, name: str, sha256: str) -> None:
        self._entities[identifier] = {
            "@id": identifier,
            "@type": "File",
            "name": name,
            "sha256": sha256,
            "encodingFormat": MEDIA.get("." + name.rsplit(".", 1)[-1], "application/octet-stream"),
        }


def _root(title: str, records: Sequence[StepRecord], actions: Sequence[Entity], files: _Files) -> Entity:
    last = max((record.ended or "" for record in records), default="")
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": title,
        "description": "Results of one run of the CLAIRE pipeline with the executions that produced them.",
        "datePublished": _offset(last) or "1980-01-01",
        "license": _ref(TERMS),
        "conformsTo": _ref(PROFILE),
        "hasPart": [_ref(entity["@id"]) for entity in files.entities()],
        "mentions": [_ref(action["@id"]) for action in actions],
    }


def _action(record: StepRecord, files: _Files) -> Entity:
    inputs = [files.reference(sha256, name) for name, sha256 in sorted(record.inputs.items())]
    return {
        "@id": f"#{quote(record.name)}",
        "@type": "CreateAction",
        "name": f"claire {record.step}" + (f" on {record.stem}" if record.stem else ""),
        "description": canonical_json(record.parameters),
        **_times(record),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "instrument": _ref(_tool(record)),
        **_linked("object", inputs + [_ref(parameter["@id"]) for parameter in _parameters(record)]),
        **_linked("result", [files.reference(sha256, name) for name, sha256 in sorted(record.outputs.items())]),
    }


def _instrument(record: StepRecord) -> Entity:
    return {
        "@id": _tool(record),
        "@type": "SoftwareApplication",
        "name": f"claire {record.step}",
        **_version(record.version),
        "sha256": record.source,
        "isPartOf": _ref(PIPELINE),
    }


def _parameters(record: StepRecord) -> list[Entity]:
    """Return the parameters as property values; equal ones of several executions are one entity."""
    entities = []
    for name, value in sorted(record.parameters.items()):
        text = value if isinstance(value, str) else canonical_json(value)
        identifier = f"#parameter-{quote(record.step)}-{quote(name)}-{sha256_json(text)[:8]}"
        entities.append({"@id": identifier, "@type": "PropertyValue", "name": name, "value": text})
    return entities


def _tool(record: StepRecord) -> str:
    return f"#claire-{quote(record.step)}-{quote(record.version)}-{record.source[:12]}"


def _times(record: StepRecord) -> Entity:
    if record.started is None or record.ended is None:
        return {}
    return {"startTime": _offset(record.started), "endTime": _offset(record.ended)}


def _offset(time: str) -> str:
    """Write UTC as an offset: validators of the profile do not accept "Z"."""
    return time.replace("Z", "+00:00")


def _version(version: str) -> dict[str, str]:
    return {"softwareVersion": version}


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def _linked(name: str, references: Iterable[dict[str, str]]) -> Entity:
    """Link to distinct entities; as RO-Crate recommends, no property for none and a single object for one."""
    links = [_ref(identifier) for identifier in dict.fromkeys(reference["@id"] for reference in references)]
    return {name: links if len(links) > 1 else links[0]} if links else {}


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
