"""Variants against one another: the reference and the winner against the rest, ranks, and what each grid axis does."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from claire.core.command.files import canonical_json
from claire.core.contracts.metrics import Axis, AxisValue, Figure
from claire.core.contracts.result_tables import ComparisonRow
from claire.core.contracts.variant import Variant
from claire.core.statistics.intervals import Z, percentile
from claire.core.statistics.ranking import placement_variance, placements
from claire.evaluate.comparison import bootstrap_p, holm, normal_p, ranks
from claire.evaluate.inputs import Experiment, by_patient, sample
from claire.evaluate.measure import figure, number
from claire.evaluate.selection import Ranking


def comparisons(experiment: Experiment, ranking: Ranking, roles: Mapping[str, str]) -> list[ComparisonRow]:
    """Return one row per variant against the reference and against the winner; `roles` maps these to ids."""
    rows = []
    for role, other in roles.items():
        family = [_compare(experiment, ranking, role, name, other) for name in experiment.candidates if name != other]
        adjusted = holm([row.p if row.p is not None else float("nan") for row in family])
        rows += [row.model_copy(update={"p_holm": number(p)}) for row, p in zip(family, adjusted, strict=True)]
    return rows


def _compare(experiment: Experiment, ranking: Ranking, role: str, name: str, other: str) -> ComparisonRow:
    folds = [fold for fold in ranking.folds[name] if fold in ranking.folds[other]]
    left, right = (ranking.test_auc(variant, folds) for variant in (name, other))
    gap = left - right
    lower, upper = percentile(gap[1:])
    variance = _variance(experiment, ranking, name, other, folds)
    half = Z * np.sqrt(variance)
    return ComparisonRow(
        against=role,
        variant=name,
        other=other,
        folds=len(folds),
        auc=number(left[0]),
        auc_other=number(right[0]),
        difference=number(gap[0]),
        lower=number(lower),
        upper=number(upper),
        p_bootstrap=number(bootstrap_p(gap[1:])),
        delong_lower=number(gap[0] - half),
        delong_upper=number(gap[0] + half),
        p=number(normal_p(gap[0], variance)),
        p_holm=None,
    )


def _variance(experiment: Experiment, ranking: Ranking, name: str, other: str, folds: Sequence[int]) -> float:
    """Return DeLong's paired variance of a difference of AUCs: within folds, combined by pairs; two classes only."""
    if len(experiment.classes) > 2 or _shared_patients(experiment):
        return float("nan")
    pairs = {fold: float(ranking.parts[name][1][ranking.folds[name].index(fold), 0, 0]) for fold in folds}
    total = sum(pairs.values())
    variance = 0.0 if total else float("nan")
    for fold in (fold for fold in folds if pairs[fold]):
        ours, theirs = (_placements(experiment, each, fold) for each in (name, other))
        below, above = (a - b for a, b in zip(ours, theirs, strict=True))
        variance += (pairs[fold] / total) ** 2 * placement_variance(below, above)
    return variance


def _placements(experiment: Experiment, name: str, fold: int) -> tuple[np.ndarray, np.ndarray]:
    patients = by_patient(sample(experiment, experiment.candidates[name].runs[fold].scans["test"]))
    return placements(patients.probability[:, 1], patients.target == 1)


def _shared_patients(experiment: Experiment) -> bool:
    return "test" in experiment.test_fold and len(experiment.folds) > 1


def rank_limits(ranking: Ranking, names: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Return the 95 % limits of each variant's rank by test AUC over the bootstrap samples."""
    limits = ranks(np.array([ranking.test_auc(name)[1:] for name in names]))
    return {name: (number(low), number(high)) for name, (low, high) in zip(names, limits, strict=True)}


def varying(variants: Iterable[Variant]) -> list[str]:
    """Return the keys that differ among variants, in the order of the record."""
    documents = [variant.model_dump(mode="json") for variant in variants]
    return [key for key in Variant.model_fields if len({canonical_json(document[key]) for document in documents}) > 1]


def differs(variant: Variant, keys: Sequence[str]) -> str:
    """Say what sets a variant apart: `key=value, …`."""
    document = variant.model_dump(mode="json")
    return ", ".join(f"{key}={shown(document[key])}" for key in keys)


def shown(value: object) -> str:
    """Return a value of a variant for people; a window as centre/width."""
    return "/".join(f"{part:g}" for part in value.values()) if isinstance(value, dict) else str(value)


def axes(experiment: Experiment, ranking: Ranking) -> list[Axis]:
    """Return the main effect of each grid axis: the mean AUC of each value, and its difference from the first value.

    The difference is taken between variants that are alike in everything else, so that a grid that is no full product
    misleads nobody; `matched` is the number of such pairs.
    """
    complete = {
        name: experiment.candidates[name].variant.model_dump(mode="json")
        for name in experiment.eligible
        if np.isfinite(ranking.test_auc(name)[0])
    }
    keys = varying(experiment.candidates[name].variant for name in complete)
    return [Axis(axis=key, values=tuple(_axis(complete, ranking, key))) for key in keys]


def _axis(documents: Mapping[str, dict[str, Any]], ranking: Ranking, key: str) -> list[AxisValue]:
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name, document in documents.items():
        rest = canonical_json({other: value for other, value in document.items() if other != key})
        groups[rest][canonical_json(document[key])] = name
    values = sorted({value for group in groups.values() for value in group}, key=_by_size)
    rows = []
    for value in values:
        areas = np.array([ranking.test_auc(group[value]) for group in groups.values() if value in group])
        pairs = [(group[value], group[values[0]]) for group in groups.values() if value in group and values[0] in group]
        gaps = np.array([ranking.test_auc(name) - ranking.test_auc(first) for name, first in pairs])
        rows.append(
            AxisValue(
                value=json.loads(value),
                variants=len(areas),
                auc=_mean(areas),
                difference=_mean(gaps) if len(pairs) and value != values[0] else None,
                matched=len(pairs),
            )
        )
    return rows


def _by_size(value: str) -> tuple[float, str]:
    parsed = json.loads(value)
    return (float(parsed), "") if isinstance(parsed, int | float) else (0.0, value)


def _mean(rows: np.ndarray) -> Figure:
    mean = rows.mean(axis=0)
    return figure(mean[0], percentile(mean[1:]))
