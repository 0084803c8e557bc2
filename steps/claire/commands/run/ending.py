"""The end of a run from outside of it, and what is left of it removed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

from claire.commands.run.at_site import open_run
from claire.commands.run.attempt import OWN, insist_on_end
from claire.commands.run.engine import LEFT
from claire.commands.run.state import SCRATCH, read_state
from claire.commands.run.work import alone, end_left_behind
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.lease import is_held, read_holder

#: Seconds that a run has to end what it started.
GRACE = 180.0


def cancel(results: Path) -> None:
    """End the run of a folder. Raises UsageError if there is none, ClaireError if it does not end."""
    out = results.resolve()
    state = read_state(out)
    _end_holder(out)
    end_left_behind(out)
    if state.site and not insist_on_end(open_run(Path(state.site), out / SCRATCH), OWN):
        raise ClaireError("the site does not answer", "Run `claire cancel` again when it does.")
    print(f"{state.job}: ended; `claire run` with the same job goes on")


def _end_holder(out: Path) -> None:
    """End the process that works in a folder: the one that holds it, for the state may be of a run before.

    Raises UsageError if it is one of another host, ClaireError if it does not end.
    """
    path = out / SCRATCH / "lease"
    holder = read_holder(path)
    if holder is None or not is_held(path):
        return
    who = f"process {holder.process} on {holder.host}"
    if holder.host != socket.gethostname():
        raise UsageError(f"the run in {out} is {who}", "Run `claire cancel` there.")
    with suppress(ProcessLookupError):  # it ended just now
        os.kill(holder.process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while is_held(path) and read_holder(path) == holder:
        if time.monotonic() > deadline:
            raise ClaireError(f"the run in {out} does not end", f"See its log, and {who}.")
        time.sleep(0.5)


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
