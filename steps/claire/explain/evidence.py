"""Evidence for the gates, measured on the validation scans of a fold under the explained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from claire.core.command.documents import finite
from claire.core.command.progress import progress
from claire.core.contracts.gates import SHARES, Evidence
from claire.core.contracts.lesions import InsertionAudit
from claire.core.imaging.opacities import smooth, smooth_in_lung, widen
from claire.core.statistics.decisions import decide, operating_points, positive_score
from claire.core.statistics.intervals import by_patient
from claire.explain.insertion import all_set_in, audit, implants, to_view
from claire.explain.lesions.candidates import whole_lesions
from claire.explain.lesions.interventions import Removals, make_infills
from claire.explain.probe import Case, Cases, Probe, log_odds_of, probabilities
from claire.explain.refine import ChosenNetwork

#: Labels of what is filled: all opacities, as much random lung, as much of the next-densest lung.
OPACITIES, RANDOM, DENSE = 1, 2, 3
#: Quantile of the true negatives' log-odds that healed scans should stay below.
TN_QUANTILE = 0.90
#: Log-odds that differ by less are equal.
TIE = 1e-6
#: Standard deviation of the noise whose peaks are random lung, in mm.
BLOB_MM = 12.0


class Filled(NamedTuple):
    """A validation scan filled in three ways: log-odds without opacities, and whether each filling turns the call."""

    odds: float
    empty: bool
    by_random: bool
    by_dense: bool
    judge: float


class Measured(NamedTuple):
    """The evidence of a fold; `healed_odds`: median log-odds of its healed scans, None if none was measured."""

    evidence: Evidence
    healed_odds: float | None
    insertion: InsertionAudit | None


def measure_evidence(
    chosen: ChosenNetwork,
    judge: Probe | None,
    cases: Cases,
    guards_fired: tuple[str, ...] | None,
    places: int,
    seed: int,
) -> Measured:
    """Measure every gate's evidence on the validation scans. Each patient counts once, with the mean of the scans."""
    called = chosen.decide(chosen.logits) > 0
    patients = np.array([scan.patient for scan in chosen.validation], str)
    judge_point = None if judge is None else _operating_point(judge, chosen, cases)
    filled = [
        _fill(chosen, (judge, judge_point), cases.get(scan), bool(called[i]), np.random.default_rng([seed, i]))
        for i, scan in enumerate(progress(chosen.validation, "validation scans healed"))
    ]
    odds, empty, by_random, by_dense, judged = np.array(filled, float).reshape(len(filled), len(Filled._fields)).T
    true_negative = ~called & ~chosen.positive
    shares: dict[str, np.ndarray] = {
        "empty_lung": _shares(empty, called, patients),
        "control_random": _shares(by_random, called, patients),
        "control_dense": _shares(by_dense, called, patients),
        "negatives_stay": _shares(empty, ~called, patients),
    }
    reasons = {}
    if true_negative.any():
        limit = float(np.quantile(-log_odds_of(chosen.logits[true_negative], 0), TN_QUANTILE))
        shares["healed_odds"] = _shares(odds <= limit + TIE, called, patients)
    else:
        reasons["healed_odds"] = "no true negative among the validation scans"
    if judge is None:
        reasons["flips_judge"] = "no judge was given (--judge)"
    else:
        shares["flips_judge"] = _shares(judged, called & np.isfinite(judged), patients)
    shares["insertion"], insertion = _insertions(chosen, cases, called, patients, places, seed)
    evidence = Evidence(
        auc=finite(chosen.auc),
        positives=len(set(patients[chosen.positive])),
        negatives=len(set(patients[~chosen.positive])),
        shares={name: tuple(round(float(value), 4) for value in shares[name]) for name in SHARES if name in shares},
        reasons=reasons,
        guards_fired=guards_fired,
    )
    return Measured(evidence, float(np.median(odds)) if len(odds) else None, insertion)


def _shares(hits: np.ndarray, rows: np.ndarray, patients: np.ndarray) -> np.ndarray:
    return by_patient(np.asarray(hits[rows], float), patients[rows]) if rows.any() else np.zeros(0)


def _operating_point(judge: Probe, chosen: ChosenNetwork, cases: Cases) -> float | None:
    logits = np.array([judge.scan_logits(cases.get(scan)) for scan in chosen.validation])
    if logits.shape[-1] > 2:
        return None
    return operating_points(positive_score(probabilities(logits)), chosen.positive)[0]


def _fill(
    chosen: ChosenNetwork,
    judge: tuple[Probe | None, float | None],
    case: Case,
    called: bool,
    rng: np.random.Generator,
) -> Filled:
    """Fill all opacities of a scan, and, if it is called positive, as much random and dense lung."""
    labels = _labels(case, called, rng)
    infills = make_infills(case, labels == OPACITIES, rng)
    removals = Removals(chosen.probe, case, labels, infills)
    sets = [frozenset({label}) for label in ((OPACITIES, RANDOM, DENSE) if called else (OPACITIES,))]
    logits = removals.mean_logits([frozenset(), *sets])
    decided = chosen.decide(logits)
    turned = [bool((decision > 0) != called) for decision in decided[1:]]
    empty, by_random, by_dense = [*turned, False, False][:3]
    odds = float(-log_odds_of(logits[1:2], 0)[0])
    return Filled(odds, empty, by_random, by_dense, _judged(judge, case, labels, infills, called))


def _labels(case: Case, called: bool, rng: np.random.Generator) -> np.ndarray:
    opacity = widen(whole_lesions(case) > 0) & (case.prepared_lungs > 0)
    labels = np.where(opacity, OPACITIES, 0).astype(np.int16)
    if called:
        count = int(opacity.sum())
        noise = smooth(rng.standard_normal(labels.shape, dtype=np.float32), case.spacing_mm, BLOB_MM)
        dense = smooth_in_lung(case.prepared_hu, case.prepared_lungs, case.spacing_mm)
        for label, values in ((DENSE, dense), (RANDOM, noise)):
            free = (case.prepared_lungs > 0) & (labels == 0)
            labels[_largest(values, free, min(count, int(free.sum()) // (2 if label == DENSE else 1)))] = label
    return labels


def _largest(values: np.ndarray, free: np.ndarray, count: int) -> np.ndarray:
    """Return the mask of the `count` free voxels with the largest values."""
    index = np.flatnonzero(free)
    mask = np.zeros(values.size, bool)
    mask[index[np.argsort(-values.ravel()[index], kind="stable")[:count]]] = True
    return mask.reshape(values.shape)


def _judged(
    judge: tuple[Probe | None, float | None],
    case: Case,
    labels: np.ndarray,
    infills: Mapping[str, np.ndarray],
    called: bool,
) -> float:
    """Return whether filling the opacities turns the judge's call, 1 or 0; NaN where it does not share the call."""
    probe, point = judge
    if probe is None or not called:
        return float("nan")
    removals = Removals(probe, case, np.where(labels == OPACITIES, OPACITIES, 0), infills)
    before, after = decide(probabilities(removals.mean_logits([frozenset(), frozenset({OPACITIES})])), point)
    return float(after == 0) if before != 0 else float("nan")


def _insertions(
    chosen: ChosenNetwork, cases: Cases, called: np.ndarray, patients: np.ndarray, places: int, seed: int
) -> tuple[np.ndarray, InsertionAudit | None]:
    """Return, by patient called negative, whether a donor's opacities turn the call; and the audit of single ones."""
    rng = np.random.default_rng([seed, 1])
    donors = [scan for scan, take in zip(chosen.validation, called & chosen.positive, strict=True) if take]
    negative = np.flatnonzero(~called & ~chosen.positive)

    def judge(case: Case, views: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        logits = chosen.probe.evaluate(views, case.lungs)
        return -log_odds_of(logits, 0), np.asarray(chosen.decide(logits) > 0)

    turned, lesions_of = np.zeros(len(called)), [implants(cases.get(donor)) for donor in donors]
    for i in negative if donors else ():
        lesions = lesions_of[int(rng.integers(len(donors)))]
        case = cases.get(chosen.validation[i])
        turned[i] = float(judge(case, [to_view(case, all_set_in(case, lesions))])[1][0])
    rows = np.zeros(len(called), bool)
    rows[negative] = bool(donors)
    recipients = [cases.loader(chosen.validation[i]) for i in negative]
    pool = [lesion for lesions in lesions_of for lesion in lesions]
    return _shares(turned, rows, patients), audit(recipients, pool, judge, places, rng)
