"""Variants against one another: all against the reference and the winner, ranks, and the effect of each grid axis."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from claire.core.command.files import canonical_json
from claire.core.contracts.metrics import Axis, AxisValue, Figure
from claire.core.contracts.result_tables import ComparisonRow
from claire.core.contracts.variant import Variant
from claire.core.statistics import FloatArray
from claire.core.statistics.intervals import Z, percentile
from claire.core.statistics.ranking import placement_variance, placements
from claire.evaluate.comparison import bootstrap_p, holm, normal_p, rank_limits
from claire.evaluate.figures import figure, number
from claire.evaluate.inputs import Experiment
from claire.evaluate.samples import to_patients
from claire.evaluate.selection import Ranking

Role = Literal["reference", "winner"]
Roles = Mapping[Role, str]


def comparisons(experiment: Experiment, ranking: Ranking, roles: Roles) -> list[ComparisonRow]:
    """Return one row per variant against the reference and against the winner; `roles` maps these to ids."""
    rows: list[ComparisonRow] = []
    for role, other in roles.items():
        family = [_compare(experiment, ranking, role, name, other) for name in experiment.candidates if name != other]
        adjusted = holm([row.p if row.p is not None else float("nan") for row in family])
        rows += [row.model_copy(update={"p_holm": number(p)}) for row, p in zip(family, adjusted, strict=True)]
    return rows


def _compare(experiment: Experiment, ranking: Ranking, role: Role, name: str, other: str) -> ComparisonRow:
    folds = [fold for fold in ranking.folds[name] if fold in ranking.folds[other]]
    area, area_other = ranking.test_auc(name, folds), ranking.test_auc(other, folds)
    difference = area - area_other
    lower, upper = percentile(difference[1:])
    variance = _variance(experiment, ranking, name, other, folds)
    half = Z * np.sqrt(variance)
    return ComparisonRow(
        against=role,
        variant=name,
        other=other,
        folds=len(folds),
        auc=number(area[0]),
        auc_other=number(area_other[0]),
        difference=number(difference[0]),
        lower=number(lower),
        upper=number(upper),
        p_bootstrap=number(bootstrap_p(difference[1:])),
        delong_lower=number(difference[0] - half),
        delong_upper=number(difference[0] + half),
        p=number(normal_p(difference[0], variance)),
        p_holm=None,
    )


def _variance(experiment: Experiment, ranking: Ranking, name: str, other: str, folds: Sequence[int]) -> float:
    """Return DeLong's paired variance of a difference of AUCs: within folds, combined by pairs; two classes only."""
    if len(experiment.classes) > 2 or _shared_patients(experiment):
        return float("nan")
    pairs = {fold: float(ranking.pairs[name][1][ranking.folds[name].index(fold), 0, 0]) for fold in folds}
    total = sum(pairs.values())
    variance = 0.0 if total else float("nan")
    for fold in (fold for fold in folds if pairs[fold]):
        below, above = _placements(experiment, name, fold)
        below_other, above_other = _placements(experiment, other, fold)
        variance += (pairs[fold] / total) ** 2 * placement_variance(below - below_other, above - above_other)
    return variance


def _placements(experiment: Experiment, name: str, fold: int) -> tuple[FloatArray, FloatArray]:
    patients = to_patients(experiment, experiment.candidates[name].runs[fold].scans["test"])
    return placements(patients.probability[:, 1], patients.target == 1)


def _shared_patients(experiment: Experiment) -> bool:
    return "test" in experiment.test_fold and len(experiment.folds) > 1


def variant_rank_limits(ranking: Ranking, names: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Return the 95 % limits of each variant's rank by test AUC over the bootstrap samples."""
    limits = rank_limits(np.array([ranking.test_auc(name)[1:] for name in names]))
    return {name: (number(low), number(high)) for name, (low, high) in zip(names, limits, strict=True)}


def varying(variants: Iterable[Variant]) -> list[str]:
    """Return the keys that differ among variants, in the order of the record."""
    documents = [variant.model_dump(mode="json") for variant in variants]
    return [key for key in Variant.model_fields if len({canonical_json(document[key]) for document in documents}) > 1]


def differs(variant: Variant, keys: Sequence[str]) -> str:
    """Return the settings `keys` of a variant as `key=value, …`."""
    texts = to_texts(variant)
    return ", ".join(f"{key}={texts[key]}" for key in keys)


def to_texts(variant: Variant) -> dict[str, str]:
    """Return the settings of a variant as text; a window as centre/width."""
    return {key: _to_text(value) for key, value in variant.model_dump(mode="json").items()}


def _to_text(value: object) -> str:
    return "/".join(f"{part:g}" for part in value.values()) if isinstance(value, dict) else str(value)


def axes(experiment: Experiment, ranking: Ranking) -> list[Axis]:
    """Return the main effect of each grid axis: the mean AUC of each value, and its difference from the first value.

    The difference is taken between variants that are equal in everything else, so that a grid that is not a full
    product does not mislead; `matched` is the number of such pairs.
    """
    complete = {
        name: experiment.candidates[name].variant.model_dump(mode="json")
        for name in experiment.eligible
        if np.isfinite(ranking.test_auc(name)[0])
    }
    keys = varying(experiment.candidates[name].variant for name in complete)
    return [Axis(axis=key, values=tuple(_axis(complete, ranking, key))) for key in keys]


def _axis(documents: Mapping[str, dict[str, Any]], ranking: Ranking, key: str) -> list[AxisValue]:
    # Variants that are equal in all but this key, each by its value of the key.
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name, document in documents.items():
        remaining_settings = canonical_json({setting: value for setting, value in document.items() if setting != key})
        groups[remaining_settings][canonical_json(document[key])] = name
    values = sorted({value for group in groups.values() for value in group}, key=_by_size)
    return [_axis_value([*groups.values()], ranking, value, values[0]) for value in values]


def _axis_value(groups: Sequence[Mapping[str, str]], ranking: Ranking, value: str, first: str) -> AxisValue:
    areas = np.array([ranking.test_auc(group[value]) for group in groups if value in group])
    pairs = [(group[value], group[first]) for group in groups if value in group and first in group]
    differences = np.array([ranking.test_auc(name) - ranking.test_auc(other) for name, other in pairs])
    return AxisValue(
        value=json.loads(value),
        variants=len(areas),
        auc=_mean(areas),
        difference=_mean(differences) if pairs and value != first else None,
        matched=len(pairs),
    )


def _by_size(value: str) -> tuple[float, str]:
    parsed = json.loads(value)
    return (float(parsed), "") if isinstance(parsed, int | float) else (0.0, value)


def _mean(areas: FloatArray) -> Figure:
    mean = areas.mean(axis=0)
    return figure(mean[0], percentile(mean[1:]))
