"""The files of a winner over the synthetic cohort, each written by the step or contract that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.cohort_summary import CohortSummary, write_cohort_summary
from claire.core.contracts.scan_table import ScanRow, write_scan_table
from claire.core.contracts.variant import Variant
from claire.index import Parameters as IndexParameters
from claire.ingest import Parameters as IngestParameters
from claire.preprocess import Parameters as PreprocessParameters

from tests.support.command import claire
from tests.support.explaining import FLAT, Trained, train_tiny
from tests.support.report_inputs import record
from tests.support.synthetic import CLASSES, SIZE, SLICES, CohortFiles

FOLDS = 3
#: A site whose name nothing else has.
SITE = "Waldfrieden"


@dataclass(frozen=True)
class Winner:
    """The files of a winner, by flag of `claire bundle`; `trained` by fold."""

    files: Mapping[str, Path | Sequence[Path]]
    trained: Sequence[Trained]
    folder: Path

    def argv(self, **changes: Path | Sequence[Path] | None) -> list[str]:
        """Return the flags that name the files, those of a list by a manifest; None leaves one out."""
        argv = []
        for name, value in {**self.files, **changes}.items():
            if value is None:
                continue
            if not isinstance(value, Path):
                manifest = self.folder / f"{name}.txt"
                manifest.write_text("".join(f"{path}\n" for path in value))
                value = manifest
            argv += [f"--{name.replace('_', '-')}", str(value)]
        return argv


def scan_rows(files: CohortFiles) -> list[ScanRow]:
    """Return the rows of scans.csv of the synthetic cohort."""
    return [
        ScanRow(
            scan=scan.scan, patient=scan.patient, label=scan.label, split="", site=SITE, vendor="Maker", model="M1",
            kernel="soft" if number % 3 else "sharp", thickness_mm=8.0 + number % 3, slice_spacing_mm=10.0,
            slices_kept=scan.count, slices=scan.original_shape[0], right_ml=1000.0, left_ml=900.0, sex="F",
            age_band="60-69", reference_standard="RT-PCR", phantom=True, pixel_hash=f"{number:04d}",
        )
        for number, scan in enumerate(open_cohort(files.cohort).scans)
    ]  # fmt: skip


def summary(files: CohortFiles) -> CohortSummary:
    """Return the summary of the synthetic cohort."""
    scans = open_cohort(files.cohort).scans
    counts = {name: sum(scan.label == name for scan in scans) for name in CLASSES}
    return CohortSummary(
        sha256=files.sha256, classes=CLASSES, size=SIZE, fold_count=FOLDS, seed=3, scans=len(scans),
        patients=len(scans), slices=len(scans) * SLICES, labelled_slices=0, patients_by_class=counts,
        scans_by_class=counts, cells=(), reference_standards={"RT-PCR": len(scans)}, rejected={}, phantom=True,
    )  # fmt: skip


def records(folder: Path, **of_preprocess: object) -> list[Path]:
    """Write records of index, ingest and preprocess with the defaults of their flags, but for those named."""
    models = {"index": IndexParameters, "ingest": IngestParameters, "preprocess": PreprocessParameters}
    recorded = {step: model.model_construct().recorded() for step, model in models.items()}
    recorded["preprocess"] |= of_preprocess
    stems = {"index": "", "ingest": "0000", "preprocess": "0000"}
    return [record(folder, step, stems[step], recorded[step], {}, {}) for step in models]


def make_winner(files: CohortFiles, folder: Path, variant: Variant = FLAT, steps: int = 30) -> Winner:
    """Train a variant on every fold, compare it and write everything that `claire bundle` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = [train_tiny(files, variant, folder, steps, fold) for fold in range(FOLDS)]
    scans = write_scan_table(folder / "scans.csv", scan_rows(files))
    cohort_summary = write_cohort_summary(folder / "cohort.json", summary(files))
    winner = Winner(
        {
            "weights": [each.weights for each in trained],
            "runs": [each.run for each in trained],
            "winner": folder / "winner.json",
            "metrics": folder / "metrics.json",
            "cohort": files.cohort,
            "cohort_summary": cohort_summary,
            "scans": scans,
            "folds": files.folds,
            "records": records(folder),
        },
        trained,
        folder,
    )
    evaluation = winner.argv(**dict.fromkeys(("weights", "winner", "metrics", "cohort", "folds", "records")))
    assert claire("evaluate", [*evaluation, "--bootstrap", "100", "--out", str(folder)]) == 0
    return winner
