"""The whole evaluation: ranked, measured, written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from claire.core.command.errors import UsageError, require
from claire.core.command.files import sha256_file, sha256_json
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.metrics import Figure, Metrics, write_metrics
from claire.core.contracts.result_tables import write_comparisons, write_curves, write_leaderboard
from claire.core.contracts.winner import write_winner
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate import Parameters, documents
from claire.evaluate.contrasts import Role, comparisons
from claire.evaluate.inputs import Candidate, Experiment, given_path, read_experiment
from claire.evaluate.predictor import Evaluation
from claire.evaluate.selection import rank


def run(parameters: Parameters) -> None:
    """Compare the runs, or take the finished comparison from the store."""
    require(
        not (parameters.labels or parameters.model or parameters.private),
        "--labels, --model and --private go with --external",
        "Leave them out, or give --external instead of --runs.",
    )
    stored("evaluate", parameters, compare)


def compare(parameters: Parameters) -> None:
    """Compare the runs of the manifest and write all tables."""
    scans = given_path(parameters.scans, "--scans")
    cohort_summary = given_path(parameters.cohort_summary, "--cohort-summary")
    hashes = {
        "runs": sha256_json([sha256_file(path) for path in parameters.runs]),
        "scans": sha256_file(scans),
        "cohort_summary": sha256_file(cohort_summary),
    }
    with Record("evaluate", "", parameters.out, parameters.recorded(), hashes) as record:
        experiment = read_experiment(parameters.runs, scans, cohort_summary)
        evaluate(parameters, experiment, record)


def evaluate(parameters: Parameters, experiment: Experiment, record: Record) -> None:
    """Measure every variant and write all tables. Raises UsageError on a reference or a fold that does not exist."""
    out = parameters.out
    strata = list(zip(experiment.test_fold, experiment.target.tolist(), strict=True))
    weights = bootstrap_weights(strata, parameters.bootstrap, parameters.seed)
    reference = _reference(parameters.reference, experiment)
    ranking = rank(experiment, weights)
    roles: dict[Role, str] = {"reference": reference, "winner": ranking.order(experiment.eligible)[0]}
    candidate = experiment.candidates[roles["winner"]]
    explained = _explained(parameters.explain_folds, candidate)
    prevalence, prevalence_from = _prevalence(parameters.prevalence, experiment)
    evaluation = Evaluation(experiment, ranking, weights, prevalence)
    headline = documents.measure_headline(evaluation)
    names = progress(experiment.candidates, "variants measured")
    variants = {name: documents.measure_variant(evaluation, name) for name in names}
    results = documents.Results(evaluation, headline, variants, roles)
    metrics = documents.metrics(results, prevalence_from, parameters.seed)
    record.output(write_leaderboard(out / "leaderboard.csv", documents.leaderboard(results)))
    record.output(write_metrics(out / "metrics.json", metrics))
    record.output(write_comparisons(out / "comparisons.csv", comparisons(experiment, ranking, roles)))
    record.output(write_curves(out / "curves.csv", documents.curve_points(results)))
    record.output(write_winner(out / "winner.json", documents.winner(results, metrics, explained)))
    _record_results(record, metrics)


def _prevalence(stated: float | None, experiment: Experiment) -> tuple[float, documents.PrevalenceFrom]:
    """Return the stated prevalence, or the share of positives among the patients that are not external."""
    if stated is not None:
        return stated, "stated"
    positive = (experiment.target == 1)[np.array(experiment.test_fold) != "external"]
    return float(positive.sum() / max(len(positive), 1)), "cohort"


def _reference(reference: str | None, experiment: Experiment) -> str:
    names = list(experiment.candidates)
    if reference is None:
        return names[0]
    if reference not in names:
        raise UsageError(
            f"--reference {reference} is not a variant with usable runs: expected one of {', '.join(names[:10])}",
            "Name a variant of these runs.",
        )
    return reference


def _explained(folds: Sequence[int] | None, winner: Candidate) -> list[int]:
    """Return the folds to explain: those named, each once, or all of the winner."""
    winner_positions = sorted(winner.positions)
    if folds is None:
        return winner_positions
    absent = [fold for fold in folds if fold not in winner.positions]
    if absent:
        raise UsageError(
            f"--explain-folds names fold {absent[0]}, which the winner does not have: "
            f"expected folds among {', '.join(map(str, winner_positions))}",
            "Name folds on which every variant was trained, or `none`.",
        )
    return list(dict.fromkeys(folds))


def _record_results(record: Record, metrics: Metrics) -> None:
    area = metrics.headline.patient["auc"]
    record.counts.update(
        variants=len(metrics.variants),
        runs=sum(len(variant.folds) for variant in metrics.variants.values()),
        missing=len(metrics.missing),
        guards_fired=sum(guard.fired for guard in metrics.guards),
    )
    record.facts.update(winner=metrics.winner.variant, headline_auc=area.value)
    log.info("nested patient AUC %s (95 %% interval %s to %s); winner %s", *_to_texts(area), metrics.winner.variant)
    for run in metrics.missing:
        log.warning("run %s-f%s is left out: %s", run.variant, run.fold, run.why)
    for guard in (guard for guard in metrics.guards if guard.fired):
        log.warning("guard %s fired; expected: %s", guard.name, guard.statement)


def _to_texts(estimate: Figure) -> list[str]:
    return ["unknown" if end is None else f"{end:.3f}" for end in (estimate.value, estimate.lower, estimate.upper)]
