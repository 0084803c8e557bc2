"""Patients of a cohort, from its scans."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from claire.cohort.checks import require_one_value
from claire.core.contracts.fold_draw import Patient
from claire.core.contracts.scans import ScanFacts


def patients_of(scans: Sequence[ScanFacts]) -> list[Patient]:
    """Return the patients in order of their pseudonyms.

    Raises ClaireError when the scans of one have different labels or fixed splits.
    """
    require_one_value(scans, "label", [scan.label for scan in scans])
    require_one_value(scans, "split", [scan.split for scan in scans])
    scans_of: dict[str, list[ScanFacts]] = defaultdict(list)
    for scan in scans:
        scans_of[scan.patient].append(scan)
    return [Patient(patient, own[0].label, _usual_site(own), own[0].split) for patient, own in sorted(scans_of.items())]


def _usual_site(scans: Sequence[ScanFacts]) -> str:
    sites = Counter(scan.site for scan in scans)
    return min(sites, key=lambda site: (-sites[site], site))
