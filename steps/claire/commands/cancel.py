"""End the run in a folder: the engine here, jobs and pods at its site.

The same `claire run` goes on later: what is finished lies in the store of the job. It also serves where `claire run`
was killed, or ended with --keep-jobs.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from claire.commands.run.at_site import open_run
from claire.commands.run.attempt import insist_on_end
from claire.commands.run.state import SCRATCH, read_state
from claire.commands.run.work import end_left_behind
from claire.core.command.errors import ClaireError
from claire.core.command.lease import is_held
from claire.core.command.parameters import InputDirectory, StepParameters, parameter

#: Seconds that a run has to end what it started.
GRACE = 180.0


class Parameters(StepParameters):
    """Parameters of `claire cancel`."""

    results: InputDirectory = parameter(help="the --out of `claire run`", positional=True)


def run(parameters: Parameters) -> None:
    """End the run. Raises ClaireError if it does not end."""
    out = parameters.results.resolve()
    state, lease = read_state(out), out / SCRATCH / "lease"
    if is_held(lease):
        os.kill(state.process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while is_held(lease):
            if time.monotonic() > deadline:
                raise ClaireError(
                    f"the run in {out} does not end", f"Look into its log, and at process {state.process}."
                )
            time.sleep(0.5)
    end_left_behind(out)
    if state.site and not insist_on_end(open_run(Path(state.site), out / SCRATCH), "of this run"):
        raise ClaireError("the site does not answer", "Run `claire cancel` again when it does.")
    print(f"{state.job}: ended; `claire run` with the same job goes on")
