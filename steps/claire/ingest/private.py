"""The table that leads back from pseudonyms to series. It stays at the data site, for its owner alone to read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claire.core.command.files import make_directory
from claire.core.command.tables import write_csv

if TYPE_CHECKING:
    from claire.core.sources.dicom import Header
    from claire.index.series import Line

COLUMNS = ("scan", "patient", "path", "series_uid", "study_uid", "patient_id", "shard", "line", "reason")


@dataclass(frozen=True)
class Outcome:
    """What became of a line: its scan's pseudonym, the patient's where it entered, else the reason."""

    line: Line
    scan: str
    patient: str
    reason: str


def make_private(folder: Path) -> None:
    """Make the directory of --private with mode 0700, where it is not there."""
    with _only_for_owner():
        make_directory(folder, "--private")


def write_private(folder: Path, stem: str, outcomes: Iterable[Outcome], headers: Mapping[int, Header]) -> None:
    """Write the table that leads back from pseudonyms to series: mode 0600."""
    with _only_for_owner():
        rows = [_row(stem, outcome, headers.get(outcome.line.line)) for outcome in outcomes]
        write_csv(folder / f"{stem}.private.csv", COLUMNS, rows)


@contextmanager
def _only_for_owner() -> Iterator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _row(stem: str, outcome: Outcome, header: Header | None) -> dict[str, Any]:
    line = outcome.line
    folders = sorted({name.rpartition("/")[0] or "." for name in line.files})
    path = ";".join(folders if line.kind == "dicom" and not line.problem else line.files)
    return {
        "scan": outcome.scan,
        "patient": outcome.patient,
        # File names are bytes: what is no UTF-8 is written as an escape.
        "path": path.encode("utf-8", "backslashreplace").decode(),
        "series_uid": line.series_uid,
        "study_uid": line.study_uid,
        "patient_id": header.patient_id if header else "",
        "shard": stem,
        "line": line.line,
        "reason": outcome.reason,
    }
