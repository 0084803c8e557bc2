"""Which lesions decided: each is removed by an infill, and what that does to the network is measured."""

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

#: Standard deviation in mm of the neighbourhood from which a hole's mean and noise are taken.
NEIGHBOURHOOD_MM = 15.0
NOISE_MM = 1.5
HEALTHY_HU = -850.0
#: Infills that do not come from the network's own counterfactual: these alone make Δ and the order.
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

    Clean is lung that is no opacity and does not touch `avoid`; the neighbourhood is Gaussian (normalised convolution,
    Knutsson 1993). Where no clean lung is near, the whole scan's clean lung stands in.
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
    """Return lungs as they might be without lesions, (slices, size, size) float32 HU, by infill.

    `constant`: the local mean of clean lung; `noise`: that mean plus smooth noise of the local spread.
    """
    mean, spread = lung_statistics(case, avoid)
    noise = smooth(rng.standard_normal(mean.shape), case.view, NOISE_MM)
    return {"constant": mean, "noise": mean + spread * noise / max(float(noise.std()), 1e-6)}


def removal_labels(candidates: Candidates, case: Case) -> np.ndarray:
    """Return the label map that is cut out: each candidate with its rim of one voxel in plane, within the lungs."""
    rim = ndimage.maximum_filter(candidates.labels, footprint=ndimage.generate_binary_structure(3, 1)[1:2])
    widened = np.where(candidates.labels > 0, candidates.labels, rim)
    return np.where(case.view.lungs > 0, widened, 0)


class Removals:
    """A network's logits for a scan with any set of its candidates removed by any infill; each is computed once.

    Where a network embeds slices one by one, only slices that an earlier set did not show in the same form are seen.
    """

    def __init__(self, probe: Probe, case: Case, labels: np.ndarray, infills: Mapping[str, np.ndarray]) -> None:
        self._probe, self._case, self.infills = probe, case, tuple(infills)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels, np.int16))
        self._fills = {name: torch.from_numpy(np.asarray(fill, np.float32)) for name, fill in infills.items()}
        self._present = [frozenset(map(int, np.unique(labels[z]))) - {0} for z in range(len(labels))]
        self._known: dict[Query, np.ndarray] = {}
        self._embedded: dict[tuple[int, str, frozenset[int]], torch.Tensor] = {}
        self.asked = 0

    def logits(self, queries: Sequence[Query]) -> np.ndarray:
        """Return logits (queries, classes) for (infill, labels of the candidates removed) pairs."""
        clean = [(name if removed else "", removed) for name, removed in queries]
        new = [query for query in dict.fromkeys(clean) if query not in self._known]
        self.asked += len(new)
        if new:
            logits = self._pooled(new) if self._probe.slicewise else self._whole(new)
            self._known |= dict(zip(new, logits, strict=True))
        return np.stack([self._known[query] for query in clean])

    def _altered(self, query: Query, rows: slice = slice(None)) -> torch.Tensor:
        name, removed = query
        if not removed:
            return self._case.hu[rows]
        hole = torch.isin(self._labels[rows], torch.tensor(sorted(removed), dtype=torch.int16))
        return torch.where(hole, self._fills[name][rows], self._case.hu[rows])

    def _whole(self, queries: Sequence[Query]) -> np.ndarray:
        return np.concatenate([self._probe.evaluate([self._altered(query)], self._case.lungs) for query in queries])

    def _pooled(self, queries: Sequence[Query]) -> np.ndarray:
        needed = [[self._key(z, query) for z in range(len(self._present))] for query in queries]
        new = [key for key in dict.fromkeys(key for keys in needed for key in keys) if key not in self._embedded]
        slices = [self._altered((name, removed), slice(z, z + 1))[0] for z, name, removed in new]
        lungs = [self._case.lungs[z] for z, _, _ in new]
        self._embedded |= dict(zip(new, self._probe.embed(slices, lungs), strict=True))
        return self._probe.pool([torch.stack([self._embedded[key] for key in keys]) for keys in needed])

    def _key(self, z: int, query: Query) -> tuple[int, str, frozenset[int]]:
        here = query[1] & self._present[z]
        return z, query[0] if here else "", here


def measure(removals: Removals, count: int, target: int) -> Effects:
    """Remove each of `count` candidates, all others, and all, by every infill."""
    everything = frozenset(range(1, count + 1))
    sets = [*(frozenset({one}) for one in sorted(everything)), *(everything - {one} for one in sorted(everything))]
    base = removals.logits([("", frozenset())])
    z, p = float(log_odds_of(base, target)[0]), probabilities(base)[0, target]
    necessity, sufficiency, chances = {}, {}, []
    for name in removals.infills:
        logits = removals.logits([*((name, removed) for removed in sets), (name, everything)])
        odds = log_odds_of(logits, target)
        necessity[name] = z - odds[:count]
        sufficiency[name] = odds[count : 2 * count] - odds[-1]
        if name in INDEPENDENT:
            chances.append(p - probabilities(logits)[:count, target])
    return Effects(necessity, sufficiency, np.mean(chances, axis=0))


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
    """Return exact Shapley values (1953) of the presence of `count` candidates for z: 2^count sets an infill."""
    players = range(1, count + 1)
    subsets = [frozenset(chosen) for size in range(count + 1) for chosen in combinations(players, size)]
    total = np.zeros(count)
    for name in infills:
        odds = log_odds_of(removals.logits([(name, frozenset(players) - kept) for kept in subsets]), target)
        worth = dict(zip(subsets, odds, strict=True))
        for one in players:
            for kept in subsets:
                if one not in kept:
                    weight = factorial(len(kept)) * factorial(count - len(kept) - 1) / factorial(count)
                    total[one - 1] += weight * (worth[kept | {one}] - worth[kept])
    return total / len(infills)


def crucial_set(delta: np.ndarray, turned: Callable[[frozenset[int]], bool]) -> frozenset[int]:
    """Return the labels of the lesions without which the decision turns; empty where none of them turn it.

    Lesions that speak for the decision (Δ > 0) are removed in the order of Δ until `turned` holds, then put back one by
    one, the weakest first, until none can be spared. A lesion that ties with a member (`TIE`) and can stand in for it
    is named too. Lesions that speak against it stay: taking them out as well would hold the decision up.
    """
    order = [int(one) + 1 for one in np.argsort(-delta, kind="stable") if delta[one] > 0]
    removed: list[int] = []
    while not (removed and turned(frozenset(removed))):
        if len(removed) == len(order):
            return frozenset()
        removed.append(order[len(removed)])
    for one in reversed(list(removed)):
        if len(removed) > 1 and turned(frozenset(removed) - {one}):
            removed.remove(one)
    chosen = frozenset(removed)
    return chosen | _ties(chosen, order, delta, turned)


def _ties(
    chosen: frozenset[int], order: Sequence[int], delta: np.ndarray, turned: Callable[[frozenset[int]], bool]
) -> frozenset[int]:
    return frozenset(
        other
        for other in order
        for member in chosen
        if other not in chosen
        and abs(delta[other - 1] - delta[member - 1]) <= TIE * max(abs(delta[other - 1]), abs(delta[member - 1]))
        and turned((chosen - {member}) | {other})
    )
