"""Compare all runs: leaderboard, intervals, comparisons, winner.

Reads the predictions of every run (validation and test patients of every variant and fold) and writes
leaderboard.csv, metrics.json, comparisons.csv, curves.csv and winner.json. Patients are the unit of every figure and of
every interval; scores of different folds are never pooled. The headline is nested: in each fold the variant that is
best on validation predicts the test patients.
"""

from __future__ import annotations

from claire.core.command.errors import UsageError
from claire.core.command.files import sha256_file, sha256_json, write_json
from claire.core.command.parameters import InputFile, Manifest, StepParameters, parameter
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.command.tables import write_csv
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate import contrasts, curves, documents
from claire.evaluate.inputs import Experiment, gather
from claire.evaluate.selection import rank
from claire.evaluate.variant import Setting


class Parameters(StepParameters):
    """Parameters of `claire evaluate`."""

    runs: Manifest = parameter(help="manifest of the `.run.zip` files of all trainings, in order")
    scans: InputFile = parameter(help="scans.csv of the cohort")
    cohort_summary: InputFile = parameter(help="cohort.json of the cohort")
    seed: int = parameter(0, help="seed of the bootstrap", ge=0)
    bootstrap: int = parameter(2000, help="bootstrap samples of the patients", ge=100)
    reference: str | None = parameter(
        None, help="id of the variant that all others are compared with; without it that of the first run"
    )
    prevalence: float | None = parameter(
        None, help="share of positives for PPV, NPV and net benefit; else the cohort's", gt=0, lt=1
    )


def run(parameters: Parameters) -> None:
    """Compare the runs of the manifest and write all tables."""
    hashes = {
        "runs": sha256_json([sha256_file(path) for path in parameters.runs]),
        "scans": parameters.scans,
        "cohort_summary": parameters.cohort_summary,
    }
    with Record("evaluate", "", parameters.out, parameters.recorded(), hashes) as record:
        experiment = gather(parameters.runs, parameters.scans, parameters.cohort_summary)
        _evaluate(parameters, experiment, record)


def _evaluate(parameters: Parameters, experiment: Experiment, record: Record) -> None:
    strata = list(zip(experiment.home, experiment.target.tolist(), strict=True))
    weights = bootstrap_weights(strata, parameters.bootstrap, parameters.seed)
    prevalence, prevalence_from = _prevalence_of(parameters, experiment)
    named = {"reference": _reference(parameters, experiment)}
    ranking = rank(experiment, weights)
    named["winner"] = ranking.order(experiment.eligible)[0]
    setting = Setting(experiment, ranking, weights, prevalence)
    headline = documents.describe_headline(setting)
    described = {
        name: documents.describe_variant(setting, name) for name in progress(experiment.candidates, "variants measured")
    }
    document = documents.metrics_document(setting, described, headline, named, prevalence_from, parameters.seed)
    rows = [row for of in (headline[1], *described.values()) for row in of.curves]
    rows += documents.winner_folds(setting, named["winner"], described[named["winner"]])
    if len(experiment.classes) == 2:
        rows += curves.treat_all_curve(prevalence, experiment.classes[1])
    out = parameters.out
    board = documents.leaderboard(setting, described, named)
    record.output(write_csv(out / "leaderboard.csv", documents.LEADERBOARD, board))
    record.output(write_json(out / "metrics.json", document))
    compared = contrasts.comparisons(experiment, ranking, named)
    record.output(write_csv(out / "comparisons.csv", contrasts.COLUMNS, compared))
    record.output(write_csv(out / "curves.csv", curves.COLUMNS, rows))
    record.output(write_json(out / "winner.json", documents.winner_document(experiment, named["winner"])))
    _tell(record, document, named["winner"])


def _prevalence_of(parameters: Parameters, experiment: Experiment) -> tuple[float, str]:
    if parameters.prevalence is not None:
        return parameters.prevalence, "stated"
    own = [target == 1 for target, home in zip(experiment.target, experiment.home, strict=True) if home != "external"]
    return sum(own) / max(len(own), 1), "cohort"


def _reference(parameters: Parameters, experiment: Experiment) -> str:
    names = list(experiment.candidates)
    if parameters.reference is None:
        return names[0]
    if parameters.reference not in names:
        raise UsageError(
            f"--reference {parameters.reference} names no variant with usable runs",
            f"There are: {', '.join(names[:10])}.",
        )
    return parameters.reference


def _tell(record: Record, document: dict, winner: str) -> None:
    area = document["headline"]["patient"]["auc"]
    record.counts.update(
        variants=len(document["variants"]),
        runs=sum(len(of["folds"]) for of in document["variants"].values()),
        missing=len(document["missing"]),
        guards_fired=sum(guard["fired"] for guard in document["guards"]),
    )
    record.facts.update(winner=winner, headline_auc=area["value"])
    log.info("nested patient AUC %s (95 %% interval %s to %s); winner %s", *area_words(area), winner)
    for entry in document["missing"]:
        log.warning("run %s-f%s is left out: %s", entry["variant"], entry["fold"], entry["why"])
    for guard in (guard for guard in document["guards"] if guard["fired"]):
        log.warning("guard %s fired; what should hold: %s", guard["name"], guard["statement"])


def area_words(area: dict) -> list[str]:
    """Return a figure and its limits for people."""
    return ["unknown" if area[end] is None else f"{area[end]:.3f}" for end in ("value", "lower", "upper")]
