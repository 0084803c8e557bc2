"""`cohort.json`: hash, classes and counts of a cohort, for readers that do not need its voxels."""

from __future__ import annotations

from pathlib import Path

from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.command.errors import ClaireError

REMEDY = "Run `claire cohort` again."


class Cell(Part):
    """Patients and scans of one label, site and vendor that occur together."""

    label: str
    site: str
    vendor: str
    patients: int
    scans: int


class CohortSummary(Document):
    """Classes in order (the first is the negative one) and counts. `size`: rows and columns of a prepared slice."""

    sha256: str
    classes: tuple[str, ...]
    size: int
    fold_count: int
    seed: int
    scans: int
    patients: int
    slices: int
    labelled_slices: int
    patients_by_class: dict[str, int]
    scans_by_class: dict[str, int]
    cells: tuple[Cell, ...]
    reference_standards: dict[str, int]
    rejected: dict[str, int]
    phantom: bool


def write_cohort_summary(path: Path, summary: CohortSummary) -> Path:
    """Write `cohort.json`."""
    return write_document(path, summary)


def read_cohort_summary(path: Path) -> CohortSummary:
    """Read `cohort.json`. Raises ClaireError if it is not one, or has fewer than two classes."""
    summary = read_document(path, CohortSummary, REMEDY)
    if len(summary.classes) < 2:
        raise ClaireError(f"{path.name} has {len(summary.classes)} class: expected at least 2", REMEDY)
    return summary
