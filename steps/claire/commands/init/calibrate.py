"""The rate of training on this machine: `claire train` timed on a small made-up cohort, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from claire.commands.init.cost import forward_slices
from claire.core.command.progress import log
from claire.core.command.record import read_record
from claire.core.contracts.cohort import Scan, write_cohort
from claire.core.contracts.folds import FoldRow, write_folds
from claire.core.contracts.variant import Variant, write_variant

_SCANS, _FOLDS, _CLASSES = 6, 3, ("negative", "positive")
_TRAINED = _SCANS // _FOLDS
_FEW, _MORE = 1, 3
_TIMEOUT = 600


def measured_rate(variant: Variant, cores: int) -> float | None:
    """Return CPU seconds a slice of 224² forward through ResNet-18: the epochs that one training has more than another.

    None, with a line in the log, where `claire train` cannot be run here.
    """
    with TemporaryDirectory(prefix="claire-init-") as folder:
        _write_inputs(Path(folder), variant)
        try:
            seconds = [_seconds(Path(folder), variant, epochs, cores) for epochs in (_FEW, _MORE)]
        except (subprocess.SubprocessError, OSError) as error:
            log.warning("training cannot be timed here (%s): the hours are a guess", type(error).__name__)
            return None
    work = forward_slices(variant, _TRAINED, _TRAINED, _MORE - _FEW)
    return max(seconds[1] - seconds[0], 1e-3) * cores / work


def _write_inputs(folder: Path, variant: Variant) -> None:
    size, slices = max(variant.size, 64), variant.slices
    scans = [
        Scan(
            scan=f"S{number:012x}",
            patient=f"P{number:012x}",
            label=_CLASSES[number % 2],
            first=number * slices,
            count=slices,
            slices=tuple(range(slices)),
            slice_labels=(-1,) * slices,
            affine=np.diag([-1.5, -1.5, 5.0, 1.0]),
            slice_positions_mm=tuple(5.0 * z for z in range(slices)),
            crop=(0, size, 0, size),
            original_shape=(slices, size, size),
            phantom=True,
        )
        for number in range(_SCANS)
    ]
    write_cohort(folder / "cohort.h5", scans, _CLASSES, size, _voxels(slices, size))
    rows = [FoldRow(patient=scan.patient, label=scan.label, split="", fold=i // 2) for i, scan in enumerate(scans)]
    write_folds(folder / "folds.csv", rows)


def _voxels(slices: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    lungs = np.zeros((slices, size, size), np.uint8)
    lungs[:, size // 4 : -size // 4, size // 8 : size // 2 - 4] = 1
    lungs[:, size // 4 : -size // 4, size // 2 + 4 : -size // 8] = 2
    for _ in range(_SCANS):
        yield generator.normal(-600, 150, lungs.shape).astype(np.int16), lungs


def _seconds(folder: Path, variant: Variant, epochs: int, cores: int) -> float:
    timed = variant.model_copy(update={"epochs": epochs})
    out = folder / f"epochs-{epochs}"
    out.mkdir()
    files = {"variant": write_variant(folder / f"{timed.id}.variant.json", timed), "cohort": folder / "cohort.h5"}
    command = [sys.executable, "-m", "claire", "train", "--fold", "0", "--threads", str(cores), "--device", "cpu"]
    for flag, path in {**files, "folds": folder / "folds.csv", "out": out}.items():
        command += [f"--{flag}", str(path)]
    log.info("timing %d epochs of %s", epochs, variant.architecture)
    subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT)  # noqa: S603 (our own command)
    (record,) = out.glob("*.train.run.json")
    return read_record(record).seconds or 0.0
