"""Prepared shards and rejects, read; voxels only while they are copied."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.record import SCHEMA_VERSION
from claire.core.command.tables import REJECT_COLUMNS, read_csv
from claire.core.contracts.cohort import Scan, scan_from
from claire.core.contracts.scans import shard_stem

#: Stay in the shard at the data site: lists with an entry a slice, for the cohort's description is read by every
#: training, and the line of the shard, for the cohort is the same however the series were cut into shards.
LEFT_BEHIND = ("sop_uids", "positions_mm", "slice_labels", "line")


@dataclass(frozen=True)
class Member:
    """A scan of the cohort, the prepared shard and line it comes from, the class name or None of each kept slice."""

    scan: Scan
    path: Path
    line: int | None
    slice_names: tuple[str | None, ...]


@dataclass(frozen=True)
class Shards:
    """All scans of all shards in the order of their ids; slices are (size, size) pixels."""

    members: list[Member]
    size: int


def read_shards(paths: Sequence[Path]) -> Shards:
    """Read the description of every scan. Raises ClaireError on a file that is no prepared shard, on shards of
    different size and on a scan that stands twice.
    """
    members: dict[str, Member] = {}
    sizes: dict[int, str] = {}
    for path in paths:
        size, found = _read_shard(path)
        sizes.setdefault(size, path.name)
        for member in found:
            other = members.setdefault(member.scan.scan, member)
            if other is not member:
                raise ClaireError(
                    f"scan {member.scan.scan} stands in {other.path.name} and in {path.name}",
                    "Give each shard of one run of `claire index` once.",
                )
    if len(sizes) > 1:
        told = ", ".join(f"{name} {size} pixels" for size, name in sorted(sizes.items()))
        raise ClaireError(f"the shards were prepared at different sizes: {told}", "Run `claire preprocess` alike.")
    return Shards([members[name] for name in sorted(members)], next(iter(sizes), 0))


def _read_shard(path: Path) -> tuple[int, list[Member]]:
    try:
        with h5py.File(path, "r") as file:
            head = _document(file)
            documents = [_document(group) for group in file["scans"].values()]
    except (OSError, KeyError, ValueError) as error:
        raise ClaireError(
            f"{path.name} is no prepared shard ({type(error).__name__})", "Run `claire preprocess` again."
        ) from error
    if head.get("schema_version") != SCHEMA_VERSION:
        raise ClaireError(
            f"{path.name} has schema version {head.get('schema_version')}, not {SCHEMA_VERSION}",
            "Run `claire preprocess` again.",
        )
    return int(head["size"]), [_member(document, path) for document in documents]


def _document(group: h5py.Group) -> dict[str, Any]:
    return json.loads(bytes(group["document"][:]))


def _member(document: dict[str, Any], path: Path) -> Member:
    scan = scan_from(document)
    names = scan.facts.get("slice_labels") or [None] * scan.count
    facts = {name: fact for name, fact in scan.facts.items() if name not in LEFT_BEHIND}
    return Member(replace(scan, facts=facts), path, scan.facts.get("line"), tuple(names))


def label_slices(members: Sequence[Member], classes: Sequence[str]) -> list[Scan]:
    """Return the scans with the class index of each kept slice, −1 where nobody labelled it.

    Raises UsageError on the label of a slice that is no class of the cohort.
    """
    index = {None: -1, **{name: i for i, name in enumerate(classes)}}
    unknown = sorted({name for member in members for name in member.slice_names if name not in index}, key=str)
    if unknown:
        raise UsageError(
            f"slices are labelled {', '.join(map(repr, unknown))}, but the classes are {', '.join(classes)}",
            "Use the names of the classes in the table of slice labels.",
        )
    return [replace(m.scan, slice_labels=tuple(index[name] for name in m.slice_names)) for m in members]


def place(scans: Sequence[Scan]) -> list[Scan]:
    """Return the scans with their first row in the cohort's arrays, one after the other."""
    starts = np.cumsum([0, *(scan.count for scan in scans)]).tolist()
    return [replace(scan, first=start) for scan, start in zip(scans, starts, strict=False)]


def voxel_blocks(members: Sequence[Member]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (hu, lungs) of one scan after the other; one is in memory at a time."""
    for member in members:
        with h5py.File(member.path, "r") as file:
            group = file["scans"][member.scan.scan]
            yield group["hu"][:], group["lungs"][:]


def read_rejects(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of all tables of rejects in the order of shard, line and step."""
    rows: list[dict[str, Any]] = [
        {name: row[name] for name in REJECT_COLUMNS}
        for path in paths
        for row in read_csv(path, REJECT_COLUMNS, f"table of rejects {path.name}")
    ]
    return sorted(rows, key=lambda row: (row["shard"], int(row["line"]) if row["line"].isdigit() else -1, row["step"]))


def reject_row(member: Member, reason: str, detail: str) -> dict[str, Any]:
    """Return the row of a scan that the cohort itself sets aside."""
    place = {"shard": shard_stem(member.path), "line": member.line, "scan": member.scan.scan}
    return {"step": "cohort", **place, "reason": reason, "detail": detail}
