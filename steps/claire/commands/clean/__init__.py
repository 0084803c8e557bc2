"""Remove what an ended run left behind besides its results: folders of its jobs, here and at its site.

Results, logs and the store stay, and so does everything of the site's own. A run that succeeds cleans up by itself.
"""

from __future__ import annotations

from claire.core.command.parameters import InputDirectory, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire clean`."""

    results: InputDirectory = parameter(help="the --out of `claire run`", positional=True)


def run(parameters: Parameters) -> None:
    """Remove what is left of the run."""
    from claire.commands.run.ending import clean

    clean(parameters.results)
