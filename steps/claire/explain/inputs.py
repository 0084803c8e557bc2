"""The inputs of the step, opened and checked for consistency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.core.command.errors import UsageError
from claire.core.command.progress import about
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.folds import read_folds
from claire.core.contracts.run import Run, read_run
from claire.core.contracts.variant import differing_grid
from claire.core.contracts.verified import open_verified
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.contracts.winner import read_winner
from claire.core.networks.build import load_network
from claire.core.networks.devices import choose_device, make_deterministic
from claire.explain import Parameters
from claire.explain.probe import Probe

#: Facts of the training that a judge must share with the explained network, beside the grid.
SAME_FACTS = ("classes", "cohort_sha256", "fold")


@dataclass(frozen=True)
class Inputs:
    """The opened inputs. `facts`: of the weights; `roles`: the scans by role in the fold of the run.

    `guards_fired`: the guards of evaluate that fired, None without its winner.json; `variant_better`: whether that says
    that the variant's patient AUC, over all folds, is above 0.5.
    """

    cohort: Cohort
    run: Run
    facts: WeightsFacts
    probe: Probe
    judge: Probe | None
    roles: Mapping[str, list[Scan]]
    guards_fired: tuple[str, ...] | None
    variant_better: bool


def of_training(parameters: Parameters) -> tuple[Path, Path, Path]:
    """Return the weights, the run and the folds, which are required unless a model is given."""
    weights, run, folds = parameters.weights, parameters.run, parameters.folds
    if weights is None or run is None or folds is None:
        raise UsageError(
            "--model names a network of a model, so there is nothing to list", "Give --weights, --run and --folds."
        )
    return weights, run, folds


def open_inputs(parameters: Parameters) -> Inputs:
    """Open all inputs. Raises UsageError if they belong to different runs, cohorts or folds."""
    make_deterministic(parameters.threads)
    weights, run_path, folds_path = of_training(parameters)
    network, facts = load_network(weights)
    device = choose_device(parameters.device, facts.variant.dimensions)
    cohort, folds = open_verified(parameters.cohort, parameters.store), read_folds(folds_path)
    run = read_run(run_path, facts.classes)
    about("explain", run.name)
    _require_same_training(facts, run, cohort)
    roles = {role: cohort.by_patient(patients) for role, patients in folds.roles(facts.fold).items()}
    _require_test_scans(roles["test"], run)
    probe = Probe(network, facts.variant, device)
    judge = _open_judge(parameters.judge, probe, facts)
    winner = None if parameters.winner is None else read_winner(parameters.winner)
    fired = None if winner is None else winner.guards_fired
    better = winner is not None and winner.variant == run.variant.id and winner.better_than_chance
    return Inputs(cohort, run, facts, probe, judge, roles, fired, better)


def _require_same_training(facts: WeightsFacts, run: Run, cohort: Cohort) -> None:
    if facts.run != run.name:
        raise UsageError(
            f"--weights and --run are from different trainings: expected run {facts.run}, got {run.name}",
            "Give the two files of one training.",
        )
    if facts.cohort_sha256 != cohort.sha256:
        raise UsageError(
            f"--cohort is not the one that run {run.name} was trained on: "
            f"expected SHA-256 {facts.cohort_sha256[:12]}…, got {cohort.sha256[:12]}…",
            "Give the cohort of the training, or train again.",
        )
    if facts.classes != cohort.classes:
        raise UsageError(
            f"--weights has other classes than --cohort: expected {', '.join(cohort.classes)}, "
            f"got {', '.join(facts.classes)}",
            "Train again on this cohort.",
        )


def _require_test_scans(scans: Sequence[Scan], run: Run) -> None:
    remedy = "Give the folds.csv that the run was trained with."
    if not scans:
        raise UsageError(f"--folds has no test scans in fold {run.fold} of this cohort: expected at least 1", remedy)
    predicted = run.scans.get("test")
    if predicted is not None and set(predicted.scan) != {scan.scan for scan in scans}:
        raise UsageError(f"--folds gives fold {run.fold} other test scans than run {run.name} had", remedy)


def _open_judge(path: Path | None, probe: Probe, facts: WeightsFacts) -> Probe | None:
    if path is None:
        return None
    network, judge_facts = load_network(path)
    different = differing_grid(judge_facts.variant, probe.variant)
    different += [name for name in SAME_FACTS if getattr(judge_facts, name) != getattr(facts, name)]
    if different:
        raise UsageError(
            f"--judge differs from the explained network in {', '.join(different)}",
            "Give weights of another architecture on the same grid, cohort and fold.",
        )
    return Probe(network, judge_facts.variant, probe.device)
