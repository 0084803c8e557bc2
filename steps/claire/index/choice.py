"""The rule that picks one series per acquisition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from claire.core.sources.dicom import unfit
from claire.index.series import Series

_WHOLE_CHEST = 0.9
_AXIAL_COSINE = 0.7


@dataclass(frozen=True)
class Rule:
    """What is preferred; `kernels` are patterns (`B3*`), best first, case aside."""

    max_thickness: float = 3.0
    kernels: tuple[str, ...] = ()
    min_slices: int = 20


@dataclass(frozen=True)
class Verdict:
    """Whether a series enters, and why not; `why` quotes no identifier."""

    chosen: bool
    why: str = ""


def choose(series: Sequence[Series], rule: Rule) -> list[Verdict]:
    """Return a verdict for each series, in order: one chosen per acquisition.

    A study in which no series is fit keeps its best one as chosen, so that `ingest` rejects it under its true reason
    rather than that the study vanishes.
    """
    verdicts = [Verdict(False, fault(one)) for one in series]
    fit, unfit_studies = defaultdict(list), defaultdict(list)
    for place, one in enumerate(series):
        if not verdicts[place].why:
            fit[one.acquisition].append(place)
    covered = {series[places[0]].study for places in fit.values()}
    for place, one in enumerate(series):
        if one.header and one.study not in covered:
            unfit_studies[one.study].append(place)
    for places in fit.values():
        _settle(series, places, rule, verdicts)
    for places in unfit_studies.values():
        best = max(places, key=lambda place: (series[place].instances, -place))
        verdicts[best] = Verdict(True, f"nothing better in its study: {verdicts[best].why}")
    return verdicts


def fault(one: Series) -> str:
    """Return why a series can be no chest CT scan by its headers; "" where it can."""
    if one.header is None:
        return one.problem
    reason, detail = unfit(one.header.modality, one.header.sop_class, one.header.image_type, one.header.description)
    if reason:
        return detail or reason
    orientation = one.header.planes[0].orientation if one.header.planes else None
    if orientation:
        normal = np.cross(orientation[:3], orientation[3:])
        return "slices are not axial" if abs(normal[2]) < _AXIAL_COSINE else ""
    return ""


def _settle(series: Sequence[Series], places: Sequence[int], rule: Rule, verdicts: list[Verdict]) -> None:
    criteria = _criteria([series[place] for place in places], rule)
    ranks = {place: [key(series[place]) for key, _ in criteria] for place in places}
    best = max(places, key=lambda place: (ranks[place], -place))
    for place in places:
        if place == best:
            verdicts[place] = Verdict(True)
            continue
        lost = next((number for number, rank in enumerate(ranks[place]) if rank < ranks[best][number]), None)
        told = "equal to the chosen one" if lost is None else criteria[lost][1](series[place], series[best])
        verdicts[place] = Verdict(False, told)


Criterion = tuple[Callable[[Series], float], Callable[[Series, Series], str]]


def _criteria(group: Iterable[Series], rule: Rule) -> list[Criterion]:
    """Return (rank, larger is better; reason for the loser), the first criterion deciding most."""
    longest = max(one.extent_mm for one in group)
    return [
        (_originality, lambda one, best: "less original image type than the chosen one"),
        (
            lambda one: one.instances >= rule.min_slices,
            lambda one, best: f"{one.instances} slices, fewer than {rule.min_slices}",
        ),
        (
            lambda one: one.extent_mm >= _WHOLE_CHEST * longest,
            lambda one, best: f"covers {one.extent_mm:.0f} of {longest:.0f} mm",
        ),
        (
            lambda one: one.thickness_mm <= rule.max_thickness,
            lambda one, best: f"slices of {one.thickness_mm:g} mm, thicker than {rule.max_thickness:g} mm",
        ),
        (lambda one: -_kernel_rank(one, rule.kernels), lambda one, best: "kernel is less preferred"),
        (
            lambda one: -round(one.thickness_mm, 2) if np.isfinite(one.thickness_mm) else -np.inf,
            lambda one, best: f"slices of {one.thickness_mm:g} mm, the chosen one has {best.thickness_mm:g} mm",
        ),
        (lambda one: round(one.extent_mm), lambda one, best: f"covers {one.extent_mm:.0f} of {best.extent_mm:.0f} mm"),
        (lambda one: one.instances, lambda one, best: f"{one.instances} slices, the chosen one has {best.instances}"),
    ]


def _originality(one: Series) -> float:
    """Rank ORIGINAL\\PRIMARY\\AXIAL above an unknown type above DERIVED or SECONDARY."""
    kind = one.header.image_type if one.header else ()
    if kind[:2] == ("ORIGINAL", "PRIMARY"):
        return 4.0 if "AXIAL" in kind else 3.5
    return 3.0 - 2 * ("SECONDARY" in kind[1:2]) - ("DERIVED" in kind[:1])


def _kernel_rank(one: Series, kernels: Sequence[str]) -> int:
    kernel = one.header.kernel.lower() if one.header else ""
    return next((rank for rank, wanted in enumerate(kernels) if fnmatchcase(kernel, wanted.lower())), len(kernels))
