"""Plausible inputs of `report`, made without training: a cohort, runs with predictions, explained folds, records."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from claire.core.command.files import sha256_file
from claire.core.command.record import Host, StepRecord, write_record
from claire.core.contracts.cohort_summary import CohortSummary, write_cohort_summary
from claire.core.contracts.folds import FoldRow, write_folds
from claire.core.contracts.gates import SHARES, Evidence, gates, reliable
from claire.core.contracts.lesions import (
    Background,
    ExplainedNetwork,
    ExplainedScan,
    InsertionAudit,
    InsertionCell,
    Interaction,
    Lesion,
    LesionsDocument,
    MethodFigures,
    Outcome,
    Refinement,
    write_lesions,
)
from claire.core.contracts.metrics import Figure
from claire.core.contracts.rejects import Reject, write_rejects
from claire.core.contracts.run import PredictionRow, Split, run_name, write_run
from claire.core.contracts.scan_table import ScanRow, write_scan_table
from claire.core.contracts.variant import Variant
from claire.explain.lesions.sentence import sentence
from PIL import Image

from tests.support.command import claire
from tests.support.runs import run_facts

FOLDS = 3
COHORT = "c0" * 32
SOURCE = "5a" * 32
PICTURES = ("lesions", "saliency")


@dataclass
class World:
    """A made-up run of the pipeline. Change its fields, then `write` it."""

    patients: int = 36
    classes: tuple[str, ...] = ("negative", "positive")
    sites: tuple[str, ...] = ("north", "south")
    phantom: bool = True
    explained: bool = True
    gate_open: bool = True
    seed: int = 0
    variants: Sequence[Variant] = field(
        default_factory=lambda: [
            Variant(), Variant(view="whole"), Variant(architecture="torchvision:densenet121"),
            Variant(labels="inherited", pooling="mean"),
        ]
    )  # fmt: skip

    def rows(self) -> list[ScanRow]:
        """Return the rows of scans.csv, classes alternating, sites in blocks."""
        rng = np.random.default_rng(self.seed)
        return [
            ScanRow(
                scan=f"S{i:012x}",
                patient=f"P{i:012x}",
                label=self.classes[i % len(self.classes)],
                split="",
                site=self.sites[(i // 2) % len(self.sites)],
                vendor=("Maker", "Other")[(i // 4) % 2],
                model="M1",
                kernel="LUNG",
                thickness_mm=1.5,
                slice_spacing_mm=1.25,
                slices_kept=int(rng.integers(90, 220)),
                slices=240,
                right_ml=round(rng.normal(2600, 300), 1),
                left_ml=round(rng.normal(2200, 300), 1),
                sex="FM"[(i // 3) % 2],
                age_band=("40-49", "60-69")[(i // 5) % 2],
                reference_standard="RT-PCR",
                phantom=self.phantom,
                pixel_hash=f"{i:064x}",
            )
            for i in range(self.patients)
        ]

    def fold(self, index: int) -> int:
        """Return the fold of a patient."""
        return (index // len(self.classes)) % FOLDS

    def write(self, folder: Path) -> dict[str, Any]:
        """Write all inputs into `folder`; return the flags of `claire report` by name (manifests for lists)."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        flags: dict[str, Path] = {
            "scans": write_scan_table(folder / "scans.csv", rows),
            "cohort_summary": write_cohort_summary(folder / "cohort.json", self._cohort(rows)),
            "folds": write_folds(
                folder / "folds.csv",
                (
                    FoldRow(patient=row.patient, label=row.label, split=row.split, fold=self.fold(i))
                    for i, row in enumerate(rows)
                ),
            ),
            "rejects": write_rejects(folder / "rejects.csv", _rejects()),
        }
        runs = self._runs(folder, rows)
        flags |= evaluate(folder, runs, flags["scans"], flags["cohort_summary"])
        lesions, overlays = self._explain(folder, rows) if self.explained else ([], [])
        records = self._records(folder, runs, flags)
        for name, paths in (("lesions", lesions), ("overlays", overlays), ("records", records)):
            flags[name] = _manifest(folder / f"{name}.txt", paths)
        return flags

    def _cohort(self, rows: Sequence[ScanRow]) -> CohortSummary:
        by_class = dict(Counter(row.label for row in rows))
        return CohortSummary(
            sha256=COHORT,
            classes=self.classes,
            size=256,
            fold_count=FOLDS,
            seed=0,
            scans=len(rows),
            patients=len(rows),
            slices=sum(row.slices_kept for row in rows),
            labelled_slices=0,
            patients_by_class=by_class,
            scans_by_class=by_class,
            cells=(),
            reference_standards={"RT-PCR": len(rows)},
            rejected={"not_chosen": 2, "missing_slices": 1},
            phantom=self.phantom,
        )

    def _runs(self, folder: Path, rows: Sequence[ScanRow]) -> list[Path]:
        made = []
        for number, variant in enumerate(self.variants):
            for k in range(FOLDS):
                rng = np.random.default_rng([self.seed, number, k])
                run = run_name(variant, k)
                facts = run_facts(variant, k, self.classes, COHORT)
                predictions = self._predictions(rows, run, k, 1.9 - 0.45 * number, rng)
                made.append(write_run(folder / f"{run}.run.zip", variant, facts, predictions, []))
        return made

    def _predictions(
        self, rows: Sequence[ScanRow], run: str, k: int, skill: float, rng: np.random.Generator
    ) -> Iterable[PredictionRow]:
        splits: dict[int, Split] = {k: "test", (k + 1) % FOLDS: "validation"}
        for i, row in enumerate(rows):
            split = splits.get(self.fold(i))
            scores = rng.normal(0, 1, len(self.classes))
            scores[self.classes.index(row.label)] += skill
            chances = np.exp(scores) / np.exp(scores).sum()
            if split:
                probability = tuple(map(float, chances))
                yield PredictionRow(run, k, split, "scan", row.patient, row.scan, None, row.label, probability)

    def _explain(self, folder: Path, rows: Sequence[ScanRow]) -> tuple[list[Path], list[Path]]:
        variant = self.variants[0]
        lesions: list[Path] = []
        overlays: list[Path] = []
        for k in range(FOLDS):
            rng = np.random.default_rng([self.seed, k])
            tested = [row for i, row in enumerate(rows) if self.fold(i) == k]
            run = run_name(variant, k)
            document = explained(run, variant.id, k, self.classes, self.gate_open,
                                 [_scan(row, self.classes, rng) for row in tested])  # fmt: skip
            lesions.append(write_lesions(folder / f"{run}.lesions.json", document))
            overlays.append(folder / f"{run}.overlays.zip")
            with zipfile.ZipFile(overlays[-1], "w") as archive:
                for name in (name for scan in document.scans for name in scan.images):
                    archive.writestr(zipfile.ZipInfo(name), _png(rng))
        return lesions, overlays

    def _records(self, folder: Path, runs: Sequence[Path], flags: Mapping[str, Path]) -> list[Path]:
        cohort = {"cohort.h5": COHORT} | {flags[name].name: sha256_file(flags[name]) for name in ("scans", "folds")}
        made = [
            record(folder, "ingest", "0000", {"min_slices": 20}, {}, {"0000.scans.zip": "1" * 64}),
            record(folder, "cohort", "", {"folds": FOLDS, "seed": 0}, {"prepared": "2" * 64}, cohort),
        ]
        for path in runs:
            stem = path.name.split(".")[0]
            outputs = {path.name: sha256_file(path), f"{stem}.safetensors": "ab" * 32}
            made.append(record(folder, "train", stem, {"fold": int(stem[-1])}, {"cohort": COHORT}, outputs))
        return made


def evaluate(folder: Path, runs: Sequence[Path], scans: Path, cohort: Path) -> dict[str, Path]:
    """Run `claire evaluate` on the runs; return its four tables by flag of report."""
    listing = _manifest(folder / "runs.txt", runs)
    argv: list[Any] = [
        "--runs",
        listing,
        "--scans",
        scans,
        "--cohort-summary",
        cohort,
        "--bootstrap",
        100,
        "--out",
        folder / "evaluated",
    ]
    assert claire("evaluate", argv) == 0
    files = {"leaderboard": "leaderboard.csv", "metrics": "metrics.json"}
    files |= {"comparisons": "comparisons.csv", "curves": "curves.csv"}
    return {flag: folder / "evaluated" / name for flag, name in files.items()}


def explained(
    run: str, variant: str, fold: int, classes: Sequence[str], gate_open: bool, scans: Sequence[ExplainedScan]
) -> LesionsDocument:
    """Return a lesions.json document, with evidence that opens every gate once folds are pooled, or that shuts some."""
    positives = (1.0,) * 14
    shares = {name: positives if rule.at_least else (0.0,) * 14 for name, rule in SHARES.items()}
    if not gate_open:
        shares["empty_lung"] = (0.0,) * 14
    evidence = Evidence(auc=0.93, positives=20, negatives=20, shares=shares, guards_fired=())
    judged = gates([evidence])
    gains = {"interventions": Figure(value=0.12, lower=0.02, upper=0.2), "hu_smoothed": None}
    methods = (
        MethodFigures(
            method=name,
            outcome="TP",
            n=12,
            deletion_auc=Figure(value=0.2, lower=0.1, upper=0.3),
            insertion_auc=Figure(value=0.8, lower=0.7, upper=0.9),
            gain_over_hu=gain,
        )
        for name, gain in gains.items()
    )
    return LesionsDocument(
        run=run,
        variant=variant,
        fold=fold,
        classes=tuple(classes),
        network=ExplainedNetwork(
            auc_validation=0.93,
            operating_point=0.5,
            refined=False,
            refinement=Refinement(taken=False, reason="not asked for", steps=0),
            healer_steps=100,
        ),
        evidence=evidence,
        gates=judged,
        reliable=reliable(judged),
        statement="Not reliable: not every gate is open in this fold.",
        infills=("constant", "noise"),
        methods=tuple(methods),
        insertion=InsertionAudit(
            places=20,
            cells=(
                InsertionCell(
                    axis="all", level="all", n=20, turned=Figure(value=0.4, lower=0.19, upper=0.64), rise=1.2
                ),
            ),
            turning_ml=85.0,
        ),
        scans=tuple(scans),
    )


def _scan(row: ScanRow, classes: Sequence[str], rng: np.random.Generator) -> ExplainedScan:
    positive = row.label != classes[0]
    chance = float(np.clip(rng.normal(0.75 if positive else 0.25, 0.25), 0.01, 0.99))
    called = chance >= 0.5
    outcomes: dict[tuple[bool, bool], Outcome] = {
        (True, True): "TP", (False, True): "FP", (True, False): "FN", (False, False): "TN",
    }  # fmt: skip
    lesions = tuple(lesion(i, rng) for i in range(int(rng.integers(1, 5)) if called else 0))
    found = ExplainedScan(
        scan=row.scan,
        patient=row.patient,
        label=row.label,
        probability=chance,
        decision=classes[-1] if called else classes[0],
        explained_class=classes[-1],
        outcome=outcomes[positive, called],
        images=tuple(f"{row.scan}.{what}.png" for what in PICTURES),
        lesions=lesions,
        probability_without=0.08 if called else None,
        background=Background(log_odds=-3.5, probability=0.03, decision=classes[0], share=0.04) if called else None,
        interactions=(Interaction(first=1, second=2, value=-0.4),) if len(lesions) > 1 else (),
    )
    return found.model_copy(update={"sentence": sentence(found)})


def lesion(index: int, rng: np.random.Generator) -> Lesion:
    """Return a lesion of rank `index` + 1; the first is crucial, the fourth is a region below the noise."""
    delta = float(3 / (index + 1))
    sides: tuple[Literal["right", "left"], ...] = ("right", "left")
    zones: tuple[Literal["lower", "middle", "upper"], ...] = ("upper", "middle", "lower")
    x, y, z = (round(float(value), 1) for value in rng.normal(0, 60, 3))
    ranked = index < 3
    return Lesion(
        id=index + 1,
        kind="lesion" if index < 3 else "region",
        rank=index + 1 if ranked else None,
        rank_low=max(1, index) if ranked else None,
        rank_high=index + 2 if ranked else None,
        crucial=index == 0,
        centroid_lps_mm=(x, y, z),
        volume_ml=float(rng.gamma(2, 4)),
        mean_hu=float(rng.normal(-500, 80)),
        side=sides[int(rng.integers(2))],
        zone=zones[int(rng.integers(3))],
        proposers=("hu", "grad_cam"),
        slice=int(rng.integers(20, 90)),
        delta=delta,
        delta_per_ml=delta / 8,
        delta_probability=delta / 8,
        noise=0.2,
        necessity=delta,
        sufficiency=delta,
        delta_by_infill={"constant": delta - 0.1, "noise": delta + 0.1},
        infills_agree=index < 2,
        shapley=None,
    )


def record(
    folder: Path, step: str, stem: str, parameters: Mapping[str, Any], inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> Path:  # fmt: skip
    """Write the record of an execution with a fixed time."""
    document = StepRecord(
        step=step, stem=stem, version="0.1.0", source=SOURCE, parameters=dict(parameters), inputs=dict(inputs),
        outputs=dict(outputs), counts={}, facts={}, started="2026-01-02T03:04:05Z", seconds=12.5, cpu_seconds=10.0,
        peak_memory_mib=321.0, host=Host(system="Linux", machine="x86_64", python="3.11.9"),
    )  # fmt: skip
    return write_record(folder, document)


def _rejects() -> list[Reject]:
    rows = [("index", "not_chosen", "thicker than the chosen series"), ("index", "not_chosen", "MIP"),
            ("ingest", "missing_slices", "gap of 5.0 mm after slice 12")]  # fmt: skip
    return [
        Reject(step=step, shard="0000", line=i, scan=f"Sffff{i:08x}", reason=reason, detail=detail)
        for i, (step, reason, detail) in enumerate(rows)
    ]


def _png(rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).resize((96, 96)).save(stream, "PNG")
    return stream.getvalue()


def _manifest(path: Path, listed: Sequence[Path]) -> Path:
    path.write_text("".join(f"{entry}\n" for entry in listed))
    return path
