"""The inputs of the step, opened and checked for consistency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.bundle import Parameters
from claire.core.command.errors import UsageError, require
from claire.core.command.record import StepRecord, read_record
from claire.core.contracts.cohort import Cohort
from claire.core.contracts.cohort_summary import CohortSummary, read_cohort_summary
from claire.core.contracts.folds import read_folds
from claire.core.contracts.lesions import LesionsDocument, read_lesions
from claire.core.contracts.metrics import Metrics, VariantMetrics, read_metrics
from claire.core.contracts.run import Run, read_run
from claire.core.contracts.scan_table import ScanRow, read_scan_table
from claire.core.contracts.variant import Variant
from claire.core.contracts.verified import open_verified
from claire.core.contracts.weights_facts import WeightsFacts, read_weights_facts
from claire.core.contracts.winner import Winner, read_winner

SAME = "Give the files of one execution of the workflow."


@dataclass(frozen=True)
class Inputs:
    """The opened inputs; `runs`, `weights` and `lesions` by fold, the last for explained folds alone."""

    winner: Winner
    metrics: Metrics
    cohort: Cohort
    summary: CohortSummary
    scans: Mapping[str, ScanRow]
    runs: Mapping[int, Run]
    weights: Mapping[int, Path]
    lesions: Mapping[int, LesionsDocument]
    records: Sequence[StepRecord]

    @property
    def variant(self) -> Variant:
        """The winner."""
        return self.figures.variant

    @property
    def figures(self) -> VariantMetrics:
        """What evaluate measured of the winner."""
        return self.metrics.variants[self.winner.variant]


def path_of(path: Path | None) -> Path:
    """Return a path that the parameters require."""
    if path is None:
        raise UsageError("an input is missing", "`claire bundle --help` lists what is required.")
    return path


def open_inputs(parameters: Parameters) -> Inputs:
    """Open all inputs. Raises UsageError if they belong to different cohorts, variants or folds."""
    winner, metrics = read_winner(path_of(parameters.winner)), read_metrics(path_of(parameters.metrics))
    summary = read_cohort_summary(path_of(parameters.cohort_summary))
    cohort = open_verified(path_of(parameters.cohort), parameters.store)
    scans = read_scan_table(path_of(parameters.scans))
    runs = [read_run(path, summary.classes) for path in parameters.runs]
    facts = {path: read_weights_facts(path) for path in parameters.weights}
    lesions = [read_lesions(path) for path in parameters.lesions]
    _require_one_cohort(summary, metrics, cohort, scans, [run.facts.cohort_sha256 for run in runs])
    require(metrics.winner.variant == winner.variant, "winner.json and metrics.json name different variants", SAME)
    _require_runs(winner, runs)
    _require_weights(runs, facts)
    _require_folds(runs, path_of(parameters.folds))
    strangers = {document.run for document in lesions} - {run.name for run in runs}
    require(not strangers, f"lesions of {_first(strangers)} were given, which is not a run of the winner", SAME)
    return Inputs(
        winner=winner,
        metrics=metrics,
        cohort=cohort,
        summary=summary,
        scans=scans,
        runs={run.fold: run for run in sorted(runs, key=lambda run: run.fold)},
        weights={fact.fold: path for path, fact in facts.items()},
        lesions={document.fold: document for document in lesions},
        records=[read_record(path) for path in parameters.records],
    )


def _require_one_cohort(
    summary: CohortSummary, metrics: Metrics, cohort: Cohort, scans: Mapping[str, ScanRow], of_runs: Iterable[str]
) -> None:
    others = {"metrics.json": metrics.cohort_sha256, "cohort.h5": cohort.sha256}
    others |= {f"run {number + 1} of --runs": sha256 for number, sha256 in enumerate(of_runs)}
    for name, sha256 in others.items():
        require(sha256 == summary.sha256, f"{name} is of another cohort than cohort.json", SAME)
    strangers = {scan.scan for scan in cohort.scans} ^ set(scans)
    require(not strangers, f"scan {_first(strangers)} is in one of cohort.h5 and scans.csv only", SAME)


def _require_runs(winner: Winner, runs: Sequence[Run]) -> None:
    other = [run.name for run in runs if run.variant.id != winner.variant]
    require(not other, f"run {_first(other)} is not of the winner {winner.variant}", SAME)
    given = sorted(run.fold for run in runs)
    require(
        given == sorted(winner.fold),
        f"--runs has the folds {_listed(given)}: expected those of winner.json, {_listed(sorted(winner.fold))}",
        "Give the run of each fold of the winner once.",
    )


def _require_weights(runs: Sequence[Run], facts: Mapping[Path, WeightsFacts]) -> None:
    given, expected = sorted(fact.run for fact in facts.values()), sorted(run.name for run in runs)
    require(
        given == expected,
        f"--weights has the runs {_listed(given)}: expected {_listed(expected)}",
        "Give the weights of each of --runs once.",
    )
    cohort = {run.name: run.facts.cohort_sha256 for run in runs}
    for path, fact in facts.items():
        fits = fact.cohort_sha256 == cohort[fact.run] and not fact.refined
        require(fits, f"{path.name} holds other weights than those of its run", "Give the weights that train wrote.")


def _require_folds(runs: Sequence[Run], path: Path) -> None:
    """Require that the validation patients of each run are those of its fold: operating points come from them."""
    folds = read_folds(path)
    for run in runs:
        validated = set(run.scans["validation"].patient.tolist()) if "validation" in run.scans else set()
        require(
            validated <= folds.roles(run.fold)["validation"],
            f"run {run.name} validated other patients than {path.name} says",
            "Give the folds.csv that it was trained with.",
        )


def _first(names: Iterable[str]) -> str:
    return min(names, default="")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"
