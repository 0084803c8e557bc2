"""`.run/state.json`: what a run does, written by `claire run` and read by `claire status`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pydantic import ValidationError

from claire.commands.run.engine import Launch
from claire.commands.run.watch import Watch
from claire.core.command.documents import Part
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import write_text

#: Everything that a run writes besides its results lies here, in --out.
SCRATCH = ".run"


class StepState(Part):
    """A step as `claire status` prints it."""

    name: str
    state: str
    done: int
    jobs: int
    seconds_left: float | None
    line: str


class RunState(Part):
    """`.run/state.json`: what a run does, for `claire status`; `engine` is the session of its engine's processes.

    `site`: the StreamFlow file of its site, "" on this machine.
    """

    job: str
    site: str = ""
    process: int
    engine: int
    state: str
    seconds: float
    steps: tuple[StepState, ...]


def write_state(scratch: Path, launch: Launch, watch: Watch, engine: int, state: str) -> None:
    """Write what a run does into its scratch folder."""
    steps = tuple(
        StepState(
            name=name, state=step.state, done=step.done, jobs=step.jobs, seconds_left=step.seconds_left, line=step.line
        )
        for name, step in watch.steps.items()
    )
    seconds = round(time.monotonic() - watch.begun, 1)
    site = str(launch.at_site.site.path.resolve()) if launch.at_site else ""
    document = RunState(
        job=launch.job.name,
        site=site,
        process=os.getpid(),
        engine=engine,
        state=state,
        seconds=seconds,
        steps=steps,
    )
    write_text(scratch / "state.json", document.model_dump_json(indent=1))


def read_engine(out: Path) -> int | None:
    """Return the session of the engine that last ran in a folder; None if none is known."""
    try:
        return read_state(out).engine
    except ClaireError:
        return None


def read_state(out: Path) -> RunState:
    """Read what the run in a folder does. Raises UsageError if none was begun there."""
    try:
        return RunState.model_validate_json((out / SCRATCH / "state.json").read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{out} holds no run", "Name the --out of `claire run`.") from error
    except ValidationError as error:
        raise ClaireError(f"the state of the run in {out} is not readable", "Run `claire run` again.") from error
