"""Writes the files of a phantom cohort: source, truth, labels and key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from claire.commands.phantom.cohort import Case, write_case
from claire.core.command.files import write_text
from claire.core.command.progress import progress
from claire.core.command.tables import write_csv

LABEL_COLUMNS = ("patient_id", "label", "reference_standard", "site", "sex", "age")


def write(out: Path, cases: list[Case], seed: int, threads: int) -> None:
    """Write the series into `source`, what is known of them into `truth`, `labels.csv`, and the seed's `key`."""
    for name in ("source", "truth"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for _ in progress(_written(cases, out, threads), "patients", total=len(cases)):
        pass
    _write_labels(out / "labels.csv", cases)
    _write_key(out / "key", seed)


def _written(cases: list[Case], out: Path, threads: int) -> Iterator[int]:
    write = partial(write_case, out=out)
    if threads == 1:
        yield from map(write, cases)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(threads) as pool:
        yield from pool.map(write, cases)


def _write_labels(path: Path, cases: list[Case]) -> None:
    rows = [
        {
            "patient_id": case.person.patient_id,
            "label": case.label,
            "reference_standard": "RT-PCR",
            "site": case.person.site,
            "sex": case.person.sex,
            "age": case.person.age,
        }
        for case in cases
    ]
    write_csv(path, LABEL_COLUMNS, rows)


def _write_key(path: Path, seed: int) -> None:
    """Write a pseudonymisation key that anyone can derive: fit for phantoms only."""
    write_text(path, hashlib.sha256(f"claire phantom key {seed}".encode()).hexdigest() + "\n")
    path.chmod(0o600)
