"""Whether the healing is reliable: gates that fail closed, judged by the conservative end of a 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from claire.core.command.documents import finite
from claire.core.contracts.lesions import Gate
from claire.core.statistics.intervals import NONE, Limits, percentile, wilson
from claire.explain.refine import FEWEST

SAMPLES = 2000
TN_QUANTILE = 0.90
FLIPS, JUDGE_FLIPS, CONTROL_FLIPS, NEGATIVE_MASK = 0.90, 0.80, 0.10, 0.01

#: (statement, threshold) by gate; a threshold of None is measured or not evaluated.
GATES: dict[str, tuple[str, float | None]] = {
    "healed_odds": ("the median healed log-odds are at most the 90th percentile of true negatives", None),
    "flips": ("healing turns at least 90 % of the decisions", FLIPS),
    "flips_judge": (
        "healing turns at least 80 % of the decisions of a network that the healer never saw",
        JUDGE_FLIPS,
    ),
    "control_random": ("healing an equal volume of random lung turns at most 10 %", CONTROL_FLIPS),
    "control_dense": ("healing an equal volume of the next-densest lung turns at most 10 %", CONTROL_FLIPS),
    "negative_mask": ("the mask covers at most 1 % of the lungs of scans called negative", NEGATIVE_MASK),
    "shortcut_guards": ("the guards against shortcuts are silent", None),
}


@dataclass(frozen=True)
class Healed:
    """What healing did on validation, under one network; arrays hold one entry per patient, the mean of the scans.

    Of scans that the network calls positive: `flipped` (healing turns the decision), `healed` log-odds, `by_random` and
    `by_dense` (healing an equal volume elsewhere turns it) and `judge` (healing turns the decision of a network that
    the healer never saw; None without one). `negative_odds`: log-odds of true negatives. `negative_mask`: share of the
    lungs that the mask covers in scans called negative.
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
        return [_closed(name, reason) for name in GATES]
    return [
        _healed_odds(healed, seed),
        _share("flips", healed.flipped, at_least=True),
        _judge(healed.judge),
        _share("control_random", healed.by_random, at_least=False),
        _share("control_dense", healed.by_dense, at_least=False),
        _negative_mask(healed.negative_mask, seed),
        _closed("shortcut_guards", "not evaluated in this version"),
    ]


def may_propose(measured: Sequence[Gate]) -> bool:
    """Return whether the mask stays off the scans called negative (by the measured share, regardless of its interval).

    A mask that covers them cannot propose lesions; one that does not may propose, since the interventions decide.
    """
    return any(
        gate.name == "negative_mask" and gate.n > 0 and gate.value is not None and gate.value <= NEGATIVE_MASK
        for gate in measured
    )


def reliable(measured: Sequence[Gate]) -> bool:
    """Return whether every gate is open."""
    return bool(measured) and all(gate.open for gate in measured)


def _closed(name: str, reason: str) -> Gate:
    statement, threshold = GATES[name]
    return Gate(
        name=name,
        statement=f"{statement}; closed: {reason}",
        value=None,
        lower=None,
        upper=None,
        threshold=threshold,
        n=0,
        open=False,
    )


def _gate(name: str, value: float, limits: Limits, n: int, at_least: bool, threshold: float | None = None) -> Gate:
    """Judge by the conservative limit: the lower if the value must be `at_least` the threshold, else the upper."""
    statement, fixed = GATES[name]
    threshold = fixed if threshold is None else threshold
    lower, upper = limits
    holds = threshold is not None and (lower >= threshold if at_least else upper <= threshold)
    reason = ""
    if n < FEWEST:
        reason = f"n={n} < {FEWEST}"
    elif not holds:
        reason = f"the {'lower' if at_least else 'upper'} 95 % limit misses it"
    return Gate(
        name=name,
        statement=f"{statement}; closed: {reason}" if reason else statement,
        value=finite(value),
        lower=finite(lower),
        upper=finite(upper),
        threshold=threshold,
        n=n,
        open=not reason,
    )


def _share(name: str, hits: np.ndarray, at_least: bool) -> Gate:
    n = len(hits)
    value = float(np.mean(hits)) if n else float("nan")
    return _gate(name, value, wilson(value, n), n, at_least)


def _judge(hits: np.ndarray | None) -> Gate:
    if hits is None:
        return _closed("flips_judge", "no judge was given (--judge)")
    return _share("flips_judge", hits, at_least=True)


def _healed_odds(healed: Healed, seed: int) -> Gate:
    n = min(len(healed.healed), len(healed.negative_odds))
    if not n:
        return _gate("healed_odds", float("nan"), NONE, 0, at_least=False)
    threshold = float(np.quantile(healed.negative_odds, TN_QUANTILE))
    limits = _bootstrap(healed.healed, np.median, seed)
    return _gate("healed_odds", float(np.median(healed.healed)), limits, n, False, threshold)


def _negative_mask(shares: np.ndarray, seed: int) -> Gate:
    n = len(shares)
    if not n:
        return _gate("negative_mask", float("nan"), NONE, 0, at_least=False)
    return _gate("negative_mask", float(shares.mean()), _bootstrap(shares, np.mean, seed), n, at_least=False)


def _bootstrap(values: np.ndarray, statistic: Callable[..., np.ndarray], seed: int) -> Limits:
    drawn = np.random.default_rng(seed).integers(len(values), size=(SAMPLES, len(values)))
    return percentile(statistic(values[drawn], axis=1))
