"""Whether the healing may be believed: gates that fail closed, judged by the cautious end of a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from claire.core.statistics.intervals import percentile, wilson
from claire.core.statistics.ranking import auc

FEWEST = 20
SAMPLES = 2000
TN_QUANTILE = 0.90
FLIPS, JUDGE_FLIPS, CONTROL_FLIPS, NEGATIVE_MASK, AUC_LOSS = 0.90, 0.80, 0.10, 0.01, 0.02


@dataclass(frozen=True)
class Gate:
    """One condition: `open` where the cautious limit of `value` keeps the `threshold`, on `FEWEST` patients or more.

    `statement` says in words what is asked and, of a closed gate, why it is closed.
    """

    name: str
    statement: str
    value: float | None
    lower: float | None
    upper: float | None
    threshold: float | None
    n: int
    open: bool

    def document(self) -> dict[str, Any]:
        """Return the gate as plain JSON values: NaN becomes null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Healed:
    """What healing did on validation, under one network; arrays hold one entry a patient, the mean of the scans.

    `called`: n scans that the network calls positive: `flipped` (healing turns the decision), `judge` (and that of a
    network that the healer never saw; None without one), `by_random` and `by_dense` (healing an equal volume elsewhere
    turns it), `healed` log-odds. `negative_odds`: log-odds of true negatives. `negative_mask`: share of the lungs that
    the mask covers in scans called negative.
    """

    flipped: np.ndarray
    healed: np.ndarray
    by_random: np.ndarray
    by_dense: np.ndarray
    negative_odds: np.ndarray
    negative_mask: np.ndarray
    judge: np.ndarray | None = None


def gates(healed: Healed | None, seed: int, reason: str = "") -> list[Gate]:
    """Return all gates; without a healer (`healed` None) each is closed for `reason`."""
    if healed is None:
        return [_closed(name, words, threshold, reason) for name, words, threshold in _ASKED]
    return [
        _healed_odds(healed, seed),
        _share("flips", healed.flipped, at_least=True),
        _judge(healed.judge),
        _share("control_random", healed.by_random, at_least=False),
        _share("control_dense", healed.by_dense, at_least=False),
        _negative_mask(healed.negative_mask, seed),
        _closed(*_ASKED[-1], "not evaluated in this version"),
    ]


def may_propose(found: Sequence[Gate]) -> bool:
    """Return whether the mask stays off the scans called negative (the measured share, whatever its interval).

    A mask that does not is no proposal of lesions; one that does may propose, since the interventions decide.
    """
    return any(gate.name == "negative_mask" and (gate.value or 0) <= NEGATIVE_MASK and gate.n for gate in found)


def reliable(found: Sequence[Gate]) -> bool:
    """Return whether every gate is open."""
    return bool(found) and all(gate.open for gate in found)


_ASKED = (
    ("healed_odds", "the median healed log-odds are at most the 90th percentile of true negatives", None),
    ("flips", "healing turns at least 90 % of the decisions", FLIPS),
    ("flips_judge", "healing turns at least 80 % of the decisions of a network that the healer never saw", JUDGE_FLIPS),
    ("control_random", "healing an equal volume of random lung turns at most 10 %", CONTROL_FLIPS),
    ("control_dense", "healing an equal volume of the next-densest lung turns at most 10 %", CONTROL_FLIPS),
    ("negative_mask", "the mask covers at most 1 % of the lungs of scans called negative", NEGATIVE_MASK),
    ("shortcut_guards", "the guards against shortcuts are silent", None),
)
_WORDS = {name: (words, threshold) for name, words, threshold in _ASKED}


def _closed(name: str, words: str, threshold: float | None, reason: str) -> Gate:
    return Gate(name, f"{words}; closed: {reason}", None, None, None, threshold, 0, False)


def _gate(
    name: str, value: float, limits: tuple[float, float], n: int, at_least: bool, threshold: float | None = None
) -> Gate:
    """Judge by the cautious limit: the lower one where `at_least` the threshold is asked, else the upper one."""
    words, fixed = _WORDS[name]
    threshold = fixed if threshold is None else threshold
    cautious = limits[0] if at_least else limits[1]
    kept = threshold is not None and (cautious >= threshold if at_least else cautious <= threshold)
    reason = ""
    if n < FEWEST:
        reason = f"n={n} < {FEWEST}"
    elif not kept:
        reason = f"the {'lower' if at_least else 'upper'} 95 % limit misses it"
    return Gate(name, f"{words}; closed: {reason}" if reason else words, value, *limits, threshold, n, not reason)


def _share(name: str, hits: np.ndarray, at_least: bool) -> Gate:
    n = len(hits)
    value = float(np.mean(hits)) if n else float("nan")
    return _gate(name, value, wilson(value, n), n, at_least)


def _judge(hits: np.ndarray | None) -> Gate:
    if hits is None:
        return _closed("flips_judge", *_WORDS["flips_judge"], "no judge was given (--judge)")
    return _share("flips_judge", hits, at_least=True)


def _healed_odds(healed: Healed, seed: int) -> Gate:
    n = min(len(healed.healed), len(healed.negative_odds))
    if not n:
        return _gate("healed_odds", float("nan"), (float("nan"),) * 2, 0, at_least=False)
    threshold = float(np.quantile(healed.negative_odds, TN_QUANTILE))
    limits = _bootstrap(healed.healed, np.median, seed)
    return _gate("healed_odds", float(np.median(healed.healed)), limits, n, False, threshold)


def _negative_mask(shares: np.ndarray, seed: int) -> Gate:
    n = len(shares)
    if not n:
        return _gate("negative_mask", float("nan"), (float("nan"),) * 2, 0, at_least=False)
    return _gate("negative_mask", float(shares.mean()), _bootstrap(shares, np.mean, seed), n, at_least=False)


def _bootstrap(values: np.ndarray, statistic: Any, seed: int) -> tuple[float, float]:
    drawn = np.random.default_rng(seed).integers(len(values), size=(SAMPLES, len(values)))
    return percentile(statistic(values[drawn], axis=1))


@dataclass(frozen=True)
class Refinement:
    """Whether the refined network is taken, and why: AUC on validation before and after, upper limit of its loss."""

    taken: bool
    reason: str
    steps: int
    auc_before: float | None = None
    auc_after: float | None = None
    loss_upper: float | None = None
    n: int = 0


def judge_refinement(
    before: np.ndarray, after: np.ndarray, positive: np.ndarray, patient: np.ndarray, steps: int, seed: int
) -> Refinement:
    """Take a refined network unless the upper 95 % limit of its AUC loss exceeds `AUC_LOSS` (paired patient bootstrap).

    `before`, `after`: scores (scans,); `positive`, `patient`: the same length. Fewer than `FEWEST` scans: not taken.
    """
    n, areas = len(before), (auc(before, positive), auc(after, positive))
    if n < FEWEST or not math.isfinite(areas[0]):
        return Refinement(False, too_few(n), steps, n=n)
    upper = _loss_limit(before, after, positive, patient, seed)
    taken = upper <= AUC_LOSS
    reason = f"upper 95 % limit of the AUC loss {upper:.3f}, at most {AUC_LOSS} allowed"
    return Refinement(taken, reason, steps, areas[0], areas[1], upper, n)


def too_few(n: int) -> str:
    """Return why nothing can be judged on `n` validation scans."""
    return f"n={n} < {FEWEST} validation scans: that it does no harm could not be shown"


def _loss_limit(before: np.ndarray, after: np.ndarray, positive: np.ndarray, patient: np.ndarray, seed: int) -> float:
    rng, losses = np.random.default_rng(seed), []
    members = [np.flatnonzero(patient == one) for one in np.unique(patient)]
    for _ in range(SAMPLES // 4):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        losses.append(auc(before[rows], positive[rows]) - auc(after[rows], positive[rows]))
    finite = np.array(losses)[np.isfinite(losses)]
    return float(np.quantile(finite, 0.95)) if len(finite) else math.inf
