"""Check a job file before anything is run.

Everything that the job, its tables and the headers of its series tell is checked before any voxel is read, and all that
is wrong is told at once: keys that engines would ignore, values, files, the grid, labels, classes, patients and folds,
disk and memory. Exits with 2 for faults; warnings do not keep a run from starting.
"""

from __future__ import annotations

from claire.core.command.parameters import InputFile, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire check`."""

    job: InputFile = parameter(help="the job file", positional=True)
    workflow: InputFile | None = parameter(
        None,
        help="the workflow that the job is for; without it cwl/main.cwl of this checkout",
        details="Only for a workflow of your own.",
    )
    no_headers: bool = parameter(
        False,
        help="do not read the headers of the series",
        details="Where the archive is huge: a million files take minutes. Labels, patients and folds are then checked "
        "by `index` when the run starts.",
    )
    list: bool = parameter(
        False,
        help="name the patients, labels and files behind each finding",
        details="They identify: look at them at the site only. Without it lines of the tables are named.",
        for_people=True,
    )


def run(parameters: Parameters) -> None:
    """Print what the run will be and what is odd; raise UsageError with everything that is wrong."""
    from claire.commands.check import work

    work.run(parameters)
