"""The fingerprint of the cohort: summaries of what its scans are like."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.covariance import ledoit_wolf

from claire.bundle.inputs import Inputs
from claire.core.command.progress import progress
from claire.core.contracts.fingerprint import (
    CATEGORIES,
    NUMBERS,
    OTHER,
    Acquisition,
    Features,
    Fingerprint,
    NumberSummary,
    RobustDistance,
    measure_features,
)
from claire.core.privacy.cells import small_cells
from claire.core.statistics import FloatArray

#: Fewest patients from which a distance of scans is measured.
MIN_PATIENTS = 50
#: Share of the cohort's scans that are within the threshold, each measured from the scans of other patients.
WITHIN = 0.99
#: Scaled values count as at most this far from the middle.
CLIP = 8.0
#: Standard deviations of a normal distribution in a median absolute deviation.
_DEVIATIONS = 1.4826


def make_fingerprint(inputs: Inputs) -> Fingerprint:
    """Return the fingerprint of the cohort; the voxels of one scan are looked at at a time."""
    features, patients = [], []
    for scan in progress(inputs.cohort.scans, "scans measured"):
        hu, lungs = inputs.cohort.voxels(scan)
        acquisition = Acquisition.of_row(inputs.scans[scan.scan])
        features.append(measure_features(acquisition, np.asarray(hu), np.asarray(lungs), scan.spacing_mm))
        patients.append(scan.patient)
    return summarise(features, patients)


def summarise(features: Sequence[Features], patients: Sequence[str]) -> Fingerprint:
    """Return the fingerprint of scans, given their features and patients in the same order."""
    distance, note = _distance(features, patients)
    return Fingerprint(
        scans=len(features),
        patients=len(set(patients)),
        numbers={name: summary for name in NUMBERS if (summary := _summary(name, features))},
        categories={name: _count(name, features, patients) for name in CATEGORIES},
        distance=distance,
        note=note,
    )


def _summary(name: str, features: Sequence[Features]) -> NumberSummary | None:
    values = [each.numbers[name] for each in features if name in each.numbers]
    if not values:
        return None
    p1, median, p99 = np.percentile(values, (1, 50, 99))
    cells = {"minimum": min(values), "p1": p1, "median": median, "p99": p99, "maximum": max(values)}
    return NumberSummary(n=len(values), **{cell: round(float(value), 4) for cell, value in cells.items()})


def _count(name: str, features: Sequence[Features], patients: Sequence[str]) -> dict[str, int]:
    """Return the scans by value of a category; values of few patients are merged."""
    members: Mapping[str, set[str]] = defaultdict(set)
    for each, patient in zip(features, patients, strict=True):
        members[each.names[name]].add(patient)
    small = set(small_cells(members))
    counts = Counter(OTHER if each.names[name] in small else each.names[name] for each in features)
    return dict(sorted(counts.items()))


class _Frame(NamedTuple):
    """The middle of scans, the scale of each number, and the inverse of their covariance in these scales."""

    centre: FloatArray
    scale: FloatArray
    precision: FloatArray

    def distances(self, values: FloatArray) -> FloatArray:
        """Return the distance of each scan, (n,) from (n, numbers)."""
        z = np.clip((values - self.centre) / self.scale, -CLIP, CLIP)
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", z, self.precision, z)))


def _distance(features: Sequence[Features], patients: Sequence[str]) -> tuple[RobustDistance | None, str]:
    if len(set(patients)) < MIN_PATIENTS:
        return None, f"no distance: {len(set(patients))} patients, {MIN_PATIENTS} are needed"
    shared = [name for name in NUMBERS if all(name in each.numbers for each in features)]
    varying = [name for name in shared if len({each.numbers[name] for each in features}) > 1]
    if not varying:
        return None, "no distance: no number differs between scans"
    values = np.array([[each.numbers[name] for name in varying] for each in features])
    frame, patient = _fit(values), np.array(patients)
    left_out = np.zeros(len(values))
    for name in sorted(set(patients)):
        own = patient == name
        left_out[own] = _fit(values[~own]).distances(values[own])
    distance = RobustDistance(
        features=tuple(varying),
        centre=tuple(frame.centre.tolist()),
        scale=tuple(frame.scale.tolist()),
        precision=tuple(map(tuple, frame.precision.tolist())),
        clip=CLIP,
        threshold=float(np.quantile(left_out, WITHIN)),
        n=len(values),
    )
    return distance, ""


def _fit(values: FloatArray) -> _Frame:
    """Return medians, median absolute deviations and covariance, shrunk as by Ledoit and Wolf (2004), of scans."""
    centre = np.median(values, axis=0)
    spread = _DEVIATIONS * np.median(np.abs(values - centre), axis=0)
    deviation = values.std(axis=0)
    scale = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))
    covariance, _ = ledoit_wolf(np.clip((values - centre) / scale, -CLIP, CLIP), assume_centered=True)
    return _Frame(centre, scale, np.linalg.inv(covariance))
