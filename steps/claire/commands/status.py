"""Print what the run in a folder does now.

It may run on another terminal: the state is read from the folder of its results.
"""

from __future__ import annotations

from claire.commands.run.state import SCRATCH, read_state
from claire.commands.run.watch import row
from claire.core.command.lease import is_held
from claire.core.command.parameters import InputDirectory, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire status`."""

    results: InputDirectory = parameter(help="the --out of `claire run`", positional=True)


def run(parameters: Parameters) -> None:
    """Print the state of the run: a line a step."""
    state = read_state(parameters.results)
    lives = is_held(parameters.results / SCRATCH / "lease")
    word = state.state if lives or state.state != "running" else "killed; `claire run` with the same job goes on"
    print(f"{state.job}: {word}, {state.seconds:.0f} s")
    for step in state.steps:
        print(row(step.name, step.state, step.done, step.jobs, step.seconds_left, step.line).rstrip())
