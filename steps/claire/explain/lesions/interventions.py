"""Which lesions decided: each is removed by an infill, and the effect on the network is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from claire.core.imaging.infill import INDEPENDENT, fill, lung_statistics
from claire.explain.probe import Case, Probe, log_odds_of, probabilities

#: Two lesions tie where their Δ differ by less than this share of the larger one.
TIE = 0.05
#: Changes of HU below this are none.
LEAST_HU = 1e-3

Query = tuple[str, frozenset[int]]


class Change(NamedTuple):
    """What removing one candidate does to the view: `hu` is added at the corner (slice, row, column)."""

    corner: tuple[int, int, int]
    hu: torch.Tensor


@dataclass(frozen=True)
class Effects:
    """What removing candidates does to the log-odds z of the explained class; columns are candidates in label order.

    `necessity` = z(scan) − z(without it), `sufficiency` = z(without all others) − z(without all), each an array
    (candidates,) by infill; `probability` (candidates,) = p(scan) − p(without it), mean over the infills;
    `empty`: z without any candidate, by infill.
    """

    necessity: Mapping[str, np.ndarray]
    sufficiency: Mapping[str, np.ndarray]
    probability: np.ndarray
    empty: Mapping[str, float]

    def by_infill(self) -> dict[str, np.ndarray]:
        """Return ½ (necessity + sufficiency), (candidates,), by infill."""
        return {name: (self.necessity[name] + self.sufficiency[name]) / 2 for name in self.necessity}

    def delta(self) -> np.ndarray:
        """Return Δ (candidates,): the mean over the infills."""
        return np.asarray(np.mean(list(self.by_infill().values()), axis=0))

    def order(self) -> list[int]:
        """Return the labels of the candidates by Δ, the largest first."""
        return [int(i) + 1 for i in np.argsort(-self.delta(), kind="stable")]

    def noise(self) -> float:
        """Return twice the standard error of Δ that comes from the infill, pooled over the candidates of the scan."""
        values = np.stack(list(self.by_infill().values()))
        if len(values) < 2 or not values.size:
            return 0.0
        return float(2 * np.sqrt(values.var(0, ddof=1).mean() / len(values)))


def make_infills(case: Case, avoid: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the prepared lungs without lesions, (kept slices, rows, columns) float32 HU, by infill."""
    statistics = lung_statistics(case.prepared_hu, case.prepared_lungs, case.spacing_mm, avoid)
    return {name: fill(statistics, name, case.spacing_mm, rng) for name in INDEPENDENT}


class Removals:
    """A network's logits for a scan with any set of its candidates removed by any infill; each is computed once.

    `labels`: what each candidate takes with it, on the prepared grid; `infills`: HU on the same grid. How the network
    sees a scan is linear in HU, so that each removal is projected once and sets are sums. For networks that embed
    slices one by one, a slice is embedded only once for each way in which it is altered.
    """

    def __init__(self, probe: Probe, case: Case, labels: np.ndarray, infills: Mapping[str, np.ndarray]) -> None:
        self._probe, self._case, self.infills = probe, case, tuple(infills)
        boxes = ndimage.find_objects(labels.astype(np.int32))
        self._changes = {
            (name, label): change
            for name, infill in infills.items()
            for label, box in enumerate(boxes, start=1)
            if box is not None and (change := _change(case, labels[box] == label, infill[box], box)) is not None
        }
        self._present = self._slices_changed()
        self._known: dict[Query, np.ndarray] = {}
        self._embedded: dict[tuple[int, str, frozenset[int]], torch.Tensor] = {}
        self.evaluations = 0

    def _slices_changed(self) -> list[frozenset[int]]:
        present: list[set[int]] = [set() for _ in range(len(self._case.hu))]
        for (_, label), change in self._changes.items():
            for z in range(change.corner[0], change.corner[0] + len(change.hu)):
                present[z].add(label)
        return [frozenset(labels) for labels in present]

    def logits(self, queries: Sequence[Query]) -> np.ndarray:
        """Return logits (queries, classes) for (infill, labels of the candidates removed) pairs."""
        normalised = [(name if removed else "", removed) for name, removed in queries]
        unseen = [query for query in dict.fromkeys(normalised) if query not in self._known]
        self.evaluations += len(unseen)
        if unseen:
            logits = self._evaluate_slicewise(unseen) if self._probe.slicewise else self._evaluate_whole(unseen)
            self._known |= dict(zip(unseen, logits, strict=True))
        return np.stack([self._known[query] for query in normalised])

    def mean_logits(self, removed: Sequence[frozenset[int]]) -> np.ndarray:
        """Return the mean log-softmax over the infills, (sets, classes), of the scan without each set of candidates."""
        logits = self.logits([(name, labels) for labels in removed for name in self.infills])
        by_infill = logits.reshape(len(removed), len(self.infills), -1)
        return np.asarray(torch.log_softmax(torch.from_numpy(by_infill), -1).mean(1).numpy())

    def view_without(self, query: Query) -> torch.Tensor:
        """Return the view (slices, size, size) float32 HU without the candidates of a query."""
        return torch.stack([self._slice_without((z, *query)) for z in range(len(self._case.hu))])

    def _evaluate_whole(self, queries: Sequence[Query]) -> np.ndarray:
        views = [self.view_without(query) for query in queries]
        return np.concatenate([self._probe.evaluate([view], self._case.lungs) for view in views])

    def _evaluate_slicewise(self, queries: Sequence[Query]) -> np.ndarray:
        needed = [[self._slice_key(z, query) for z in range(len(self._present))] for query in queries]
        unseen = [key for key in dict.fromkeys(key for keys in needed for key in keys) if key not in self._embedded]
        slices = [self._slice_without(key) for key in unseen]
        lungs = [self._case.lungs[z] for z, _, _ in unseen]
        self._embedded |= dict(zip(unseen, self._probe.embed(slices, lungs), strict=True))
        return self._probe.pool([torch.stack([self._embedded[key] for key in keys]) for keys in needed])

    def _slice_key(self, z: int, query: Query) -> tuple[int, str, frozenset[int]]:
        infill, removed = query
        removed_here = removed & self._present[z]
        return z, infill if removed_here else "", removed_here

    def _slice_without(self, key: tuple[int, str, frozenset[int]]) -> torch.Tensor:
        z, infill, removed = key
        hu = self._case.hu[z].clone()
        for label in sorted(removed):
            change = self._changes.get((infill, label))
            if change is not None and 0 <= z - change.corner[0] < len(change.hu):
                _, y, x = change.corner
                _, height, width = change.hu.shape
                hu[y : y + height, x : x + width] += change.hu[z - change.corner[0]]
        return hu


def _change(case: Case, mask: np.ndarray, infill: np.ndarray, box: tuple[slice, ...]) -> Change | None:
    """Return how filling a mask changes the view, None where the network does not see it."""
    difference = np.zeros(case.prepared_hu.shape, np.float32)
    difference[box] = np.where(mask, infill - case.prepared_hu[box], 0)
    seen = case.projection.apply(difference)
    index = np.argwhere(np.abs(seen) > LEAST_HU)
    if not len(index):
        return None
    low, high = index.min(0), index.max(0) + 1
    part = seen[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return Change((int(low[0]), int(low[1]), int(low[2])), torch.from_numpy(np.ascontiguousarray(part)))


def measure(removals: Removals, count: int, everything: frozenset[int], target: int) -> Effects:
    """Remove each of `count` candidates, all others, and `everything`, by every infill."""
    labels = range(1, count + 1)
    sets = [*(frozenset({label}) for label in labels), *(everything - {label} for label in labels)]
    base = removals.logits([("", frozenset())])
    z, p = float(log_odds_of(base, target)[0]), probabilities(base)[0, target]
    necessity, sufficiency, empty, probability_drops = {}, {}, {}, []
    for name in removals.infills:
        logits = removals.logits([*((name, removed) for removed in sets), (name, everything)])
        odds = log_odds_of(logits, target)
        necessity[name] = z - odds[:count]
        sufficiency[name] = odds[count : 2 * count] - odds[-1]
        empty[name] = float(odds[-1])
        probability_drops.append(p - probabilities(logits)[:count, target])
    return Effects(necessity, sufficiency, np.mean(probability_drops, axis=0), empty)


def ranks(effects: Effects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rank, lowest, highest), each (candidates,) from 1: by Δ, and over all single infills."""
    rank = _ranked(effects.delta())
    every = np.stack([rank, *(_ranked(values) for values in effects.by_infill().values())])
    return rank, every.min(0), every.max(0)


def _ranked(values: np.ndarray) -> np.ndarray:
    rank = np.empty(len(values), int)
    rank[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return rank


class Shares(NamedTuple):
    """Exact Shapley values (candidates,) and interactions (candidates, candidates), 0 on the diagonal, in log-odds."""

    values: np.ndarray
    interactions: np.ndarray


def shapley(removals: Removals, count: int, everything: frozenset[int], target: int) -> Shares:
    """Return Shapley values (1953) and interaction indices (Grabisch & Roubens 1999) of `count` candidates for z.

    2^count sets per infill. A set is present, all else removed. Interaction above 0: two act together; below 0: one is
    enough.
    """
    players = range(1, count + 1)
    subsets = [frozenset(chosen) for size in range(count + 1) for chosen in combinations(players, size)]
    values, interactions = np.zeros(count), np.zeros((count, count))
    for name in removals.infills:
        odds = log_odds_of(removals.logits([(name, everything - present) for present in subsets]), target)
        value_of = dict(zip(subsets, odds, strict=True))
        for present in subsets:
            for first in players:
                if first in present:
                    continue
                weight = factorial(len(present)) * factorial(count - len(present) - 1) / factorial(count)
                values[first - 1] += weight * (value_of[present | {first}] - value_of[present])
                for second in range(first + 1, count + 1):
                    if second not in present:
                        together = _synergy(value_of, present, first, second)
                        pair_weight = factorial(len(present)) * factorial(count - len(present) - 2)
                        interactions[first - 1, second - 1] += pair_weight / factorial(count - 1) * together
    values, interactions = values / len(removals.infills), interactions / len(removals.infills)
    return Shares(values, interactions + interactions.T)


def _synergy(value_of: Mapping[frozenset[int], float], present: frozenset[int], first: int, second: int) -> float:
    both, one, other = present | {first, second}, present | {first}, present | {second}
    return value_of[both] - value_of[one] - value_of[other] + value_of[present]


def crucial_set(order: Sequence[int], delta: np.ndarray, turned: Callable[[frozenset[int]], bool]) -> frozenset[int]:
    """Return the labels of the lesions without which the decision turns; empty if no set turns it.

    The lesions of `order` (labels that support the decision, strongest first) are removed until `turned` holds, then
    restored one by one, weakest first, as long as the decision stays turned. A lesion that ties with a member (`TIE`)
    and can replace it is included too. Lesions that oppose the decision stay: removing them would reinforce it.
    """
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
