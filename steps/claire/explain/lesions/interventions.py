"""Which lesions decided: each is removed by an infill, and the effect on the network is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
import torch
from scipy import ndimage

from claire.explain.lesions.candidates import Candidates, opacities, smooth
from claire.explain.probe import Case, Probe, log_odds_of, probabilities

#: Standard deviation in mm of the neighbourhood from which the mean and noise of a hole are estimated.
NEIGHBOURHOOD_MM = 15.0
NOISE_MM = 1.5
HEALTHY_HU = -850.0
#: Infills that do not come from the network's own counterfactual: only these determine Δ and the ranking.
INDEPENDENT = ("constant", "noise")
#: Two lesions tie where their Δ differ by less than this share of the larger one.
TIE = 0.05

Query = tuple[str, frozenset[int]]


@dataclass(frozen=True)
class Effects:
    """What removing candidates does to the log-odds z of the explained class; columns are candidates in label order.

    `necessity` = z(scan) − z(without it), `sufficiency` = z(without all others) − z(without all), each an array
    (candidates,) by infill; `probability` (candidates,) = p(scan) − p(without it), mean over independent infills.
    """

    necessity: Mapping[str, np.ndarray]
    sufficiency: Mapping[str, np.ndarray]
    probability: np.ndarray

    def by_infill(self) -> dict[str, np.ndarray]:
        """Return ½ (necessity + sufficiency), (candidates,), by infill."""
        return {name: (self.necessity[name] + self.sufficiency[name]) / 2 for name in self.necessity}

    def delta(self, infills: Sequence[str] = INDEPENDENT) -> np.ndarray:
        """Return Δ (candidates,): the mean over `infills`."""
        by_infill = self.by_infill()
        return np.asarray(np.mean([by_infill[name] for name in infills], axis=0))


def lung_statistics(case: Case, avoid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the local mean and standard deviation of clean lung HU, each (slices, size, size).

    Clean is lung that is not opacity and does not touch `avoid`; the neighbourhood is Gaussian (normalised convolution,
    Knutsson 1993). Where there is no clean lung nearby, the clean lung of the whole scan is used.
    """
    view = case.view
    clean = (view.lungs > 0) & ~opacities(view) & ~widen(avoid)
    values = view.hu[clean] if clean.any() else np.array([HEALTHY_HU], np.float32)
    mean, spread = float(values.mean()), float(values.std())
    weight = smooth(clean, view, NEIGHBOURHOOD_MM) + 1e-3
    local = (smooth(np.where(clean, view.hu, 0), view, NEIGHBOURHOOD_MM) + 1e-3 * mean) / weight
    squares = smooth(np.where(clean, (view.hu - local) ** 2, 0), view, NEIGHBOURHOOD_MM) + 1e-3 * spread**2
    return local.astype(np.float32), np.sqrt(squares / weight).astype(np.float32)


def widen(mask: np.ndarray) -> np.ndarray:
    """Return a mask widened by one voxel in plane: a lesion's rim is part of it."""
    return np.asarray(ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 1)[1:2]))


def make_infills(case: Case, avoid: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the lungs without lesions, (slices, size, size) float32 HU, by infill.

    `constant`: the local mean of clean lung; `noise`: that mean plus smooth noise of the local spread.
    """
    mean, spread = lung_statistics(case, avoid)
    noise = smooth(rng.standard_normal(mean.shape), case.view, NOISE_MM)
    return {"constant": mean, "noise": mean + spread * noise / max(float(noise.std()), 1e-6)}


def removal_labels(candidates: Candidates, case: Case) -> np.ndarray:
    """Return the label map to remove: each candidate with an in-plane rim of one voxel, within the lungs."""
    rim = ndimage.maximum_filter(candidates.labels, footprint=ndimage.generate_binary_structure(3, 1)[1:2])
    widened = np.where(candidates.labels > 0, candidates.labels, rim)
    return np.where(case.view.lungs > 0, widened, 0)


class Removals:
    """A network's logits for a scan with any set of its candidates removed by any infill; each is computed once.

    For networks that embed slices one by one, a slice is embedded only once for each way in which it is altered.
    """

    def __init__(self, probe: Probe, case: Case, labels: np.ndarray, infills: Mapping[str, np.ndarray]) -> None:
        self._probe, self._case, self.infills = probe, case, tuple(infills)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels, np.int16))
        self._fills = {name: torch.from_numpy(np.asarray(fill, np.float32)) for name, fill in infills.items()}
        self._present = [frozenset(map(int, np.unique(labels[z]))) - {0} for z in range(len(labels))]
        self._known: dict[Query, np.ndarray] = {}
        self._embedded: dict[tuple[int, str, frozenset[int]], torch.Tensor] = {}
        self.evaluations = 0

    def logits(self, queries: Sequence[Query]) -> np.ndarray:
        """Return logits (queries, classes) for (infill, labels of the candidates removed) pairs."""
        normalised = [(name if removed else "", removed) for name, removed in queries]
        unseen = [query for query in dict.fromkeys(normalised) if query not in self._known]
        self.evaluations += len(unseen)
        if unseen:
            logits = self._evaluate_slicewise(unseen) if self._probe.slicewise else self._evaluate_whole(unseen)
            self._known |= dict(zip(unseen, logits, strict=True))
        return np.stack([self._known[query] for query in normalised])

    def _altered(self, query: Query, rows: slice = slice(None)) -> torch.Tensor:
        infill, removed = query
        if not removed:
            return self._case.hu[rows]
        mask = torch.isin(self._labels[rows], torch.tensor(sorted(removed), dtype=torch.int16))
        return torch.where(mask, self._fills[infill][rows], self._case.hu[rows])

    def _evaluate_whole(self, queries: Sequence[Query]) -> np.ndarray:
        return np.concatenate([self._probe.evaluate([self._altered(query)], self._case.lungs) for query in queries])

    def _evaluate_slicewise(self, queries: Sequence[Query]) -> np.ndarray:
        needed = [[self._slice_key(z, query) for z in range(len(self._present))] for query in queries]
        unseen = [key for key in dict.fromkeys(key for keys in needed for key in keys) if key not in self._embedded]
        slices = [self._altered((name, removed), slice(z, z + 1))[0] for z, name, removed in unseen]
        lungs = [self._case.lungs[z] for z, _, _ in unseen]
        self._embedded |= dict(zip(unseen, self._probe.embed(slices, lungs), strict=True))
        return self._probe.pool([torch.stack([self._embedded[key] for key in keys]) for keys in needed])

    def _slice_key(self, z: int, query: Query) -> tuple[int, str, frozenset[int]]:
        infill, removed = query
        removed_here = removed & self._present[z]
        return z, infill if removed_here else "", removed_here


def measure(removals: Removals, count: int, target: int) -> Effects:
    """Remove each of `count` candidates, all others, and all, by every infill."""
    everything = frozenset(range(1, count + 1))
    sets = [
        *(frozenset({label}) for label in sorted(everything)),
        *(everything - {label} for label in sorted(everything)),
    ]
    base = removals.logits([("", frozenset())])
    z, p = float(log_odds_of(base, target)[0]), probabilities(base)[0, target]
    necessity, sufficiency, probability_drops = {}, {}, []
    for name in removals.infills:
        logits = removals.logits([*((name, removed) for removed in sets), (name, everything)])
        odds = log_odds_of(logits, target)
        necessity[name] = z - odds[:count]
        sufficiency[name] = odds[count : 2 * count] - odds[-1]
        if name in INDEPENDENT:
            probability_drops.append(p - probabilities(logits)[:count, target])
    return Effects(necessity, sufficiency, np.mean(probability_drops, axis=0))


def ranks(effects: Effects, order: Sequence[str] = INDEPENDENT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rank, lowest, highest), each (candidates,) from 1: by Δ over `order`, and over all single infills."""
    rank = _ranked(effects.delta(order))
    every = np.stack([rank, *(_ranked(values) for values in effects.by_infill().values())])
    return rank, every.min(0), every.max(0)


def _ranked(values: np.ndarray) -> np.ndarray:
    rank = np.empty(len(values), int)
    rank[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return rank


def shapley(removals: Removals, count: int, target: int, infills: Sequence[str] = INDEPENDENT) -> np.ndarray:
    """Return exact Shapley values (1953) of the presence of `count` candidates for z: 2^count sets per infill."""
    players = range(1, count + 1)
    subsets = [frozenset(chosen) for size in range(count + 1) for chosen in combinations(players, size)]
    total = np.zeros(count)
    for name in infills:
        odds = log_odds_of(removals.logits([(name, frozenset(players) - present) for present in subsets]), target)
        value_of = dict(zip(subsets, odds, strict=True))
        for player in players:
            for present in subsets:
                if player not in present:
                    weight = factorial(len(present)) * factorial(count - len(present) - 1) / factorial(count)
                    total[player - 1] += weight * (value_of[present | {player}] - value_of[present])
    return total / len(infills)


def crucial_set(delta: np.ndarray, turned: Callable[[frozenset[int]], bool]) -> frozenset[int]:
    """Return the labels of the lesions without which the decision turns; empty if no set turns it.

    Lesions that support the decision (Δ > 0) are removed in the order of Δ until `turned` holds, then restored one by
    one, weakest first, as long as the decision stays turned. A lesion that ties with a member (`TIE`) and can
    replace it is included too. Lesions that oppose the decision are kept: removing them as well would reinforce it.
    """
    order = [int(index) + 1 for index in np.argsort(-delta, kind="stable") if delta[index] > 0]
    removed: list[int] = []
    while not (removed and turned(frozenset(removed))):
        if len(removed) == len(order):
            return frozenset()
        removed.append(order[len(removed)])
    for label in reversed(list(removed)):
        if len(removed) > 1 and turned(frozenset(removed) - {label}):
            removed.remove(label)
    chosen = frozenset(removed)
    return chosen | _ties(chosen, order, delta, turned)


def _ties(
    chosen: frozenset[int], order: Sequence[int], delta: np.ndarray, turned: Callable[[frozenset[int]], bool]
) -> frozenset[int]:
    def tied(first: int, second: int) -> bool:
        first_delta, second_delta = delta[first - 1], delta[second - 1]
        return bool(abs(first_delta - second_delta) <= TIE * max(abs(first_delta), abs(second_delta)))

    return frozenset(
        candidate
        for candidate in order
        for member in chosen
        if candidate not in chosen and tied(candidate, member) and turned((chosen - {member}) | {candidate})
    )
