"""The inputs of the report, read from files and checked."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from claire.core.command.errors import ClaireError
from claire.core.command.files import sha256_file
from claire.core.command.record import StepRecord, read_record
from claire.core.contracts.cohort_summary import CohortSummary, read_cohort_summary
from claire.core.contracts.folds import FoldRow, read_fold_rows
from claire.core.contracts.lesions import LesionsDocument, read_lesions
from claire.core.contracts.metrics import Metrics, read_metrics
from claire.core.contracts.rejects import Reject, read_rejects
from claire.core.contracts.result_tables import (
    ComparisonRow,
    CurvePoint,
    LeaderboardRow,
    read_comparisons,
    read_curves,
    read_leaderboard,
)
from claire.core.contracts.scan_table import ScanRow, read_scan_table
from claire.core.privacy.pictures import Policy, may_show

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Inputs:
    """All inputs of a report, read. `scans` is keyed by pseudonym, `pictures` by run; `hashes` by name of the file."""

    title: str
    images: Policy
    leaderboard: Sequence[LeaderboardRow]
    metrics: Metrics
    comparisons: Sequence[ComparisonRow]
    curves: Sequence[CurvePoint]
    cohort: CohortSummary
    scans: Mapping[str, ScanRow]
    folds: Sequence[FoldRow]
    rejects: Sequence[Reject]
    explained: Sequence[LesionsDocument] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    records: Sequence[StepRecord] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Class names in order; the first is the negative class."""
        return list(self.cohort.classes)

    @property
    def phantom(self) -> bool:
        """Whether all scans are phantoms: then nothing is personal data."""
        return self.cohort.phantom

    def shows(self, scan: str) -> bool:
        """Return whether the policy lets pictures of this scan into the report; an unknown scan is a patient's."""
        return may_show(self.images, scan in self.scans and self.scans[scan].phantom)


def read_inputs(
    title: str,
    images: Policy,
    tables: Mapping[str, Path],
    lesions: Sequence[Path],
    overlays: Sequence[Path],
    records: Sequence[Path],
) -> Inputs:
    """Read all inputs; `tables` maps the flags of single files to their paths.

    Raises UsageError if a table lacks a required column, ClaireError if a file is not as its step wrote it.
    """
    return Inputs(
        title=title,
        images=images,
        leaderboard=read_leaderboard(tables["leaderboard"]),
        metrics=read_metrics(tables["metrics"]),
        comparisons=read_comparisons(tables["comparisons"]),
        curves=read_curves(tables["curves"]),
        cohort=read_cohort_summary(tables["cohort_summary"]),
        scans=read_scan_table(tables["scans"]),
        folds=read_fold_rows(tables["folds"]),
        rejects=read_rejects([tables["rejects"]]),
        explained=read_explained(lesions),
        pictures=pictures_by_run(overlays),
        records=read_records(records),
        hashes=hash_files([*tables.values(), *lesions, *overlays, *records]),
    )


def read_records(paths: Sequence[Path]) -> list[StepRecord]:
    """Read records in the order of their names; a duplicate counts once."""
    records = [read_record(path) for path in sorted(paths, key=lambda path: path.name)]
    return list({record.name: record for record in records}.values())


def read_explained(paths: Sequence[Path]) -> list[LesionsDocument]:
    """Read the lesion documents by fold and run."""
    return sorted(map(read_lesions, paths), key=lambda document: (document.fold, document.run))


def pictures_by_run(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the archives of pictures by run: the first part of their names."""
    return {path.name.split(".")[0]: path for path in paths}


def read_pictures(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read PNG pictures of an archive by name; names that are not in it or are not PNG are left out."""
    try:
        with zipfile.ZipFile(archive) as opened:
            present = set(opened.namelist())
            contents = {name: opened.read(name) for name in names if name in present}
    except (zipfile.BadZipFile, OSError) as error:
        raise ClaireError(f"{archive.name} is not a zip archive", "Run `claire explain` again.") from error
    return {name: content for name, content in contents.items() if content.startswith(PNG)}


def hash_files(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by name."""
    return {path.name: sha256_file(path) for path in paths}
