"""The documents of an evaluation: metrics.json, the leaderboard, the curves, the winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from claire.core.contracts.metrics import (
    Counts,
    Headline,
    Metrics,
    Selection,
    VariantMetrics,
    WinnerMetrics,
)
from claire.core.contracts.result_tables import CurvePoint, LeaderboardRow
from claire.core.contracts.variant import differing_grid
from claire.core.contracts.winner import Winner
from claire.core.statistics import IntArray
from claire.core.statistics.intervals import CONFIDENCE
from claire.evaluate.contrasts import Roles, axes, differs, to_texts, variant_rank_limits, varying
from claire.evaluate.curves import fold_curves, treat_all_curve
from claire.evaluate.figures import figure, number
from claire.evaluate.groups import Predicting, guards, subgroups
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import Measured
from claire.evaluate.predictor import Evaluation, PredictorResults, measure_predictor
from claire.evaluate.selection import correct_for_choice, nested

HEADLINE = "headline"
#: AUC of a variant that has learned nothing.
CHANCE = 0.5
PrevalenceFrom = Literal["stated", "cohort"]


@dataclass(frozen=True)
class HeadlineResults:
    """The nested procedure: the variant chosen in each fold, and what it reaches on the test patients."""

    chosen: dict[int, str]
    results: PredictorResults


@dataclass(frozen=True)
class Results:
    """All results of an evaluation; `variants` by id, `roles` names the reference and the winner among them."""

    evaluation: Evaluation
    headline: HeadlineResults
    variants: dict[str, PredictorResults]
    roles: Roles

    @property
    def winner(self) -> PredictorResults:
        """Results of the winner."""
        return self.variants[self.roles["winner"]]


def measure_headline(evaluation: Evaluation) -> HeadlineResults:
    """Measure the nested procedure: in each fold the variant that is best on validation patients predicts the test."""
    candidates = evaluation.experiment.candidates
    chosen = nested(evaluation.experiment, evaluation.ranking)
    runs = {fold: candidates[name].runs[fold] for fold, name in chosen.items()}
    return HeadlineResults(chosen, measure_predictor(evaluation, HEADLINE, runs, chosen))


def measure_variant(evaluation: Evaluation, name: str) -> PredictorResults:
    """Measure one variant over its folds."""
    runs = evaluation.experiment.candidates[name].runs
    return measure_predictor(evaluation, name, runs, dict.fromkeys(runs, name))


def metrics(results: Results, prevalence_from: PrevalenceFrom, seed: int) -> Metrics:
    """Return the content of metrics.json."""
    evaluation, experiment = results.evaluation, results.evaluation.experiment
    areas = {HEADLINE: results.headline.results.metrics.patient["auc"].value}
    areas |= {name: variant.metrics.patient["auc"].value for name, variant in results.variants.items()}
    measured: dict[Predicting, Sequence[Measured]] = {
        "headline": [*results.headline.results.patients.values()],
        "winner": [*results.winner.patients.values()],
    }
    return Metrics(
        cohort_sha256=experiment.cohort.sha256,
        classes=experiment.classes,
        positive_class=experiment.classes[1] if len(experiment.classes) == 2 else None,
        confidence=CONFIDENCE,
        bootstrap=len(evaluation.weights),
        seed=seed,
        prevalence=round(evaluation.prevalence, 6),
        prevalence_from=prevalence_from,
        n=_counts(experiment),
        headline=_headline(evaluation, results.headline),
        winner=_winner(evaluation, results.roles["winner"], results.winner),
        reference=results.roles["reference"],
        variants={name: _variant(evaluation, name, variant) for name, variant in results.variants.items()},
        axes=tuple(axes(experiment, evaluation.ranking)),
        subgroups=tuple(subgroups(experiment, measured, evaluation.weights, evaluation.prevalence)),
        guards=tuple(guards(experiment, areas)),
        missing=tuple(experiment.missing),
    )


def _variant(evaluation: Evaluation, name: str, results: PredictorResults) -> VariantMetrics:
    candidate = evaluation.experiment.candidates[name]
    return VariantMetrics(
        variant=candidate.variant,
        complete=candidate.complete,
        auc_validation=number(evaluation.ranking.validation_auc(name)),
        log_loss_validation=number(evaluation.ranking.validation_log_loss(name)),
        **dict(results.metrics),
    )


def _headline(evaluation: Evaluation, headline: HeadlineResults) -> Headline:
    count = len(evaluation.experiment.eligible)
    statement = (
        f"In each fold the best of {count} variant{'s' if count > 1 else ''} on the validation patients predicted the "
        f"test patients, so the choice is part of what is measured. Interval: {len(evaluation.weights)} bootstrap "
        "samples of the test patients within fold and class, the choice held fixed."
    )
    selection = tuple(Selection(fold=fold, variant=name) for fold, name in headline.chosen.items())
    return Headline(statement=statement, selection=selection, **dict(headline.results.metrics))


def _winner(evaluation: Evaluation, name: str, results: PredictorResults) -> WinnerMetrics:
    return WinnerMetrics(
        variant=name,
        selected=True,
        statement="Best mean validation AUC over folds. Its figures are selected: chosen as the best of several on "
        "patients of the same cohort, so they flatter. auc_corrected repeats the choice on bootstrap samples of the "
        "patients and judges it on those left out (BBC-CV).",
        auc_validation=number(evaluation.ranking.validation_auc(name)),
        auc=results.metrics.patient["auc"],
        auc_corrected=correct_for_choice(evaluation.ranking, evaluation.experiment.eligible),
        complete=evaluation.experiment.candidates[name].complete,
    )


def _counts(experiment: Experiment) -> Counts:
    def by_class(target: IntArray) -> dict[str, int]:
        counts = np.bincount(target, minlength=len(experiment.classes)).tolist()
        return dict(zip(experiment.classes, counts, strict=True))

    labels = [row.label for row in experiment.scans.values()]
    return Counts(
        patients=by_class(experiment.target),
        scans={name: labels.count(name) for name in experiment.classes},
        folds=experiment.folds,
        by_fold={
            fold: by_class(experiment.target[np.array(experiment.test_fold) == fold])
            for fold in sorted(set(experiment.test_fold))
        },
    )


def leaderboard(results: Results) -> list[LeaderboardRow]:
    """Return one row per variant: complete ones first, then in the order of the choice on validation."""
    candidates, ranking = results.evaluation.experiment.candidates, results.evaluation.ranking
    names = sorted(ranking.order(list(results.variants)), key=lambda name: not candidates[name].complete)
    limits = variant_rank_limits(ranking, names)
    keys = varying(candidates[name].variant for name in names)
    return [_row(results, name, rank, limits[name], keys) for rank, name in enumerate(names, 1)]


def _row(
    results: Results, name: str, rank: int, rank_limits: tuple[float | None, float | None], keys: Sequence[str]
) -> LeaderboardRow:
    candidate, measured = results.evaluation.experiment.candidates[name], results.variants[name].metrics
    unknown, inherited = figure(float("nan")), measured.slice_inherited
    return LeaderboardRow(
        rank=rank,
        rank_lower=rank_limits[0],
        rank_upper=rank_limits[1],
        variant=name,
        winner=name == results.roles["winner"],
        reference=name == results.roles["reference"],
        complete=candidate.complete,
        folds=len(measured.folds),
        patients=measured.n.patients,
        differs=differs(candidate.variant, keys),
        settings=to_texts(candidate.variant),
        auc_validation=number(results.evaluation.ranking.validation_auc(name)),
        patient=measured.patient,
        scan=measured.scan,
        slice_auc=measured.slice["auc"] if measured.slice else unknown,
        slice_inherited_auc=inherited.figures["auc"] if inherited else unknown,
    )


def curve_points(results: Results) -> list[CurvePoint]:
    """Return the curves of the headline and of every variant, of the winner's single folds, and of treating all."""
    evaluation = results.evaluation
    predictors = (results.headline.results, *results.variants.values())
    points = [point for predictor in predictors for point in predictor.curves]
    samples = {fold: measured.sample for fold, measured in results.winner.patients.items()}
    points += fold_curves(results.roles["winner"], samples, evaluation.experiment.classes)
    if len(evaluation.experiment.classes) == 2:
        points += treat_all_curve(evaluation.prevalence, evaluation.experiment.classes[1])
    return points


def winner(results: Results, measured: Metrics, explained: Sequence[int]) -> Winner:
    """Return the content of winner.json: positions of the winner's runs by fold, of the folds to explain, of judges."""
    experiment, name = results.evaluation.experiment, results.roles["winner"]
    positions = experiment.candidates[name].positions
    return Winner(
        variant=name,
        winner=tuple(positions[fold] for fold in sorted(positions)),
        fold=tuple(sorted(positions)),
        explained=tuple(positions[fold] for fold in explained),
        judge=tuple(_judge(results.evaluation, name, fold) for fold in explained),
        guards_fired=tuple(guard.name for guard in measured.guards if guard.fired),
        better_than_chance=(measured.variants[name].patient["auc"].lower or 0.0) > CHANCE,
    )


def _judge(evaluation: Evaluation, name: str, fold: int) -> int:
    """Return the position of the best run of a fold that is of another architecture on the same grid; −1 without."""
    candidates = evaluation.experiment.candidates
    own = candidates[name].variant
    others = [
        other
        for other, candidate in candidates.items()
        if candidate.variant.architecture != own.architecture and not differing_grid(candidate.variant, own)
    ]
    best = evaluation.ranking.best_in(fold, others)
    return -1 if best is None else candidates[best].positions[fold]
