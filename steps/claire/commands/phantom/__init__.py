"""Make a seeded cohort of synthetic chest CT series with known truth.

The series look like chest CT of several scanners: nested folders, shuffled file names, private tags, made-up
identities, localisers and second reconstructions. Both classes have dense opacities of the same volume and HU;
positives differ by pattern (bilateral, peripheral, meshed or ring-shaped). The ground truth is in `truth`, which no
step of the pipeline reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from claire.core.command.errors import require
from claire.core.command.parameters import StepParameters, parameter
from claire.core.command.progress import progress

if TYPE_CHECKING:
    from claire.commands.phantom.cohort import Case

#: Patients, rows and columns, slices.
PRESETS = {"tiny": (12, 96, 24), "sample": (40, 256, 48)}
LABEL_COLUMNS = ("patient_id", "label", "reference_standard", "site", "sex", "age")


class Parameters(StepParameters):
    """Parameters of `claire phantom`."""

    preset: Literal["tiny", "sample"] = parameter(
        "sample",
        help="size of the cohort; the next three flags override it",
        details="`tiny`: 12 patients, 96×96×24, in seconds; `sample`: 40 patients, 256×256×48, in a minute.",
    )
    patients: int | None = parameter(
        None,
        help="number of patients, half of them positive",
        details="More give figures with narrower intervals; about 15 % have a second scan.",
        ge=2,
    )
    size: int | None = parameter(
        None,
        help="rows and columns of a slice",
        details="Larger slices show finer vessels and noise, and take longer.",
        unit="pixels",
        ge=32,
    )
    slices: int | None = parameter(
        None,
        help="approximate number of slices of a scan",
        details="Each scan has 15 % fewer to 10 % more, as the whole chest is always covered.",
        ge=8,
    )
    seed: int = parameter(
        0, help="the same seed gives the same bytes", details="Change it for patients that nothing was tuned on.", ge=0
    )
    confound: Literal["none", "kernel", "site", "thickness", "marker"] = parameter(
        "none",
        help="trait that follows the label, to test guards",
        details="Positives then have a sharper kernel, another site, thinner slices or a metal marker on the skin.",
    )


def run(parameters: Parameters) -> None:
    """Write source, labels.csv, key and truth."""
    from claire.commands.phantom.cohort import draw_cases

    preset = PRESETS[parameters.preset]
    flags = (parameters.patients, parameters.size, parameters.slices)
    patients, size, slices = (flag or value for flag, value in zip(flags, preset, strict=True))
    source = parameters.out / "source"
    require(
        not source.exists() or not any(source.iterdir()),
        "there is a cohort in --out already: expected no files in `source`",
        "Remove the folder `source` in it or name another --out.",
    )
    cases = draw_cases(parameters.seed, patients, size, slices, parameters.confound)
    for name in ("source", "truth"):
        (parameters.out / name).mkdir(parents=True, exist_ok=True)
    for _ in progress(_written(cases, parameters.out, parameters.threads), "patients", total=len(cases)):
        pass
    _write_labels(parameters.out / "labels.csv", cases)
    _write_key(parameters.out / "key", parameters.seed)


def _written(cases: list[Case], out: Path, threads: int) -> Iterator[int]:
    from claire.commands.phantom.cohort import write_case

    write = partial(write_case, out=out)
    if threads == 1:
        yield from map(write, cases)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(threads) as pool:
        yield from pool.map(write, cases)


def _write_labels(path: Path, cases: list[Case]) -> None:
    from claire.commands.phantom.cohort import CLASSES
    from claire.core.command.tables import write_csv

    rows = [
        {
            "patient_id": case.person.patient_id,
            "label": CLASSES[case.positive],
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
    from claire.core.command.files import write_text

    write_text(path, hashlib.sha256(f"claire phantom key {seed}".encode()).hexdigest() + "\n")
    path.chmod(0o600)
