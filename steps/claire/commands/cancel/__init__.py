"""End the run in a folder: the engine here, jobs and pods at its site.

The same `claire run` goes on later: what is finished lies in the store of the job. It also serves where `claire run`
was killed, or ended with --keep-jobs.
"""

from __future__ import annotations

from claire.core.command.parameters import InputDirectory, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire cancel`."""

    results: InputDirectory = parameter(help="the --out of `claire run`", positional=True)


def run(parameters: Parameters) -> None:
    """End the run."""
    from claire.commands.run.ending import cancel

    cancel(parameters.results)
