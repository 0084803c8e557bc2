"""Make a seeded cohort of synthetic chest CT series with known truth.

The series look like chest CT of several scanners: nested folders, shuffled file names, private tags, made-up
identities, localisers and second reconstructions. Both classes carry dense opacities of the same volume and HU;
positives differ by pattern (bilateral, peripheral, meshed or ring-shaped). What is true stands in `truth`, which no
step of the pipeline reads.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from claire.core.command import cli

if TYPE_CHECKING:
    from claire.commands.phantom.cohort import Case

CONFOUNDS = ("none", "kernel", "site", "thickness", "marker")
#: Patients, rows and columns, slices.
PRESETS = {"tiny": (12, 96, 24), "sample": (40, 256, 48)}
LABEL_COLUMNS = ("patient_id", "label", "reference_standard", "site", "sex", "age")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `claire phantom`."""
    made = cli.parser("phantom", __doc__)
    flags = made.add_argument
    flags("--preset", choices=[*PRESETS], default="sample", help="size of the cohort; the next three flags win over it")
    flags("--patients", type=cli.positive_int, help="number of patients, half of them positive")
    flags("--size", type=cli.positive_int, help="rows and columns of a slice")
    flags("--slices", type=cli.positive_int, help="slices of a scan, about: it varies by scan")
    flags("--seed", type=cli.natural, default=0, help="the same seed gives the same bytes")
    flags("--confound", choices=CONFOUNDS, default="none", help="trait that follows the label, to test guards")
    return made


def run(args: argparse.Namespace) -> None:
    """Write source, labels.csv, key and truth."""
    from claire.commands.phantom.cohort import draw_cases

    patients, size, slices = (
        given or preset
        for given, preset in zip((args.patients, args.size, args.slices), PRESETS[args.preset], strict=True)
    )
    cli.require(patients >= 2, "--patients is below 2", "A cohort needs a patient of each class.")
    cli.require(size >= 32 and slices >= 8, "--size is below 32 or --slices below 8", "Give at least 32 and 8.")
    source = args.out / "source"
    cli.require(
        not source.exists() or not any(source.iterdir()),
        "there is a cohort in --out already; mixing two would leave patients without labels",
        "Remove the folder `source` in it or name another --out.",
    )
    cases = draw_cases(args.seed, patients, size, slices, args.confound)
    for name in ("source", "truth"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    for _ in cli.progress(_written(cases, args.out, args.threads), "patients", total=len(cases)):
        pass
    _write_labels(args.out / "labels.csv", cases)
    _write_key(args.out / "key", args.seed)


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
    from claire.core.command.record import write_text

    write_text(path, hashlib.sha256(f"claire phantom key {seed}".encode()).hexdigest() + "\n")
    path.chmod(0o600)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `claire phantom`; return its exit code."""
    return cli.execute(build_parser(), run, argv)
