"""Synthetic finished runs, written as `train` writes them, over a cohort without voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from claire.core.contracts.cohort_summary import CohortSummary, write_cohort_summary
from claire.core.contracts.run import PredictionRow, RunFacts, Split, run_name, write_run
from claire.core.contracts.scan_table import ScanRow, write_scan_table
from claire.core.contracts.variant import Variant

SHA = "c" * 64
Score = Callable[[np.random.Generator, int], float]


def told_apart(gap: float) -> Score:
    """Return scores whose logits are normal, `gap` standard deviations between the classes: AUC = Φ(gap / √2)."""
    return lambda rng, target: float(1 / (1 + np.exp(-rng.normal(gap * target, 1))))


def run_facts(variant: Variant, fold: int, classes: Sequence[str], sha256: str = SHA) -> RunFacts:
    """Return facts of a training that nobody did."""
    return RunFacts(
        run=run_name(variant, fold),
        fold=fold,
        classes=tuple(classes),
        cohort_sha256=sha256,
        device="cpu-fp32",
        parameters=1,
        best_epoch=1,
        epochs=1,
        stopped_early=False,
        scans={},
        patients={},
    )


@dataclass
class World:
    """A cohort in tables, and runs over it. Patient i has class i % classes, its test fold is i // classes % folds."""

    folder: Path
    patients: int = 60
    folds: int = 3
    classes: Sequence[str] = ("negative", "positive")
    scans_each: int = 1
    sites: Sequence[str] = ("a", "b")
    phantom: bool = False
    stubborn: bool = False  # a variant says the same of a patient in every fold
    runs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def target(self, i: int) -> int:
        return i % len(self.classes)

    def fold(self, i: int) -> int:
        return i // len(self.classes) % self.folds

    def rows(self) -> list[ScanRow]:
        return [
            ScanRow(
                scan=f"S{i:04d}{j}",
                patient=f"P{i:04d}",
                label=self.classes[self.target(i)],
                split="",
                site=self.sites[i // 7 % len(self.sites)],
                vendor="Maker" if i % 5 else "Other",
                model="",
                kernel="soft" if i % 3 else "sharp",
                thickness_mm=1.0 + i % 2,
                slice_spacing_mm=1.0,
                slices_kept=10,
                slices=12,
                right_ml=2600.0,
                left_ml=2200.0,
                sex="MF"[i // 2 % 2],
                age_band=f"{5 + i % 3}0-{5 + i % 3}9",
                reference_standard="",
                phantom=self.phantom,
                pixel_hash=f"{i:04d}{j}",
            )
            for i in range(self.patients)
            for j in range(self.scans_each)
        ]

    def summary(self, **changes: object) -> CohortSummary:
        """Return the summary of this cohort; of the counts only those that evaluation reads are right."""
        values: dict[str, object] = {
            "sha256": SHA, "classes": tuple(self.classes), "size": 64, "fold_count": self.folds, "seed": 0,
            "scans": self.patients * self.scans_each, "patients": self.patients, "slices": 0, "labelled_slices": 0,
            "patients_by_class": {}, "scans_by_class": {}, "cells": (), "reference_standards": {}, "rejected": {},
            "phantom": self.phantom,
        }  # fmt: skip
        return CohortSummary.model_validate(values | changes)

    def tables(self, rows: list[ScanRow] | None = None, **changes: object) -> list[str]:
        """Write scans.csv and cohort.json and the manifest; return the flags that name them."""
        write_scan_table(self.folder / "scans.csv", self.rows() if rows is None else rows)
        write_cohort_summary(self.folder / "cohort.json", self.summary(**changes))
        (self.folder / "runs.txt").write_text("".join(f"{path}\n" for path in self.runs))
        names = {"--runs": "runs.txt", "--scans": "scans.csv", "--cohort-summary": "cohort.json"}
        return [argument for flag, name in names.items() for argument in (flag, str(self.folder / name))]

    def train(
        self, variant: Variant, fold: int, score: Score, seed: int = 0, slices: int = 0, labelled: bool = False
    ) -> Path:
        """Write the archive of one run whose scores come from `score`, and add it to the manifest."""
        rng = np.random.default_rng([seed, fold])
        rows: list[PredictionRow] = []
        run = run_name(variant, fold)
        for i in range(self.patients):
            target = self.target(i)
            rng = np.random.default_rng([seed, i]) if self.stubborn else rng
            splits: dict[int, Split] = {fold: "test", (fold + 1) % self.folds: "validation"}
            split = splits.get(self.fold(i))
            if split is None:
                continue
            for j in range(self.scans_each):
                patient, scan = f"P{i:04d}", f"S{i:04d}{j}"
                label = self.classes[target]
                probability = self.probabilities(rng, target, score)
                rows.append(PredictionRow(run, fold, split, "scan", patient, scan, None, label, probability))
                for z in range(slices):
                    label_of_slice = self.classes[target if z % 2 else 0] if labelled else None
                    probability = self.probabilities(rng, target, score)
                    rows.append(PredictionRow(run, fold, split, "slice", patient, scan, z, label_of_slice, probability))
        return self.pack(variant, fold, rows)

    def probabilities(self, rng: np.random.Generator, target: int, score: Score) -> tuple[float, ...]:
        if len(self.classes) == 2:
            positive = score(rng, target)
            return 1 - positive, positive
        raw = np.array([score(rng, int(c == target)) for c in range(len(self.classes))])
        return tuple((raw / raw.sum()).tolist())

    def pack(self, variant: Variant, fold: int, rows: list[PredictionRow], sha256: str = SHA) -> Path:
        path = self.folder / f"{run_name(variant, fold)}.run.zip"
        write_run(path, variant, run_facts(variant, fold, self.classes, sha256), rows, [])
        if path not in self.runs:
            self.runs.append(path)
        return path

    def train_all(self, variants: Sequence[Variant], score: Score, **more: int | bool) -> None:
        """Train every variant on every fold, each with a seed of its own."""
        for seed, variant in enumerate(variants):
            for fold in range(self.folds):
                self.train(variant, fold, score, seed=seed, **more)


def variants(count: int) -> list[Variant]:
    """Return variants that differ in their seed."""
    return [Variant(seed=seed) for seed in range(count)]
