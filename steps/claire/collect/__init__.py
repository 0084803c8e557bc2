"""Take the finished trainings of a plan from the store, and name the missing ones.

One job in place of one for each finished training: only what is missing is submitted. A damaged result is moved aside
and counts as missing. With a store the cohort is verified as well, before a GPU is asked for.

The kind of device belongs to the key of a training, and this step need not run where the trainings do: for --device
auto it looks for the result of a GPU first and then for that of a processor, and takes either as finished.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire collect`."""

    trainings: InputFile = parameter(
        help="CSV table with a row per training: variant,fold,pretrained",
        details="Id of the variant, and path of the weights file that it starts from, empty for none.",
    )
    variants: InputFile = parameter(help="variants.zip of `claire plan`", details="The variants that the table names.")
    cohort: InputFile = parameter(help="cohort.h5 of `claire cohort`", details="Verified, never read for its voxels.")
    folds: InputFile = parameter(help="folds.csv of `claire cohort`", details="The one written beside that cohort.")
    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto",
        help="where the trainings run; auto: a result of any kind of device is taken, a GPU's first",
        details="As `claire train` gets it. Name it where trainings of another kind of device must not be taken.",
    )


def run(parameters: Parameters) -> None:
    """Collect the finished trainings and write which are missing."""
    from claire.collect import work

    work.run(parameters)
