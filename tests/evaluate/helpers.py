"""Evaluations of synthetic worlds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.metrics import Metrics, read_metrics
from claire.core.contracts.run import PredictionRow
from claire.core.contracts.scan_table import ScanRow
from claire.core.contracts.variant import Variant
from claire.evaluate.inputs import Experiment, read_experiment

from tests.support.command import claire
from tests.support.runs import World, told_apart

OUTPUTS = ("leaderboard.csv", "metrics.json", "comparisons.csv", "curves.csv", "winner.json")


def run(world: World, out: Path, *flags: str, **tables: object) -> int:
    """Evaluate all runs of a world; return the exit code."""
    return claire("evaluate", [*world.tables(**tables), "--out", str(out), "--bootstrap", "200", *flags])


def evaluated(world: World, out: Path, *flags: str, **tables: object) -> Metrics:
    """Evaluate all runs of a world; return metrics.json."""
    assert run(world, out, *flags, **tables) == 0
    return read_metrics(out / "metrics.json")


def refused(world: World, out: Path, capsys: pytest.CaptureFixture[str], *flags: str, **tables: object) -> str:
    """Return the error of an evaluation that must fail and leave nothing."""
    code = run(world, out, *flags, **tables)
    assert code in (1, 2)
    assert not any((out / name).exists() for name in OUTPUTS)
    return capsys.readouterr().err.split("claire evaluate: ")[-1]


def experiment_of(world: World) -> Experiment:
    """Return the runs of a world as the step reads them."""
    world.tables()
    return read_experiment(world.runs, world.folder / "scans.csv", world.folder / "cohort.json")


class ExternalWorld(World):
    """A cohort whose first twelve patients are predicted by every fold: they come from elsewhere."""

    split = "external"

    def rows(self) -> list[ScanRow]:
        splits = [self.split if i < 12 else "" for i in range(self.patients)]
        return [row.model_copy(update={"split": split}) for row, split in zip(super().rows(), splits, strict=True)]

    def fold(self, i: int) -> int:
        return -9 if i < 12 else super().fold(i)

    def train_fixed(self, variant: Variant) -> None:
        """Write the runs of a variant, each with the fixed patients besides those of its fold."""
        for fold in range(self.folds):
            rng = np.random.default_rng(fold)
            rows = []
            for i in range(self.patients):
                split = {-9: self.split, fold: "test", (fold + 1) % 3: "validation"}.get(self.fold(i))
                names = (f"P{i:04d}", f"S{i:04d}0", None, self.classes[i % 2])
                if split:
                    probability = self.probabilities(rng, i % 2, told_apart(1))
                    rows.append(PredictionRow(f"{variant.id}-f{fold}", fold, split, "scan", *names, probability))
            self.pack(variant, fold, rows)


class FixedTestWorld(ExternalWorld):
    """A cohort whose first twelve patients are tested by every fold, by the table of labels."""

    split = "test"
