"""The table from pseudonyms to series. It stays at the data site, readable by its owner only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from claire.core.command.files import make_directory, only_for_owner
from claire.core.contracts.private import PrivateRow, write_private_table
from claire.core.contracts.shard_list import ListedSeries
from claire.core.sources.dicom import Header
from claire.core.sources.formats import DICOM


@dataclass(frozen=True)
class Outcome:
    """The outcome of a series: its scan's pseudonym, and the patient's pseudonym or the reason for rejection."""

    series: ListedSeries
    scan: str
    patient: str
    reason: str


def make_private(folder: Path) -> None:
    """Make the directory of --private with mode 0700 if it does not exist."""
    with only_for_owner():
        make_directory(folder, "--private")


def write_private(folder: Path, stem: str, outcomes: Iterable[Outcome], headers: Mapping[int, Header]) -> Path:
    """Write the table from pseudonyms to series, mode 0600; return its path."""
    with only_for_owner():
        rows = [_row(stem, outcome, headers.get(outcome.series.line)) for outcome in outcomes]
        return write_private_table(folder, stem, rows)


def _row(stem: str, outcome: Outcome, header: Header | None) -> PrivateRow:
    series = outcome.series
    folders = sorted({name.rpartition("/")[0] or "." for name in series.files})
    path = ";".join(folders if series.kind == DICOM and not series.problem else series.files)
    return PrivateRow(
        scan=outcome.scan,
        patient=outcome.patient,
        # File names are bytes; those that are not UTF-8 are escaped.
        path=path.encode("utf-8", "backslashreplace").decode(),
        series_uid=series.series_uid,
        study_uid=series.study_uid,
        patient_id=header.patient_id if header else "",
        shard=stem,
        line=series.line,
        reason=outcome.reason,
    )
