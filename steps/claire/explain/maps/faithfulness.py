"""How faithful a saliency map is to the network: deletion and insertion with a fresh draw of lung noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from claire.core.command.documents import finite
from claire.core.contracts.lesions import MethodFigures, Outcome
from claire.core.contracts.metrics import Figure
from claire.core.statistics.intervals import NONE, by_patient, percentile
from claire.explain.probe import Case, Probe, probabilities

#: Shares of the lung, the strongest voxels first, at which the probability is measured.
SHARES = (0.02, 0.08, 0.25)
SAMPLES = 1000
BASELINE = "hu_smoothed"


class ScanCurves(NamedTuple):
    """How faithful the methods are on one scan: (deletion, insertion) by method."""

    patient: str
    outcome: Outcome
    areas: Mapping[str, tuple[float, float]]


def curves(
    probe: Probe, case: Case, maps: Mapping[str, np.ndarray], noise: np.ndarray, target: int
) -> dict[str, tuple[float, float]]:
    """Return (deletion, insertion) of each map: mean probability of `target` over the lung's share, both in 0…1.

    Deletion replaces the strongest lung voxels by `noise` (local lung noise, (slices, size, size) HU): low is good.
    Insertion starts from lungs of noise and restores the strongest voxels: high is good (Petsiuk 2018).
    """
    fill, inside = torch.from_numpy(np.asarray(noise, np.float32)), case.lungs
    all_noise = torch.where(inside, fill, case.hu)
    removed = {name: [inside & mask for mask in strongest(values, inside.numpy())] for name, values in maps.items()}
    volumes = [case.hu, all_noise]
    for masks in removed.values():
        volumes += [torch.where(mask, fill, case.hu) for mask in masks]
        volumes += [torch.where(mask, case.hu, all_noise) for mask in masks]
    probability = probabilities(probe.evaluate(volumes, inside, coarse=True))[:, target]
    count, areas = len(SHARES), {}
    for i, name in enumerate(removed):
        start = 2 + 2 * count * i
        areas[name] = (
            _area(probability[0], probability[start : start + count]),
            _area(probability[1], probability[start + count : start + 2 * count]),
        )
    return areas


def strongest(values: np.ndarray, inside: np.ndarray) -> list[torch.Tensor]:
    """Return a mask for each of `SHARES`: that share of the voxels `inside`, those with the largest `values`."""
    lung_indices = np.flatnonzero(inside)
    order = lung_indices[np.argsort(-values.ravel()[lung_indices], kind="stable")]
    masks = []
    for share in SHARES:
        mask = np.zeros(inside.size, bool)
        mask[order[: round(share * len(order))]] = True
        masks.append(torch.from_numpy(mask.reshape(inside.shape)))
    return masks


def _area(first: float, chances: np.ndarray) -> float:
    grid = np.array([0.0, *SHARES])
    return float(np.trapezoid([first, *chances], grid) / grid[-1])


def ranked_map(labels: np.ndarray, delta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the map of an intervention ranking: Δ in each lesion of the label map, with ties broken at random."""
    values = np.concatenate([[0.0], delta])[labels]
    scale = max(float(np.abs(delta).max(initial=0)), 1e-6)
    return np.asarray(values + 1e-6 * scale * rng.random(labels.shape))


def summarise(scans: Sequence[ScanCurves], seed: int) -> list[MethodFigures]:
    """Return the figures of each method and outcome (TP, FP): means with 95 % bootstrap intervals over patients.

    Each patient counts once, with the mean over the patient's scans; `n` is the number of patients. `gain_over_hu`:
    by how much insertion − deletion exceeds that of smoothed HU.
    """
    outcomes: tuple[Outcome, Outcome] = ("TP", "FP")
    return [
        _method_figures(name, outcome, of_outcome, seed)
        for outcome in outcomes
        if (of_outcome := [scan for scan in scans if scan.outcome == outcome])
        for name in of_outcome[0].areas
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
