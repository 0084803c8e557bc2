"""Scans of the prepared shards; voxels are read only while they are copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError, RejectedScan, UsageError
from claire.core.contracts.cohort import Scan
from claire.core.contracts.prepared import PreparedScan, read_prepared, read_voxels
from claire.core.contracts.rejects import Reject, reject
from claire.core.contracts.scans import ScanFacts


@dataclass(frozen=True)
class Member:
    """A scan of the cohort and the prepared shard that it comes from."""

    prepared: PreparedScan
    path: Path

    @property
    def facts(self) -> ScanFacts:
        """What ingest says of the scan."""
        return self.prepared.facts

    def rejected(self, reason: str, detail: str) -> Reject:
        """Return the row of a scan that the cohort itself sets aside."""
        error = RejectedScan(reason, detail)
        return reject("cohort", self.facts.shard, self.facts.line, self.facts.scan, error)


def read_members(paths: Sequence[Path]) -> tuple[list[Member], int]:
    """Return (all scans in the order of their ids, size of their slices), from descriptions alone.

    Raises ClaireError on a file that is not a prepared shard, on shards of different size and on a duplicate scan.
    """
    members: dict[str, Member] = {}
    sizes: dict[int, str] = {}
    for path in paths:
        size, scans = read_prepared(path)
        sizes.setdefault(size, path.name)
        for scan in scans:
            first = members.setdefault(scan.facts.scan, Member(scan, path))
            if first.prepared is not scan:
                raise ClaireError(
                    f"scan {scan.facts.scan} is in {first.path.name} and in {path.name}",
                    "Give each shard of one run of `claire index` once.",
                )
    if len(sizes) > 1:
        sizes_by_shard = ", ".join(f"{name} {size} pixels" for size, name in sorted(sizes.items()))
        raise ClaireError(
            f"the shards were prepared at different sizes: {sizes_by_shard}", "Run `claire preprocess` alike."
        )
    return [members[name] for name in sorted(members)], next(iter(sizes), 0)


def cohort_scans(members: Sequence[Member], classes: Sequence[str]) -> list[Scan]:
    """Return the scans as the cohort describes them: rows of the voxel arrays one after the other, labels as indices.

    Raises UsageError on the label of a slice that is not a class of the cohort.
    """
    index: dict[str | None, int] = {None: -1, **{name: i for i, name in enumerate(classes)}}
    labels = {label for member in members for label in member.prepared.slice_labels}
    unknown = sorted(str(label) for label in labels if label not in index)
    if unknown:
        raise UsageError(
            f"slices are labelled {', '.join(map(repr, unknown))}, but the classes are {', '.join(classes)}",
            "Use the names of the classes in the table of slice labels.",
        )
    starts = np.cumsum([0, *(len(member.prepared.slices) for member in members)]).tolist()
    return [_cohort_scan(member.prepared, first, index) for member, first in zip(members, starts, strict=False)]


def _cohort_scan(prepared: PreparedScan, first: int, index: dict[str | None, int]) -> Scan:
    facts = prepared.facts
    return Scan(
        scan=facts.scan,
        patient=facts.patient,
        label=facts.label,
        first=first,
        count=len(prepared.slices),
        slices=prepared.slices,
        slice_labels=tuple(index[label] for label in prepared.slice_labels),
        affine=prepared.affine,
        slice_positions_mm=prepared.slice_positions_mm,
        crop=prepared.crop,
        original_shape=prepared.original_shape,
        phantom=facts.phantom,
    )


def voxel_blocks(members: Sequence[Member]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (hu, lungs) of one scan after the other; one is in memory at a time."""
    for member in members:
        yield read_voxels(member.path, member.facts.scan)
