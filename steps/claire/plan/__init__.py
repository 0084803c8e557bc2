"""Turn a grid of variants into the list of trainings.

Needs no data, so a fault in a grid is reported before anything is submitted. `--list` prints the
variants and what they cost, and writes nothing.
"""

from __future__ import annotations

from claire.core.command.parameters import InputFile, Integers, Manifest, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire plan`."""

    grid: InputFile = parameter(
        help="YAML grid of variants", details="Write your own (below), or take one of configs/grids."
    )
    fold_count: int = parameter(
        help="folds that each variant is trained on", details="The same number as for `cohort`.", ge=1
    )
    seed: int = parameter(
        0,
        help="seed of the variants whose grid names none",
        details="Change it to train everything again with other random numbers.",
        ge=0,
        lt=2**31,
    )
    pretrained: Manifest = parameter(
        (),
        help="manifest of the weights files that `pretraining` may name",
        details="`pretraining: weights:NAME` names a file by its name, without its directory.",
    )
    explain_folds: Integers | None = parameter(
        None,
        help="folds whose test scans are explained; all by default; none: `none`",
        details="Only checked here, so that a fold that does not exist is refused before anything is submitted.",
    )
    list: bool = parameter(
        False,
        help="print the variants and their cost; write nothing",
        details="One row per variant with the settings that differ; the settings that all share stand above.",
        for_people=True,
    )


def run(parameters: Parameters) -> None:
    """Read the grid, then list the plan or write it."""
    from claire.plan import work

    work.run(parameters)
