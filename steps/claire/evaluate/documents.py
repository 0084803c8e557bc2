"""The documents of an evaluation, put together: metrics.json, the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from claire.core.contracts.metrics import (
    Counts,
    Headline,
    Metrics,
    Predictor,
    Selection,
    VariantMetrics,
    WinnerMetrics,
)
from claire.core.contracts.result_tables import CurvePoint, LeaderboardRow
from claire.core.statistics.intervals import CONFIDENCE
from claire.evaluate.contrasts import axes, differs, rank_limits, shown, varying
from claire.evaluate.curves import fold_curves
from claire.evaluate.groups import guards, subgroups
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import figure, number
from claire.evaluate.selection import correct_for_choice, nested
from claire.evaluate.variant import Described, Setting, describe

HEADLINE = "headline"
PrevalenceFrom = Literal["stated", "cohort"]
#: The variant chosen in each fold, and the nested procedure described.
HeadlineParts = tuple[dict[int, str], Described]


def describe_headline(setting: Setting) -> HeadlineParts:
    """Measure the nested procedure: in each fold the variant that is best on validation patients predicts the test."""
    chosen = nested(setting.experiment, setting.ranking)
    runs = {fold: setting.experiment.candidates[name].runs[fold] for fold, name in chosen.items()}
    return chosen, describe(setting, HEADLINE, runs, chosen)


def describe_variant(setting: Setting, name: str) -> Described:
    """Measure one variant over its folds."""
    runs = setting.experiment.candidates[name].runs
    return describe(setting, name, runs, dict.fromkeys(runs, name))


def winner_folds(setting: Setting, name: str, described: Described) -> list[CurvePoint]:
    """Return the ROC curves of the winner's single folds."""
    samples = {fold: measured.sample for fold, measured in described.patients.items()}
    return list(fold_curves(name, samples, setting.experiment.classes))


def metrics(
    setting: Setting,
    described: Mapping[str, Described],
    headline: HeadlineParts,
    roles: Mapping[str, str],
    prevalence_from: PrevalenceFrom,
    seed: int,
) -> Metrics:
    """Return the content of metrics.json."""
    experiment, winner = setting.experiment, roles["winner"]
    areas = {HEADLINE: headline[1].metrics.patient["auc"].value}
    areas |= {name: predictor.metrics.patient["auc"].value for name, predictor in described.items()}
    measured = (
        ("headline", [*headline[1].patients.values()]),
        ("winner", [*described[winner].patients.values()]),
    )
    return Metrics(
        cohort_sha256=experiment.cohort.sha256,
        classes=experiment.classes,
        positive_class=experiment.classes[1] if len(experiment.classes) == 2 else None,
        confidence=CONFIDENCE,
        bootstrap=len(setting.weights),
        seed=seed,
        prevalence=round(setting.prevalence, 6),
        prevalence_from=prevalence_from,
        n=_counts(experiment),
        headline=_headline(setting, *headline),
        winner=_winner(setting, winner, described[winner]),
        reference=roles["reference"],
        variants={name: _variant(setting, name, predictor) for name, predictor in described.items()},
        axes=tuple(axes(experiment, setting.ranking)),
        subgroups=tuple(subgroups(experiment, dict(measured), setting.weights, setting.prevalence)),
        guards=tuple(guards(experiment, areas)),
        missing=tuple(experiment.missing),
    )


def _variant(setting: Setting, name: str, described: Described) -> VariantMetrics:
    candidate = setting.experiment.candidates[name]
    return VariantMetrics(
        variant=candidate.variant,
        complete=candidate.complete,
        auc_validation=number(setting.ranking.mean_validation(name)),
        log_loss_validation=number(setting.ranking.mean_validation(name, "log_loss")),
        **dict(described.metrics),
    )


def _headline(setting: Setting, chosen: Mapping[int, str], described: Described) -> Headline:
    count = len(setting.experiment.eligible)
    statement = (
        f"In each fold the best of {count} variant{'s' if count > 1 else ''} on the validation patients predicted the "
        f"test patients, so the choice is part of what is measured. Interval: {len(setting.weights)} bootstrap samples "
        "of the test patients within fold and class, the choice held fixed."
    )
    selection = tuple(Selection(fold=fold, variant=name) for fold, name in chosen.items())
    return Headline(statement=statement, selection=selection, **dict(described.metrics))


def _winner(setting: Setting, name: str, described: Described) -> WinnerMetrics:
    return WinnerMetrics(
        variant=name,
        selected=True,
        statement="Best mean validation AUC over folds. Its figures are selected: chosen as the best of several on "
        "patients of the same cohort, so they flatter. auc_corrected repeats the choice on bootstrap samples of the "
        "patients and judges it on those left out (BBC-CV).",
        auc_validation=number(setting.ranking.mean_validation(name)),
        auc=described.metrics.patient["auc"],
        auc_corrected=correct_for_choice(setting.ranking, setting.experiment.eligible),
        complete=setting.experiment.candidates[name].complete,
    )


def _counts(experiment: Experiment) -> Counts:
    def by_class(target: np.ndarray) -> dict[str, int]:
        counts = np.bincount(target, minlength=len(experiment.classes)).tolist()
        return dict(zip(experiment.classes, counts, strict=True))

    labels = [row.label for row in experiment.scans.values()]
    return Counts(
        patients=by_class(experiment.target),
        scans={name: labels.count(name) for name in experiment.classes},
        folds=experiment.folds,
        by_fold={
            fold: by_class(experiment.target[[own == fold for own in experiment.test_fold]])
            for fold in sorted(set(experiment.test_fold))
        },
    )


def leaderboard(setting: Setting, described: Mapping[str, Described], roles: Mapping[str, str]) -> list[LeaderboardRow]:
    """Return one row per variant: complete ones first, then by what the winner is chosen by."""
    experiment, ranking = setting.experiment, setting.ranking
    names = ranking.order(list(described))
    names = sorted(names, key=lambda name: not experiment.candidates[name].complete)
    limits = rank_limits(ranking, names)
    keys = varying(experiment.candidates[name].variant for name in names)
    return [
        _row(setting, name, described[name].metrics, roles, keys, rank, limits[name])
        for rank, name in enumerate(names, 1)
    ]


def _row(
    setting: Setting,
    name: str,
    measured: Predictor,
    roles: Mapping[str, str],
    keys: Sequence[str],
    rank: int,
    rank_limits: tuple[float | None, float | None],
) -> LeaderboardRow:
    candidate = setting.experiment.candidates[name]
    none, inherited = figure(float("nan")), measured.slice_inherited
    return LeaderboardRow(
        rank=rank,
        rank_lower=rank_limits[0],
        rank_upper=rank_limits[1],
        variant=name,
        winner=name == roles["winner"],
        reference=name == roles["reference"],
        complete=candidate.complete,
        folds=len(measured.folds),
        patients=measured.n.patients,
        differs=differs(candidate.variant, keys),
        settings={key: shown(value) for key, value in candidate.variant.model_dump(mode="json").items()},
        auc_validation=number(setting.ranking.mean_validation(name)),
        patient=measured.patient,
        scan=measured.scan,
        slice_auc=measured.slice["auc"] if measured.slice else none,
        slice_inherited_auc=inherited.figures["auc"] if inherited else none,
    )
