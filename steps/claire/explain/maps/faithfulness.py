"""How faithful a ranking of lesions is to the network: deletion and insertion of whole lesions.

Both are relative to the network's own answers for the scan as it is and without any lesion: voxel by voxel, against a
baseline that the network does not call healthy, such curves measured the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy import ndimage

from claire.core.command.documents import finite
from claire.core.contracts.lesions import METHODS, MethodFigures, Outcome
from claire.core.contracts.metrics import Figure
from claire.core.statistics.intervals import NONE, by_patient, percentile
from claire.explain.probe import Case, log_odds_of

SAMPLES = 1000
BASELINE = "hu_smoothed"
#: Limits of a normalised score: a scan whose answers overshoot counts no more than this.
OVERSHOOT = (-0.5, 1.5)


class Answers(Protocol):
    """The logits of a scan without any set of its candidates."""

    def mean_logits(self, removed: Sequence[frozenset[int]]) -> np.ndarray:
        """Return (sets, classes), the mean over infills."""
        ...


class ScanCurves(NamedTuple):
    """How faithful the methods are on one scan: (deletion, insertion) by method."""

    patient: str
    outcome: Outcome
    areas: Mapping[str, tuple[float, float]]


def lesion_scores(labels: np.ndarray, count: int, maps: Mapping[str, np.ndarray], case: Case) -> dict[str, np.ndarray]:
    """Return the score (count,) of each candidate by method: the sum of the positive map inside it.

    Of the random map it is the mean: its sum would be the volume.
    `labels`: (kept slices, rows, columns), 1 … count; `maps`: on the view's grid.
    """
    seen = case.projection.labels(labels)
    ids = np.arange(1, count + 1)
    totals = {name: ndimage.sum_labels(np.maximum(values, 0), seen, ids) for name, values in maps.items()}
    voxels = np.maximum(ndimage.sum_labels(np.ones(seen.shape), seen, ids), 1)
    return {name: np.asarray(total / voxels if name == "random" else total) for name, total in totals.items()}


def curves(
    answers: Answers, scores: Mapping[str, np.ndarray], everything: frozenset[int], target: int
) -> dict[str, tuple[float, float]]:
    """Return (deletion, insertion) of each method, areas under the normalised log-odds over the share of lesions.

    Lesions are removed in the order of a method's scores, 1 being the log-odds z of the scan and 0 those without
    `everything`, which goes last with what is not ranked: low is good (Petsiuk 2018). Insertion restores them in the
    same order: high is good. Empty where z does not fall when everything is removed.
    """
    count = len(next(iter(scores.values())))
    full, empty = log_odds_of(answers.mean_logits([frozenset(), everything]), target)
    if full <= empty or count < 2:
        return {}
    areas = {}
    for name, values in scores.items():
        order = [int(i) + 1 for i in np.argsort(-values, kind="stable")]
        tops = [*(frozenset(order[:k]) for k in range(count)), everything]
        removed = _normalised(answers, tops, target, full, empty)
        restored = _normalised(answers, [everything - top for top in tops], target, full, empty)
        areas[name] = float(np.trapezoid(removed) / count), float(np.trapezoid(restored) / count)
    return areas


def _normalised(
    answers: Answers, removed: Sequence[frozenset[int]], target: int, full: float, empty: float
) -> np.ndarray:
    odds = log_odds_of(answers.mean_logits(removed), target)
    return np.clip((odds - empty) / (full - empty), *OVERSHOOT)


def summarise(scans: Sequence[ScanCurves], seed: int) -> list[MethodFigures]:
    """Return the figures of each method and outcome (TP, FP): means with 95 % bootstrap intervals over patients.

    Each patient counts once, with the mean over the patient's scans; `n` is the number of patients. `gain_over_hu`:
    by how much insertion − deletion exceeds that of smoothed HU.
    """
    outcomes: tuple[Outcome, Outcome] = ("TP", "FP")
    return [
        _method_figures(name, outcome, of_outcome, seed)
        for outcome in outcomes
        if (of_outcome := [scan for scan in scans if scan.outcome == outcome and scan.areas])
        for name in METHODS
        if name in of_outcome[0].areas
    ]


def _method_figures(name: str, outcome: Outcome, scans: Sequence[ScanCurves], seed: int) -> MethodFigures:
    patients = [scan.patient for scan in scans]
    areas = by_patient(np.array([scan.areas[name] for scan in scans]), patients)
    gains = [_score(scan.areas[name]) - _score(scan.areas[BASELINE]) for scan in scans]
    return MethodFigures(
        method=name,
        outcome=outcome,
        n=len(areas),
        deletion_auc=_figure(areas[:, 0], seed),
        insertion_auc=_figure(areas[:, 1], seed),
        gain_over_hu=None if name == BASELINE else _figure(by_patient(np.array(gains), patients), seed),
    )


def _score(pair: tuple[float, float]) -> float:
    return pair[1] - pair[0]


def _figure(values: np.ndarray, seed: int) -> Figure:
    drawn = np.random.default_rng(seed).integers(len(values), size=(SAMPLES, len(values)))
    lower, upper = percentile(values[drawn].mean(1)) if len(values) > 1 else NONE
    return Figure(value=finite(float(values.mean()), 4), lower=finite(lower, 4), upper=finite(upper, 4))
