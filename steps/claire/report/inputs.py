"""What the report is made of, read from files and checked."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError
from claire.core.command.files import sha256_file
from claire.core.command.record import SCHEMA_VERSION
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

RunRecord = dict[str, Any]
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
    records: Sequence[RunRecord] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Class names in order; the first is the negative class."""
        return list(self.cohort.classes)

    @property
    def phantom(self) -> bool:
        """Whether all scans are phantoms: then nothing here is personal."""
        return self.cohort.phantom

    def may_show(self, scan: str) -> bool:
        """Return whether the policy lets pictures of this scan into the report; an unknown scan is a patient's."""
        is_phantom = scan in self.scans and self.scans[scan].phantom
        return may_show(self.images, is_phantom)


def read_inputs(
    title: str,
    images: Policy,
    tables: Mapping[str, Path],
    lesions: Sequence[Path],
    overlays: Sequence[Path],
    records: Sequence[Path],
) -> Inputs:
    """Read all inputs; `tables` maps the flags of single files to their paths.

    Raises UsageError on a table without the columns that are needed, ClaireError on what is not as its step wrote it.
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


def read_record(path: Path) -> RunRecord:
    """Read a record of this schema version. Raises ClaireError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ClaireError(
            f"{path.name} is no JSON document ({type(error).__name__})", "Run the step that wrote it again."
        ) from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        version = document.get("schema_version") if isinstance(document, dict) else None
        raise ClaireError(
            f"{path.name} has schema version {version}, not {SCHEMA_VERSION}", "Run the step that wrote it again."
        )
    missing = [name for name in ("step", "stem", "version", "source", "inputs", "outputs") if name not in document]
    if missing:
        raise ClaireError(f"{path.name} is no record: it lacks {', '.join(missing)}", "Give `*.run.json` files.")
    return {"parameters": {}, **document}


def read_records(paths: Sequence[Path]) -> list[RunRecord]:
    """Read records in the order of their names; one that stands twice counts once."""
    records = [read_record(path) for path in sorted(paths, key=lambda path: path.name)]
    return list({(record["stem"], record["step"]): record for record in records}.values())


def read_explained(paths: Sequence[Path]) -> list[LesionsDocument]:
    """Read the lesion documents by fold and run."""
    return sorted(map(read_lesions, paths), key=lambda document: (document.fold, document.run))


def pictures_by_run(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the archives of pictures by run: the stem of their names."""
    return {path.name.split(".")[0]: path for path in paths}


def read_pictures(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read PNG pictures of an archive by name; names that are not in it, or are no PNG, are left out."""
    try:
        with zipfile.ZipFile(archive) as opened:
            there = set(opened.namelist())
            found = {name: opened.read(name) for name in names if name in there}
    except (zipfile.BadZipFile, OSError) as error:
        raise ClaireError(f"{archive.name} is no zip archive", "Run `claire explain` again.") from error
    return {name: content for name, content in found.items() if content.startswith(PNG)}


def hash_files(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by name."""
    return {path.name: sha256_file(path) for path in paths}
