"""The rule for choosing one series per acquisition."""

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
    """The preferences; `kernels` are patterns (`B3*`), best first; case does not matter."""

    max_thickness: float = 3.0
    kernels: tuple[str, ...] = ()
    min_slices: int = 20


@dataclass(frozen=True)
class Verdict:
    """Whether a series is used, and why not; `why` quotes no identifier."""

    chosen: bool
    why: str = ""


def choose(series: Sequence[Series], rule: Rule) -> list[Verdict]:
    """Return a verdict for each series, in order: one chosen per acquisition.

    In a study without any suitable series the best CT series is still chosen, so that `ingest` rejects it with the true
    reason instead of the study disappearing. What is no CT is never chosen: masks, SEG, RTDOSE, reports, MR.
    """
    verdicts = [Verdict(False, fault(each)) for each in series]
    fit, unfit_studies = defaultdict(list), defaultdict(list)
    for index, each in enumerate(series):
        if not verdicts[index].why:
            fit[each.acquisition].append(index)
    covered = {series[indices[0]].study for indices in fit.values()}
    for index, each in enumerate(series):
        if _may_be_ct(each) and each.study not in covered:
            unfit_studies[each.study].append(index)
    for indices in fit.values():
        _choose_one(series, indices, rule, verdicts)
    for indices in unfit_studies.values():
        best = max(indices, key=lambda index: (series[index].instances, -index))
        verdicts[best] = Verdict(True, f"nothing better in its study: {verdicts[best].why}")
    return verdicts


def _may_be_ct(each: Series) -> bool:
    """Return whether a series is CT images by its header, fit or not; NIfTI and some DICOM files name no modality."""
    return each.header is not None and not each.no_scan and each.header.modality in ("CT", "")


def fault(each: Series) -> str:
    """Return why the headers rule out a chest CT scan; "" if they do not."""
    if each.header is None:
        return each.problem
    if each.no_scan:
        return each.no_scan
    reason, detail = unfit(each.header.modality, each.header.sop_class, each.header.image_type, each.header.description)
    if reason:
        return detail or reason
    orientation = each.header.planes[0].orientation if each.header.planes else None
    if orientation:
        normal = np.cross(orientation[:3], orientation[3:])
        return "slices are not axial" if abs(normal[2]) < _AXIAL_COSINE else ""
    return ""


def _choose_one(series: Sequence[Series], indices: Sequence[int], rule: Rule, verdicts: list[Verdict]) -> None:
    criteria = _criteria([series[index] for index in indices], rule)
    ranks = {index: [key(series[index]) for key, _ in criteria] for index in indices}
    best = max(indices, key=lambda index: (ranks[index], -index))
    for index in indices:
        if index == best:
            verdicts[index] = Verdict(True)
            continue
        lost_on = next((number for number, rank in enumerate(ranks[index]) if rank < ranks[best][number]), None)
        reason = "equal to the chosen one" if lost_on is None else criteria[lost_on][1](series[index], series[best])
        verdicts[index] = Verdict(False, reason)


Criterion = tuple[Callable[[Series], float], Callable[[Series, Series], str]]


def _criteria(group: Iterable[Series], rule: Rule) -> list[Criterion]:
    """Return (rank, larger is better; reason for the loser), the most important criterion first."""
    longest_mm = max(each.extent_mm for each in group)
    return [
        (_originality, lambda each, best: "less original image type than the chosen one"),
        (
            lambda each: each.instances >= rule.min_slices,
            lambda each, best: f"{each.instances} slices, fewer than {rule.min_slices}",
        ),
        (
            lambda each: each.extent_mm >= _WHOLE_CHEST * longest_mm,
            lambda each, best: f"covers {each.extent_mm:.0f} of {longest_mm:.0f} mm",
        ),
        (
            lambda each: each.thickness_mm <= rule.max_thickness,
            lambda each, best: f"slices of {each.thickness_mm:g} mm, thicker than {rule.max_thickness:g} mm",
        ),
        (lambda each: -_kernel_rank(each, rule.kernels), lambda each, best: "kernel is less preferred"),
        (
            lambda each: -round(each.thickness_mm, 2) if np.isfinite(each.thickness_mm) else -np.inf,
            lambda each, best: f"slices of {each.thickness_mm:g} mm, the chosen one has {best.thickness_mm:g} mm",
        ),
        (
            lambda each: round(each.extent_mm),
            lambda each, best: f"covers {each.extent_mm:.0f} of {best.extent_mm:.0f} mm",
        ),
        (
            lambda each: each.instances,
            lambda each, best: f"{each.instances} slices, the chosen one has {best.instances}",
        ),
    ]


def _originality(each: Series) -> float:
    """Rank ORIGINAL\\PRIMARY\\AXIAL above an unknown type above DERIVED or SECONDARY."""
    kind = each.header.image_type if each.header else ()
    if kind[:2] == ("ORIGINAL", "PRIMARY"):
        return 4.0 if "AXIAL" in kind else 3.5
    return 3.0 - 2 * ("SECONDARY" in kind[1:2]) - ("DERIVED" in kind[:1])


def _kernel_rank(each: Series, kernels: Sequence[str]) -> int:
    kernel = each.header.kernel.lower() if each.header else ""
    return next((rank for rank, pattern in enumerate(kernels) if fnmatchcase(kernel, pattern.lower())), len(kernels))
