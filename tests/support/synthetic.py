"""Synthetic inputs for tests: no CT, but shaped like what the steps hand on, and learnable in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from claire.core.contracts.cohort import Scan, write_cohort
from claire.core.contracts.folds import FoldRow, write_folds

SIZE, SLICES = 32, 8
CLASSES = ("negative", "positive")


@dataclass(frozen=True)
class CohortFiles:
    """Files of a synthetic cohort, and the hash of its content."""

    cohort: Path
    folds: Path
    sha256: str


def voxels(seed: int, positive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (hu, lungs) of one scan: two lungs in a body, a bright patch in one lung of positives."""
    rng = np.random.default_rng(seed)
    hu = np.full((SLICES, SIZE, SIZE), -1000.0)
    hu[:, 3:29, 2:30] = 40
    lungs = np.zeros(hu.shape, np.uint8)
    lungs[:, 8:26, 4:14], lungs[:, 8:26, 18:28] = 1, 2
    hu[lungs > 0] = -850
    if positive:
        row, column = rng.integers(10, 18), rng.choice([6, 20])
        hu[2:6, row : row + 6, column : column + 5] = -300
    return (hu + rng.normal(0, 25, hu.shape)).astype(np.int16), lungs


def make_cohort(folder: Path, patients: int = 18, folds: int = 3) -> CohortFiles:
    """Write `cohort.h5` and `folds.csv` of one scan a patient, classes alternating."""
    affine = np.diag([-8.0, -8.0, 10.0, 1.0])
    scans, rows = [], []
    for i in range(patients):
        label = CLASSES[i % 2]
        scans.append(
            Scan(
                scan=f"S{i:012x}",
                patient=f"P{i:012x}",
                label=label,
                first=i * SLICES,
                count=SLICES,
                slices=tuple(range(SLICES)),
                slice_labels=(-1,) * SLICES,
                affine=affine,
                slice_positions_mm=tuple(10.0 * z for z in range(SLICES)),
                crop=(0, SIZE, 0, SIZE),
                original_shape=(SLICES, SIZE, SIZE),
                phantom=True,
            )
        )
        rows.append(FoldRow(patient=f"P{i:012x}", label=label, split="", fold=(i // 2) % folds))

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for i in range(patients):
            yield voxels(i, i % 2 == 1)

    folder.mkdir(parents=True, exist_ok=True)
    sha256 = write_cohort(folder / "cohort.h5", scans, CLASSES, SIZE, blocks())
    return CohortFiles(folder / "cohort.h5", write_folds(folder / "folds.csv", rows), sha256)
