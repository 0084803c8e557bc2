"""Synthetic finished runs: archives as `train` writes them, over a cohort without voxels."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from claire.core.command.files import write_json
from claire.core.command.record import SCHEMA_VERSION
from claire.core.command.tables import write_csv
from claire.core.contracts.variant import Variant

SHA = "c" * 64
HEAD = ["run", "fold", "split", "level", "patient", "scan", "slice", "target"]
SCANS = (
    "scan",
    "patient",
    "label",
    "split",
    "site",
    "vendor",
    "model",
    "kernel",
    "thickness_mm",
    "sex",
    "age_band",
    "pixel_hash",
)
Score = Callable[[np.random.Generator, int], float]


def told_apart(gap: float) -> Score:
    """Return scores whose logits are normal, `gap` standard deviations between the classes: AUC = Φ(gap / √2)."""
    return lambda rng, target: float(1 / (1 + np.exp(-rng.normal(gap * target, 1))))


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

    def rows(self) -> list[dict[str, object]]:
        return [
            {
                "scan": f"S{i:04d}{j}",
                "patient": f"P{i:04d}",
                "label": self.classes[self.target(i)],
                "split": "",
                "site": self.sites[i // 7 % len(self.sites)],
                "vendor": "Maker" if i % 5 else "Other",
                "kernel": "soft" if i % 3 else "sharp",
                "thickness_mm": 1.0 + i % 2,
                "sex": "MF"[i // 2 % 2],
                "age_band": f"{5 + i % 3}0-{5 + i % 3}9",
                "pixel_hash": f"{i:04d}{j}",
            }
            for i in range(self.patients)
            for j in range(self.scans_each)
        ]

    def tables(self, rows: list[dict[str, object]] | None = None, **more: object) -> list[str]:
        """Write scans.csv and cohort.json and the manifest; return the flags that name them."""
        write_csv(self.folder / "scans.csv", SCANS, self.rows() if rows is None else rows)
        document = {"schema_version": SCHEMA_VERSION, "sha256": SHA, "classes": list(self.classes)}
        write_json(self.folder / "cohort.json", document | {"folds": self.folds, "phantom": self.phantom} | more)
        (self.folder / "runs.txt").write_text("".join(f"{path}\n" for path in self.runs))
        names = {"--runs": "runs.txt", "--scans": "scans.csv", "--cohort-summary": "cohort.json"}
        return [word for flag, name in names.items() for word in (flag, str(self.folder / name))]

    def train(
        self, variant: Variant, fold: int, score: Score, seed: int = 0, slices: int = 0, labelled: bool = False
    ) -> Path:
        """Write the archive of one run whose scores come from `score`, and add it to the manifest."""
        rng = np.random.default_rng([seed, fold])
        lines = []
        for i in range(self.patients):
            home, target = self.fold(i), self.target(i)
            rng = np.random.default_rng([seed, i]) if self.stubborn else rng
            split = {fold: "test", (fold + 1) % self.folds: "validation"}.get(home)
            for j in range(self.scans_each if split else 0):
                who = [
                    f"{variant.id}-f{fold}",
                    fold,
                    split,
                    "scan",
                    f"P{i:04d}",
                    f"S{i:04d}{j}",
                    "",
                    self.classes[target],
                ]
                lines.append(who + self.probabilities(rng, target, score))
                for z in range(slices):
                    label = self.classes[target if z % 2 else 0] if labelled else ""
                    lines.append([*who[:3], "slice", *who[4:6], z, label, *self.probabilities(rng, target, score)])
        return self.pack(variant, fold, lines)

    def probabilities(self, rng: np.random.Generator, target: int, score: Score) -> list[float]:
        if len(self.classes) == 2:
            positive = score(rng, target)
            return [1 - positive, positive]
        raw = np.array([score(rng, int(c == target)) for c in range(len(self.classes))])
        return list(raw / raw.sum())

    def pack(self, variant: Variant, fold: int, lines: list[list[object]], sha256: str = SHA) -> Path:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(HEAD + [f"probability_{name}" for name in self.classes])
        writer.writerows(lines)
        path = self.folder / f"{variant.id}-f{fold}.run.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("predictions.csv", table.getvalue())
            archive.writestr("variant.json", json.dumps(variant.document()))
            archive.writestr("train.json", json.dumps({"fold": fold, "cohort": sha256}))
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
