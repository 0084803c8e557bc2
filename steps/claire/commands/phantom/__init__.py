"""Make a seeded cohort of synthetic chest CT series with known truth.

The series look like chest CT of several scanners: nested folders, shuffled file names, private tags, made-up
identities, localisers and second reconstructions. Both classes have dense opacities of the same volume and HU;
positives differ by pattern (bilateral, peripheral, meshed or ring-shaped). The ground truth is in `truth`, which no
step of the pipeline reads.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.errors import require
from claire.core.command.parameters import StepParameters, parameter

#: Patients, rows and columns, slices.
PRESETS = {"tiny": (12, 96, 24), "sample": (40, 256, 48)}


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
    from claire.commands.phantom import cohort, work

    preset = PRESETS[parameters.preset]
    flags = (parameters.patients, parameters.size, parameters.slices)
    patients, size, slices = (flag or value for flag, value in zip(flags, preset, strict=True))
    source = parameters.out / "source"
    require(
        not source.exists() or not any(source.iterdir()),
        "there is a cohort in --out already: expected no files in `source`",
        "Remove the folder `source` in it or name another --out.",
    )
    cases = cohort.draw_cases(parameters.seed, patients, size, slices, parameters.confound)
    work.write(parameters.out, cases, parameters.seed, parameters.threads)
