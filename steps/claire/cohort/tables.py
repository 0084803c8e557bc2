"""The tables that describe a cohort."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from claire.cohort.draw import Patient
from claire.core.command.progress import log
from claire.core.command.record import SCHEMA_VERSION
from claire.core.contracts.cohort import Scan
from claire.core.contracts.folds import Folds

SCAN_COLUMNS = (
    "scan", "patient", "label", "split", "site", "vendor", "model", "kernel", "thickness_mm", "spacing_mm z",
    "slices_kept", "slices", "right_ml", "left_ml", "sex", "age_band", "reference_standard", "phantom", "pixel_hash",
)  # fmt: skip
AS_THEY_ARE = (
    "split", "site", "vendor", "model", "kernel", "thickness_mm", "sex", "age_band", "reference_standard", "pixel_hash",
)  # fmt: skip


def scan_row(scan: Scan) -> dict[str, Any]:
    """Return a scan's row of `scans.csv`."""
    facts = scan.facts
    lungs, spacing = facts.get("lungs") or {}, facts.get("spacing_mm") or [None]
    return {
        **{name: facts.get(name) for name in AS_THEY_ARE},
        "scan": scan.scan,
        "patient": scan.patient,
        "label": scan.label,
        "spacing_mm z": spacing[0],
        "slices_kept": scan.count,
        "slices": scan.original_shape[0],
        "right_ml": lungs.get("right_ml"),
        "left_ml": lungs.get("left_ml"),
        "phantom": str(bool(facts.get("phantom"))).lower(),
    }


def fold_rows(patients: Iterable[Patient], folds: Folds) -> list[dict[str, object]]:
    """Return the rows of `folds.csv`, a line a patient."""
    return [{**patient.__dict__, "fold": folds.fold.get(patient.patient)} for patient in patients]


def summary(
    scans: Sequence[Scan], patients: Sequence[Patient], classes: Sequence[str], rejects: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what `cohort.json` tells: classes and counts, by label, site and vendor besides."""
    by_class = Counter(patient.label for patient in patients)
    scans_of = Counter(scan.label for scan in scans)
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(classes),
        "scans": len(scans),
        "patients": len(patients),
        "slices": sum(scan.count for scan in scans),
        "labelled_slices": sum(label >= 0 for scan in scans for label in scan.slice_labels),
        "patients_by_class": {name: by_class[name] for name in classes},
        "scans_by_class": {name: scans_of[name] for name in classes},
        "counts": counts(scans, classes),
        "reference_standards": _sorted_counts(scan.facts.get("reference_standard") or "" for scan in scans),
        "rejected": _sorted_counts(row["reason"] for row in rejects),
        "phantom": all(scan.facts.get("phantom") for scan in scans),
    }


def counts(scans: Iterable[Scan], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return patients and scans of each label, site and vendor that occur together."""
    cells: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for scan in scans:
        cells[scan.label, scan.facts.get("site") or "", scan.facts.get("vendor") or ""].append(scan.patient)
    return [
        {"label": label, "site": site, "vendor": vendor, "patients": len(set(found)), "scans": len(found)}
        for (label, site, vendor), found in sorted(cells.items(), key=lambda cell: (classes.index(cell[0][0]), cell[0]))
    ]


def _sorted_counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def one_sided(rows: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """Return the sites or vendors (`key`) that have scans of one label only, where there are several."""
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels[row[key]].add(row["label"])
    return sorted(name for name, found in labels.items() if len(found) == 1) if len(labels) > 1 else []


def tell(summary: Mapping[str, Any]) -> None:
    """Log who is in the cohort, and which sites and vendors give the label away."""
    classes = ", ".join(f"{name}: {n} patients" for name, n in summary["patients_by_class"].items())
    log.info("cohort of %d scans of %d patients (%s)", summary["scans"], summary["patients"], classes)
    for row in summary["counts"]:
        log.info("  %(label)s, site '%(site)s', vendor '%(vendor)s': %(patients)d patients, %(scans)d scans", row)
    for key in ("site", "vendor"):
        names = one_sided(summary["counts"], key)
        if names:
            log.warning("each %s of %s has one class only: it gives the label away", key, ", ".join(map(repr, names)))
