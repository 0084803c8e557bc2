"""The documents of an evaluation, put together: metrics.json, the leaderboard, the winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from claire.core.command.record import SCHEMA_VERSION
from claire.core.contracts.variant import Variant
from claire.core.statistics.intervals import CONFIDENCE
from claire.evaluate.contrasts import axes, differs, rank_limits, shown, varying
from claire.evaluate.curves import fold_curves
from claire.evaluate.groups import guards, subgroups
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import METRICS, figure, number
from claire.evaluate.selection import correct_for_choice, nested
from claire.evaluate.variant import Described, Document, Setting, describe

HEADLINE = "headline"
ENDS = ("value", "lower", "upper")
LEADERBOARD = (
    "rank",
    "variant",
    "winner",
    "reference",
    "complete",
    "folds",
    "patients",
    "differs",
    *Variant.model_fields,
    "auc_validation",
    "rank_lower",
    "rank_upper",
    "auc_delong_lower",
    "auc_delong_upper",
    *(f"{name}{end}" for name in METRICS for end in ("", "_lower", "_upper")),
    *(f"scan_{name}{end}" for name in METRICS for end in ("", "_lower", "_upper")),
    *(f"{name}{end}" for name in ("slice_auc", "slice_inherited_auc") for end in ("", "_lower", "_upper")),
)


def describe_headline(setting: Setting) -> tuple[dict[int, str], Described]:
    """Measure the nested procedure: in each fold the variant that is best on validation patients predicts the test."""
    chosen = nested(setting.experiment, setting.ranking)
    runs = {fold: setting.experiment.candidates[name].runs[fold] for fold, name in chosen.items()}
    return chosen, describe(setting, HEADLINE, runs, chosen)


def describe_variant(setting: Setting, name: str) -> Described:
    """Measure one variant over its folds."""
    candidate = setting.experiment.candidates[name]
    made = describe(setting, name, candidate.runs, dict.fromkeys(candidate.runs, name))
    head = {
        "variant": candidate.variant.model_dump(mode="json"),
        "complete": candidate.complete,
        "labels": candidate.variant.labels,
        "auc_validation": number(setting.ranking.mean_validation(name)),
        "log_loss_validation": number(setting.ranking.mean_validation(name, "log_loss")),
    }
    made.document = head | made.document
    return made


def winner_folds(setting: Setting, name: str, described: Described) -> list[dict[str, Any]]:
    """Return the ROC curves of the winner's single folds."""
    samples = {fold: measured.sample for fold, measured in described.patients.items()}
    return list(fold_curves(name, samples, setting.experiment.classes))


def metrics_document(
    setting: Setting,
    described: Mapping[str, Described],
    headline: tuple[dict[int, str], Described],
    named: Mapping[str, str],
    prevalence_from: str,
    seed: int,
) -> Document:
    """Return metrics.json."""
    experiment, winner = setting.experiment, named["winner"]
    predictors = {
        HEADLINE: [*headline[1].patients.values()],
        "winner": [*described[winner].patients.values()],
    }
    areas = {HEADLINE: headline[1].document["patient"]["auc"]["value"]}
    areas |= {name: of.document["patient"]["auc"]["value"] for name, of in described.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "cohort": experiment.cohort["sha256"],
        "classes": list(experiment.classes),
        "positive_class": experiment.classes[1] if len(experiment.classes) == 2 else None,
        "confidence": CONFIDENCE,
        "bootstrap": len(setting.weights),
        "seed": seed,
        "prevalence": number(setting.prevalence),
        "prevalence_from": prevalence_from,
        "n": _counts(experiment),
        "headline": _headline(setting, *headline),
        "winner": _winner(setting, winner, described[winner]),
        "reference": named["reference"],
        "variants": {name: of.document for name, of in described.items()},
        "axes": axes(experiment, setting.ranking),
        "subgroups": subgroups(experiment, predictors, setting.weights, setting.prevalence),
        "guards": guards(experiment, areas),
        "missing": list(experiment.missing),
    }


def _headline(setting: Setting, chosen: Mapping[int, str], described: Described) -> Document:
    count = len(setting.experiment.eligible)
    statement = (
        f"In each fold the best of {count} variant{'s' if count > 1 else ''} on the validation patients predicted the "
        f"test patients, so the choice is part of what is measured. Interval: {len(setting.weights)} bootstrap samples "
        "of the test patients within fold and class, the choice held fixed."
    )
    selection = [{"fold": fold, "variant": name} for fold, name in chosen.items()]
    return {"statement": statement, "selection": selection} | described.document


def _winner(setting: Setting, name: str, described: Described) -> Document:
    return {
        "variant": name,
        "selected": True,
        "statement": "Best mean validation AUC over folds. Its figures are selected: chosen as the best of several on "
        "patients of the same cohort, so they flatter. auc_corrected repeats the choice on bootstrap samples of the "
        "patients and judges it on those left out (BBC-CV).",
        "auc_validation": described.document["auc_validation"],
        "auc": described.document["patient"]["auc"],
        "auc_corrected": correct_for_choice(setting.ranking, setting.experiment.eligible),
        "complete": described.document["complete"],
    }


def _counts(experiment: Experiment) -> Document:
    patients = np.bincount(experiment.target, minlength=len(experiment.classes)).tolist()
    labels = [row["label"] for row in experiment.scans.values()]
    homes = sorted(set(experiment.home))
    by_home = {
        home: np.bincount(
            experiment.target[[own == home for own in experiment.home]], minlength=len(experiment.classes)
        ).tolist()
        for home in homes
    }
    return {
        "patients": dict(zip(experiment.classes, patients, strict=True)),
        "scans": {name: labels.count(name) for name in experiment.classes},
        "folds": list(experiment.folds),
        "by_fold": {home: dict(zip(experiment.classes, counts, strict=True)) for home, counts in by_home.items()},
    }


def leaderboard(setting: Setting, described: Mapping[str, Described], named: Mapping[str, str]) -> list[Document]:
    """Return a line a variant: complete ones first, then by what the winner is chosen by."""
    experiment, ranking = setting.experiment, setting.ranking
    names = ranking.order(list(described))
    names = sorted(names, key=lambda name: not experiment.candidates[name].complete)
    limits = rank_limits(ranking, names)
    keys = varying(experiment.candidates[name].variant for name in names)
    return [
        _line(place, name, setting, described[name].document, named, limits[name], keys)
        for place, name in enumerate(names, 1)
    ]


def _line(
    place: int,
    name: str,
    setting: Setting,
    document: Document,
    named: Mapping[str, str],
    limits: tuple[float | None, float | None],
    keys: Sequence[str],
) -> Document:
    variant = setting.experiment.candidates[name].variant
    head = {
        "rank": place,
        "variant": name,
        "winner": _yes(name == named["winner"]),
        "reference": _yes(name == named["reference"]),
        "complete": _yes(document["complete"]),
        "folds": len(document["folds"]),
        "patients": document["n"]["patients"],
        "differs": differs(variant, keys),
        "auc_validation": document["auc_validation"],
        "rank_lower": limits[0],
        "rank_upper": limits[1],
        "auc_delong_lower": document["patient"]["auc"]["delong_lower"],
        "auc_delong_upper": document["patient"]["auc"]["delong_upper"],
    }
    fields = {key: shown(value) for key, value in variant.model_dump(mode="json").items()}
    figures = _flat("", document["patient"]) | _flat("scan_", document["scan"])
    for level in ("slice", "slice_inherited"):
        area = document[level]["auc"] if document[level] else figure(float("nan"))
        figures |= {f"{level}_auc{end}": area[key] for end, key in zip(("", "_lower", "_upper"), ENDS, strict=True)}
    return head | fields | figures


def _flat(prefix: str, figures: Mapping[str, Mapping[str, Any]]) -> Document:
    return {
        f"{prefix}{name}{'' if end == 'value' else '_' + end}": figures[name][end] for name in METRICS for end in ENDS
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def winner_document(experiment: Experiment, name: str) -> Document:
    """Return winner.json: the winner's positions in the manifest by fold. The workflow reads it, so it stays small."""
    candidate = experiment.candidates[name]
    folds = sorted(candidate.positions)
    return {
        "schema_version": SCHEMA_VERSION,
        "variant": name,
        "winner": [candidate.positions[fold] for fold in folds],
        "fold": folds,
    }
