"""The end of a run from outside of it, and what is left of it removed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from claire.commands.run.at_site import open_run
from claire.commands.run.attempt import insist_on_end
from claire.commands.run.engine import LEFT
from claire.commands.run.state import SCRATCH, read_state
from claire.commands.run.work import alone, end_left_behind
from claire.core.command.errors import ClaireError
from claire.core.command.lease import is_held

#: Seconds that a run has to end what it started.
GRACE = 180.0


def cancel(results: Path) -> None:
    """End the run of a folder. Raises UsageError if there is none, ClaireError if it does not end."""
    out = results.resolve()
    state, lease = read_state(out), out / SCRATCH / "lease"
    if is_held(lease):
        os.kill(state.process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while is_held(lease):
            if time.monotonic() > deadline:
                raise ClaireError(f"the run in {out} does not end", f"See its log, and process {state.process}.")
            time.sleep(0.5)
    end_left_behind(out)
    if state.site and not insist_on_end(open_run(Path(state.site), out / SCRATCH), "of this run"):
        raise ClaireError("the site does not answer", "Run `claire cancel` again when it does.")
    print(f"{state.job}: ended; `claire run` with the same job goes on")


def clean(results: Path) -> None:
    """Remove the folders of a run's jobs. Raises UsageError while it runs, ClaireError if its site is away."""
    out = results.resolve()
    state = read_state(out)
    with alone(out):
        if state.site:
            at_site = open_run(Path(state.site), out / SCRATCH)
            at_site.cancel()
            at_site.clean()
        for path in (out / SCRATCH / name for name in LEFT):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    print(f"{state.job}: nothing is left but results, logs and the store")
