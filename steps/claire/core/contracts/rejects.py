"""`NNNN.<step>.rejects.csv` and `rejects.csv`: what was left out of the cohort, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from claire.core.command.errors import RejectedScan
from claire.core.command.tables import Row, read_rows, write_rows

REMEDY = "Run the step that wrote it again."


@dataclass(frozen=True)
class Reason:
    """A reason for leaving something out.

    `lost`: whether a usable scan was lost; series that were never candidates do not count against
    --max-reject-fraction.
    """

    meaning: str
    lost: bool = True


#: Every reason of every step. A new reason is only added here.
REASONS: dict[str, Reason] = {
    "not_chosen": Reason("another series of the same acquisition was preferred", lost=False),
    "no_label": Reason("the labels table has no label for it; a missing label is never a negative", lost=False),
    "not_ct": Reason("not a CT image series", lost=False),
    "localiser": Reason("a localiser, not an axial scan", lost=False),
    "duplicate": Reason("the same voxels as another scan of the patient", lost=False),
    "burned_in": Reason("annotation is burned into the pixels (BurnedInAnnotation is YES)"),
    "too_few_slices": Reason("fewer slices than --min-slices"),
    "missing_slices": Reason("gaps between its slices"),
    "coincident_slices": Reason("several slices at one position"),
    "gantry_tilt": Reason("tilted gantry"),
    "mixed_orientation": Reason("slices of different orientation"),
    "not_hu": Reason("its values are not Hounsfield units"),
    "unreadable": Reason("a file cannot be read"),
    "inconsistent": Reason("its files contradict each other"),
    "ambiguous_patient": Reason("the patient ID is empty, generic or shared by different people"),
    "not_chest": Reason("no body in the scan"),
    "no_lungs": Reason("no lungs found"),
    "too_few_lung_slices": Reason("too few slices with enough lung"),
}


def _known(reason: str) -> str:
    if reason not in REASONS:
        raise ValueError("is not a known reason")
    return reason


class Reject(Row):
    """One series or scan that was set aside. `shard` and `line` name it in the shard list; `scan` is its pseudonym."""

    step: str
    shard: str
    line: int | None
    scan: str
    reason: Annotated[str, AfterValidator(_known)]
    detail: str


def reject(step: str, shard: str, line: int | None, scan: str, error: RejectedScan) -> Reject:
    """Return the row of a scan that a step set aside."""
    return Reject(step=step, shard=shard, line=line, scan=scan, reason=error.reason, detail=error.detail)


def write_rejects(path: Path, rejects: Iterable[Reject]) -> Path:
    """Write a table of rejects."""
    return write_rows(path, Reject, rejects)


def read_rejects(paths: Sequence[Path]) -> list[Reject]:
    """Return the rows of several tables in the order of shard, line and step. Raises ClaireError."""
    rows = [row for path in paths for row in read_rows(path, Reject, REMEDY)]
    return sorted(rows, key=lambda row: (row.shard, -1 if row.line is None else row.line, row.step))


def count_reasons(rejects: Iterable[Reject], lost: bool = False) -> Counter[str]:
    """Return how often each reason occurs, most first; with `lost` only reasons by which a usable scan was lost."""
    counts = Counter(row.reason for row in rejects if not lost or REASONS[row.reason].lost)
    return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts as text."""
    return ", ".join(f"{name}: {count}" for name, count in counts.items())
