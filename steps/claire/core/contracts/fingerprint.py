"""The fingerprint of a cohort: what its scans are like, so that a new scan can be compared with them.

A network answers for scans like those it learned from. One function measures a scan, of the cohort or new
(`measure_features`); `out_of_cohort` says in words what about a scan the cohort has never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from claire.core.command.documents import Part
from claire.core.contracts.scan_table import ScanRow
from claire.core.contracts.scans import ScanFacts
from claire.core.imaging.lung_features import lung_features
from claire.core.imaging.opacities import Spacing

#: Every number: how a sentence names it, its unit, and the digits after the point that are shown.
NUMBERS: dict[str, tuple[str, str, int]] = {
    "thickness_mm": ("slice thickness", "mm", 2),
    "slice_spacing_mm": ("slice spacing", "mm", 2),
    "slices": ("number of slices", "", 0),
    "field_mm": ("width of the body's crop", "mm", 0),
    "lung_ml": ("lung volume in the kept slices", "ml", 0),
    "hu_p05": ("5th percentile of the lungs", "HU", 0),
    "hu_p25": ("25th percentile of the lungs", "HU", 0),
    "hu_p50": ("median of the lungs", "HU", 0),
    "hu_p75": ("75th percentile of the lungs", "HU", 0),
    "hu_p95": ("95th percentile of the lungs", "HU", 0),
    "opacity_share": ("share of lung from -700 to -200 HU", "", 3),
}
#: Every name: how a sentence calls it.
CATEGORIES = {"vendor": "vendor", "kernel": "kernel", "subject": "subject"}
UNKNOWN = "unknown"
#: The cell into which cells of few patients are merged.
OTHER = "other"
#: What lies beyond the cohort's range by less than this share of it is no news.
MARGIN = 0.05
#: Names of a category that a sentence lists.
LISTED = 6


@dataclass(frozen=True)
class Acquisition:
    """How a scan was acquired: scanner, kernel, slices as ingested; `phantom`: not a person."""

    vendor: str
    kernel: str
    phantom: bool
    thickness_mm: float | None
    slice_spacing_mm: float | None
    slices: int

    @classmethod
    def of_row(cls, row: ScanRow) -> Acquisition:
        """Return that of a scan of the cohort, from its row of scans.csv."""
        return cls(row.vendor, row.kernel, row.phantom, row.thickness_mm, row.slice_spacing_mm, row.slices)

    @classmethod
    def of_facts(cls, facts: ScanFacts) -> Acquisition:
        """Return that of an ingested scan."""
        slices = len(facts.positions_mm) or len(facts.sop_uids)
        return cls(facts.vendor, facts.kernel, facts.phantom, facts.thickness_mm, facts.spacing_mm[0], slices)


@dataclass(frozen=True)
class Features:
    """What one scan is like: `numbers` by the names of NUMBERS, missing where unknown, `names` by CATEGORIES."""

    numbers: Mapping[str, float]
    names: Mapping[str, str]


class NumberSummary(Part):
    """One number over the scans of a cohort: scans that have it, extremes, percentiles."""

    n: int
    minimum: float
    p1: float
    median: float
    p99: float
    maximum: float


class RobustDistance(Part):
    """A distance of scans from the middle of a cohort: √(z' P z) with z = (value − centre) / scale, clipped at ±`clip`.

    `features`: the numbers in order; `precision`: P, the inverse of a shrunk covariance; `threshold`: 99th percentile
    of the distances of the cohort's scans, each from all scans of other patients.
    """

    features: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    clip: float
    threshold: float
    n: int

    def of(self, numbers: Mapping[str, float]) -> float | None:
        """Return the distance of a scan; None where one of its numbers is unknown."""
        if not set(self.features) <= set(numbers):
            return None
        values = np.array([numbers[name] for name in self.features])
        z = np.clip((values - self.centre) / np.array(self.scale), -self.clip, self.clip)
        return float(np.sqrt(z @ np.array(self.precision) @ z))


class Fingerprint(Part):
    """What the scans of a cohort are like: `numbers` by NUMBERS, `categories` count scans by name, small cells merged.

    `distance` is None where the scans are too few, as `note` then says.
    """

    scans: int
    patients: int
    numbers: dict[str, NumberSummary]
    categories: dict[str, dict[str, int]]
    distance: RobustDistance | None = None
    note: str = ""


def measure_features(acquisition: Acquisition, hu: np.ndarray, lungs: np.ndarray, spacing_mm: Spacing) -> Features:
    """Return the features of a scan: of its acquisition, and of its prepared voxels (slices, size, size) on a grid of
    `spacing_mm` along these axes.
    """
    known = {
        "thickness_mm": acquisition.thickness_mm,
        "slice_spacing_mm": acquisition.slice_spacing_mm,
        "slices": float(acquisition.slices),
    }
    numbers = {name: value for name, value in known.items() if value is not None}
    subject = "phantom" if acquisition.phantom else "patient"
    names = {"vendor": acquisition.vendor or UNKNOWN, "kernel": acquisition.kernel or UNKNOWN, "subject": subject}
    return Features(numbers | lung_features(hu, lungs, spacing_mm), names)


def out_of_cohort(fingerprint: Fingerprint, features: Features) -> tuple[str, ...]:
    """Return what about a scan the cohort has never shown, a sentence each; empty where it is like the cohort's scans.

    `slice thickness of 8 mm; trained on 0.6 to 2.5 mm`. What is unknown of the scan is not compared.
    """
    sentences = [
        sentence
        for name, summary in fingerprint.numbers.items()
        if name in features.numbers and (sentence := _number_sentence(name, summary, features.numbers[name]))
    ]
    sentences += [
        sentence
        for name, counts in fingerprint.categories.items()
        if (sentence := _name_sentence(name, counts, features.names.get(name, UNKNOWN)))
    ]
    distance = fingerprint.distance.of(features.numbers) if fingerprint.distance else None
    if fingerprint.distance and distance is not None and distance > fingerprint.distance.threshold:
        sentences.append(
            f"unusual combination of values, at a distance of {distance:.1f}; "
            f"99 % of the scans trained on are within {fingerprint.distance.threshold:.1f}"
        )
    return tuple(sentences)


def _number_sentence(name: str, summary: NumberSummary, value: float) -> str:
    margin = MARGIN * (summary.maximum - summary.minimum) + 1e-6
    if summary.minimum - margin <= value <= summary.maximum + margin:
        return ""
    title, unit, digits = NUMBERS[name]
    low, high, own = (_number(number, digits) for number in (summary.minimum, summary.maximum, value))
    unit = f" {unit}" if unit else ""
    return f"{title} of {own}{unit}; trained on {low if low == high else f'{low} to {high}'}{unit}"


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _name_sentence(name: str, counts: Mapping[str, int], value: str) -> str:
    if value == UNKNOWN or value in counts:
        return ""
    names = sorted((each for each in counts if each not in (UNKNOWN, OTHER)), key=lambda each: (-counts[each], each))
    if not names:  # all are merged: it may be among them
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    mostly = "mostly " if OTHER in counts else ""
    return f"{CATEGORIES[name]} {value}; trained {mostly}on {', '.join(names[:LISTED])}{more}"
