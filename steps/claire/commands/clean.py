"""Remove what an ended run left behind besides its results: folders of its jobs, here and at its site.

Results, logs and the store stay, and so does everything of the site's own. A run that succeeds cleans up by itself.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from claire.commands.run.at_site import open_run
from claire.commands.run.engine import LEFT
from claire.commands.run.state import SCRATCH, read_state
from claire.commands.run.work import alone
from claire.core.command.parameters import InputDirectory, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire clean`."""

    results: InputDirectory = parameter(help="the --out of `claire run`", positional=True)


def run(parameters: Parameters) -> None:
    """Remove the folders of the run's jobs. Raises UsageError while it runs, ClaireError if its site is away."""
    out = parameters.results.resolve()
    state = read_state(out)
    with alone(out):
        if state.site:
            at_site = open_run(Path(state.site), out / SCRATCH)
            at_site.cancel()
            at_site.clean()
        for name in LEFT:
            path = out / SCRATCH / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    print(f"{state.job}: nothing is left but results, logs and the store")
