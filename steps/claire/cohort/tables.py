"""The tables that describe a cohort."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from claire.cohort.gather import Gathered
from claire.core.command.progress import log
from claire.core.contracts.cohort import Scan
from claire.core.contracts.cohort_summary import Cell, CohortSummary
from claire.core.contracts.fold_draw import Patient
from claire.core.contracts.folds import FoldRow, Folds
from claire.core.contracts.members import Member
from claire.core.contracts.scan_table import ScanRow


def scan_row(member: Member) -> ScanRow:
    """Return a scan's row of `scans.csv`."""
    facts, lungs = member.facts, member.prepared.lungs
    return ScanRow(
        scan=facts.scan,
        patient=facts.patient,
        label=facts.label,
        split=facts.split,
        site=facts.site,
        vendor=facts.vendor,
        model=facts.model,
        kernel=facts.kernel,
        thickness_mm=facts.thickness_mm,
        slice_spacing_mm=facts.spacing_mm[0],
        slices_kept=len(member.prepared.slices),
        slices=member.prepared.original_shape[0],
        right_ml=lungs.right_ml,
        left_ml=lungs.left_ml,
        sex=facts.sex,
        age_band=facts.age_band,
        reference_standard=facts.reference_standard,
        phantom=facts.phantom,
        pixel_hash=facts.pixel_hash,
    )


def fold_rows(patients: Iterable[Patient], folds: Folds) -> list[FoldRow]:
    """Return the rows of `folds.csv`, one per patient."""
    return [
        FoldRow(
            patient=each.patient,
            label=each.label,
            split=folds.split_of(each.patient),
            fold=folds.fold.get(each.patient),
        )
        for each in patients
    ]


def summarise(gathered: Gathered, scans: Sequence[Scan], sha256: str, fold_count: int, seed: int) -> CohortSummary:
    """Return what `cohort.json` tells: classes and counts, by label, site and vendor besides."""
    by_class = Counter(patient.label for patient in gathered.patients)
    scans_of_class = Counter(scan.label for scan in scans)
    facts = [member.facts for member in gathered.members]
    return CohortSummary(
        sha256=sha256,
        classes=gathered.classes,
        size=gathered.size,
        fold_count=fold_count,
        seed=seed,
        scans=len(scans),
        patients=len(gathered.patients),
        slices=sum(scan.count for scan in scans),
        labelled_slices=sum(label >= 0 for scan in scans for label in scan.slice_labels),
        patients_by_class={name: by_class[name] for name in gathered.classes},
        scans_by_class={name: scans_of_class[name] for name in gathered.classes},
        cells=tuple(count_cells(gathered.members, gathered.classes)),
        reference_standards=_sorted_counts(scan.reference_standard for scan in facts),
        rejected=_sorted_counts(row.reason for row in gathered.rejects),
        phantom=all(scan.phantom for scan in facts),
    )


def count_cells(members: Iterable[Member], classes: Sequence[str]) -> list[Cell]:
    """Return patients and scans of each label, site and vendor that occur together."""
    patients: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for facts in (member.facts for member in members):
        patients[facts.label, facts.site, facts.vendor].append(facts.patient)
    return [
        Cell(label=label, site=site, vendor=vendor, patients=len(set(members_of)), scans=len(members_of))
        for (label, site, vendor), members_of in sorted(
            patients.items(), key=lambda cell: (classes.index(cell[0][0]), cell[0])
        )
    ]


def _sorted_counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def one_sided(values: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names that have scans of one label only, of (name, label) pairs with several names."""
    labels: dict[str, set[str]] = defaultdict(set)
    for name, label in values:
        labels[name].add(label)
    return sorted(name for name, own in labels.items() if len(own) == 1) if len(labels) > 1 else []


def log_summary(summary: CohortSummary) -> None:
    """Log who is in the cohort, and which sites and vendors give the label away."""
    classes = ", ".join(f"{name}: {count} patients" for name, count in summary.patients_by_class.items())
    log.info("cohort of %d scans of %d patients (%s)", summary.scans, summary.patients, classes)
    for cell in summary.cells:
        log.info(
            "  %s, site '%s', vendor '%s': %d patients, %d scans",
            *(cell.label, cell.site, cell.vendor, cell.patients, cell.scans),
        )
    for attribute in ("site", "vendor"):
        names = one_sided((getattr(cell, attribute), cell.label) for cell in summary.cells)
        if names:
            names_text = ", ".join(map(repr, names))
            log.warning("each %s of %s has one class only: it gives the label away", attribute, names_text)
