"""Compare all runs: leaderboard, intervals, comparisons, winner.

Reads the predictions of every run (validation and test patients of every variant and fold) and writes
leaderboard.csv, metrics.json, comparisons.csv, curves.csv and winner.json. Patients are the unit of every figure and of
every interval; scores of different folds are never pooled. The headline is nested: in each fold the variant that is
best on validation predicts the test patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from claire.core.command import cli
from claire.core.command.errors import UsageError
from claire.core.command.record import Record, sha256_file, sha256_json, write_json
from claire.core.command.tables import write_csv
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate import contrasts, curves, documents
from claire.evaluate.inputs import Experiment, gather
from claire.evaluate.selection import rank
from claire.evaluate.variant import Setting


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `claire evaluate`."""
    made = cli.parser("evaluate", __doc__)
    flags = made.add_argument
    flags("--runs", type=cli.manifest, required=True, help="text file with the path of one `.run.zip` a line, in order")
    flags("--scans", type=cli.existing_file, required=True, help="scans.csv of the cohort")
    flags("--cohort", type=cli.existing_file, required=True, help="cohort.json of the cohort")
    flags("--seed", type=cli.natural, default=0, help="seed of the bootstrap")
    flags("--bootstrap", type=_samples, default=2000, help="bootstrap samples of the patients, at least 100")
    flags("--reference", help="id of the variant that all others are compared with; without it that of the first run")
    flags("--prevalence", type=_prevalence, help="share of positives for PPV, NPV and net benefit; else the cohort's")
    return made


def _samples(text: str) -> int:
    value = int(text)
    if value < 100:
        raise argparse.ArgumentTypeError(f"{text} bootstrap samples are too few for a 95 % interval")
    return value


def _prevalence(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def run(args: argparse.Namespace) -> None:
    """Compare the runs of the manifest and write all tables."""
    parameters = {name: getattr(args, name) for name in ("seed", "bootstrap", "reference", "prevalence")}
    hashes = {
        "runs": sha256_json([sha256_file(path) for path in args.runs]),
        "scans": args.scans,
        "cohort": args.cohort,
    }
    with Record("evaluate", "", args.out, parameters, hashes) as record:
        experiment = gather(args.runs, args.scans, args.cohort)
        _evaluate(args, experiment, record)


def _evaluate(args: argparse.Namespace, experiment: Experiment, record: Record) -> None:
    strata = list(zip(experiment.home, experiment.target.tolist(), strict=True))
    weights = bootstrap_weights(strata, args.bootstrap, args.seed)
    prevalence, prevalence_from = _prevalence_of(args, experiment)
    named = {"reference": _reference(args, experiment)}
    ranking = rank(experiment, weights)
    named["winner"] = ranking.order(experiment.eligible)[0]
    setting = Setting(experiment, ranking, weights, prevalence)
    headline = documents.describe_headline(setting)
    described = {
        name: documents.describe_variant(setting, name)
        for name in cli.progress(experiment.candidates, "variants measured")
    }
    document = documents.metrics_document(setting, described, headline, named, prevalence_from, args.seed)
    rows = [row for of in (headline[1], *described.values()) for row in of.curves]
    rows += documents.winner_folds(setting, named["winner"], described[named["winner"]])
    if len(experiment.classes) == 2:
        rows += curves.treat_all_curve(prevalence, experiment.classes[1])
    out = args.out
    board = documents.leaderboard(setting, described, named)
    record.output(write_csv(out / "leaderboard.csv", documents.LEADERBOARD, board))
    record.output(write_json(out / "metrics.json", document))
    compared = contrasts.comparisons(experiment, ranking, named)
    record.output(write_csv(out / "comparisons.csv", contrasts.COLUMNS, compared))
    record.output(write_csv(out / "curves.csv", curves.COLUMNS, rows))
    record.output(write_json(out / "winner.json", documents.winner_document(experiment, named["winner"])))
    _tell(record, document, named["winner"])


def _prevalence_of(args: argparse.Namespace, experiment: Experiment) -> tuple[float, str]:
    if args.prevalence is not None:
        return args.prevalence, "stated"
    own = [target == 1 for target, home in zip(experiment.target, experiment.home, strict=True) if home != "external"]
    return sum(own) / max(len(own), 1), "cohort"


def _reference(args: argparse.Namespace, experiment: Experiment) -> str:
    names = list(experiment.candidates)
    if args.reference is None:
        return names[0]
    if args.reference not in names:
        raise UsageError(
            f"--reference {args.reference} names no variant with usable runs", f"There are: {', '.join(names[:10])}."
        )
    return args.reference


def _tell(record: Record, document: dict, winner: str) -> None:
    area = document["headline"]["patient"]["auc"]
    record.counts.update(
        variants=len(document["variants"]),
        runs=sum(len(of["folds"]) for of in document["variants"].values()),
        missing=len(document["missing"]),
        guards_fired=sum(guard["fired"] for guard in document["guards"]),
    )
    record.facts.update(winner=winner, headline_auc=area["value"])
    cli.log.info("nested patient AUC %s (95 %% interval %s to %s); winner %s", *area_words(area), winner)
    for entry in document["missing"]:
        cli.log.warning("run %s-f%s is left out: %s", entry["variant"], entry["fold"], entry["why"])
    for guard in (guard for guard in document["guards"] if guard["fired"]):
        cli.log.warning("guard %s fired; what should hold: %s", guard["name"], guard["statement"])


def area_words(area: dict) -> list[str]:
    """Return a figure and its limits for people."""
    return ["unknown" if area[end] is None else f"{area[end]:.3f}" for end in ("value", "lower", "upper")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `claire evaluate`; return its exit code."""
    return cli.execute(build_parser(), run, argv)
