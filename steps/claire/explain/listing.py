"""What each gate needs and what a fold has, told beforehand from the run's own predictions (`--list`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from claire.core.contracts.folds import read_folds
from claire.core.contracts.gates import SHARES, Rule, needed
from claire.core.contracts.run import Predictions, read_run
from claire.core.contracts.weights import read_weights
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.statistics.decisions import decide
from claire.explain.refine import predicted_operating_point


def list_gates(weights: Path, run: Path, folds: Path) -> Iterator[str]:
    """Yield a line per gate: patients needed, those of this fold, and about how many all folds have."""
    _, facts = read_weights(weights)
    opened = read_run(run, facts.classes)
    fold_count = read_folds(folds).count
    counts = _counts(opened.scans.get("validation"), facts)
    yield f"run {opened.name}: fold {facts.fold} of {fold_count}, each network on its own validation patients"
    for name, rule in SHARES.items():
        yield _line(name, rule, counts[rule.subjects], fold_count)


def _line(name: str, rule: Rule, count: int, fold_count: int) -> str:
    fewest = needed(rule)
    pooled = count * fold_count
    enough = "enough" if pooled >= fewest else f"{fewest - pooled} too few"
    return (
        f"{name}: {fewest} patients {rule.subjects} needed; this fold has {count}, {fold_count} folds about {pooled} "
        f"({enough})"
    )


def _counts(predicted: Predictions | None, facts: WeightsFacts) -> dict[str, int]:
    """Return the numbers of validation patients called positive and called negative."""
    if predicted is None:
        return {"called positive": 0, "called negative": 0}
    called = decide(predicted.probability, predicted_operating_point(predicted, len(facts.classes))) > 0
    positive = set(predicted.patient[called].tolist())
    return {
        "called positive": len(positive),
        "called negative": len(set(predicted.patient[~called].tolist())),
    }
