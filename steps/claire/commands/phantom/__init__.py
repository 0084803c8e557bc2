"""Make a seeded cohort of synthetic chest CT series with known truth.

The series look like chest CT of several scanners: nested folders, shuffled file names, private tags, made-up
identities, localisers and second reconstructions. Both classes have dense opacities of the same volume and HU;
positives differ by pattern (bilateral, peripheral, meshed or ring-shaped). A share of the negatives has healthy lungs.
The same cohort without some of its lesions (`--without`) is the exact counterfactual. The ground truth is in `truth`,
which no step of the pipeline reads.
"""

from __future__ import annotations

from dataclasses import replace
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
        help="number of patients, evenly drawn from the classes",
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
    classes: int = parameter(
        2,
        help="2: negative and positive; 3: normal, pneumonia and covid",
        details="Of two classes the negatives hold healthy lungs (`--healthy`) and pneumonia.",
        ge=2,
        le=3,
    )
    healthy: float = parameter(
        0.4,
        help="share of the negatives of two classes that have no lesion at all",
        details="0 leaves open what a network says of healthy lungs, since it never saw any.",
        ge=0,
        le=1,
    )
    without: str | None = parameter(
        None,
        help="leave lesions out of the images: deciding, bystander, all, or the id of one",
        details="Everything else, noise included, stays voxel by voxel: with the same other flags, into another "
        "--out, this is the exact counterfactual. Lesions' ids are in `truth`, which stays that of the whole patient.",
    )
    patient: str | None = parameter(
        None, help="make only the patient with this patient_id", details="As in labels.csv."
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
    design = cohort.Design(patients, size, slices, parameters.confound, parameters.classes, parameters.healthy)
    cases = [
        replace(case, without=parameters.without or "")
        for case in cohort.draw_cases(parameters.seed, design)
        if parameters.patient in (None, case.person.patient_id)
    ]
    require(
        bool(cases),
        f"--patient {parameters.patient} is not in this cohort",
        "Name a patient_id of its labels.csv, and give the flags that it was made with.",
    )
    require(
        parameters.without is None or parameters.without in cohort.ROLES or parameters.without.isdigit(),
        f"--without is neither a role nor the id of a lesion: got '{parameters.without}'",
        f"Give {', '.join(cohort.ROLES)} or a number from the truth of a patient.",
    )
    require(
        parameters.without is None or not parameters.without.isdigit() or parameters.patient is not None,
        "--without ID needs --patient: ids are counted within a patient",
        "Name the patient, or give a role.",
    )
    work.write(parameters.out, cases, parameters.seed, parameters.threads)
