"""The whole evaluation: ranked, measured, written."""

from __future__ import annotations

from collections.abc import Mapping

from claire.core.command.errors import UsageError
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.contracts.metrics import Figure, Metrics, write_metrics
from claire.core.contracts.result_tables import CurvePoint, write_comparisons, write_curves, write_leaderboard
from claire.core.contracts.winner import Winner, write_winner
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate import Parameters, contrasts, curves, documents
from claire.evaluate.inputs import Experiment
from claire.evaluate.selection import rank
from claire.evaluate.variant import Described, Setting


def evaluate(parameters: Parameters, experiment: Experiment, record: Record) -> None:
    """Measure every variant and write all tables."""
    strata = list(zip(experiment.test_fold, experiment.target.tolist(), strict=True))
    weights = bootstrap_weights(strata, parameters.bootstrap, parameters.seed)
    prevalence, prevalence_from = _prevalence(parameters.prevalence, experiment)
    roles = {"reference": _reference(parameters.reference, experiment)}
    ranking = rank(experiment, weights)
    roles["winner"] = ranking.order(experiment.eligible)[0]
    winner = _winner(experiment, roles["winner"], parameters.explain_folds)
    setting = Setting(experiment, ranking, weights, prevalence)
    headline = documents.describe_headline(setting)
    described = {
        name: documents.describe_variant(setting, name) for name in progress(experiment.candidates, "variants measured")
    }
    metrics = documents.metrics(setting, described, headline, roles, prevalence_from, parameters.seed)
    out = parameters.out
    board = documents.leaderboard(setting, described, roles)
    record.output(write_leaderboard(out / "leaderboard.csv", board))
    record.output(write_metrics(out / "metrics.json", metrics))
    record.output(write_comparisons(out / "comparisons.csv", contrasts.comparisons(experiment, ranking, roles)))
    record.output(write_curves(out / "curves.csv", _curves(setting, described, headline, roles)))
    record.output(write_winner(out / "winner.json", winner))
    _log_results(record, metrics)


def _curves(
    setting: Setting, described: Mapping[str, Described], headline: documents.HeadlineParts, roles: Mapping[str, str]
) -> list[CurvePoint]:
    points = [point for predictor in (headline[1], *described.values()) for point in predictor.curves]
    points += documents.winner_folds(setting, roles["winner"], described[roles["winner"]])
    if len(setting.experiment.classes) == 2:
        points += curves.treat_all_curve(setting.prevalence, setting.experiment.classes[1])
    return points


def _prevalence(stated: float | None, experiment: Experiment) -> tuple[float, documents.PrevalenceFrom]:
    if stated is not None:
        return stated, "stated"
    own = [
        target == 1 for target, fold in zip(experiment.target, experiment.test_fold, strict=True) if fold != "external"
    ]
    return sum(own) / max(len(own), 1), "cohort"


def _reference(reference: str | None, experiment: Experiment) -> str:
    names = list(experiment.candidates)
    if reference is None:
        return names[0]
    if reference not in names:
        raise UsageError(
            f"--reference {reference} names no variant with usable runs", f"There are: {', '.join(names[:10])}."
        )
    return reference


def _winner(experiment: Experiment, name: str, explain_folds: tuple[int, ...] | None) -> Winner:
    positions = experiment.candidates[name].positions
    folds = sorted(positions)
    explained = folds if explain_folds is None else explain_folds
    absent = [fold for fold in explained if fold not in positions]
    if absent:
        raise UsageError(
            f"--explain-folds names fold {absent[0]}: expected folds of the winner, {', '.join(map(str, folds))}",
            "Name folds that every variant was trained on.",
        )
    return Winner(
        variant=name,
        winner=tuple(positions[fold] for fold in folds),
        fold=tuple(folds),
        explained=tuple(positions[fold] for fold in explained),
    )


def _log_results(record: Record, metrics: Metrics) -> None:
    area = metrics.headline.patient["auc"]
    record.counts.update(
        variants=len(metrics.variants),
        runs=sum(len(variant.folds) for variant in metrics.variants.values()),
        missing=len(metrics.missing),
        guards_fired=sum(guard.fired for guard in metrics.guards),
    )
    record.facts.update(winner=metrics.winner.variant, headline_auc=area.value)
    log.info("nested patient AUC %s (95 %% interval %s to %s); winner %s", *area_texts(area), metrics.winner.variant)
    for run in metrics.missing:
        log.warning("run %s-f%s is left out: %s", run.variant, run.fold, run.why)
    for guard in (guard for guard in metrics.guards if guard.fired):
        log.warning("guard %s fired; what should hold: %s", guard.name, guard.statement)


def area_texts(area: Figure) -> list[str]:
    """Return a figure and its limits for people."""
    return ["unknown" if end is None else f"{end:.3f}" for end in (area.value, area.lower, area.upper)]
