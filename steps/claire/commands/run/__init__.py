"""Check a job and run it: progress shown, the engine's chatter in a log, the cause of a failure told.

The results are arranged in --out: report.html, and folders for tables, model, lesions, predictions and provenance. The
same command again goes on where a run ended: what is finished lies in the store of the job. Ctrl-C ends everything,
at a site too.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, SitePath, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire run`."""

    job: InputFile = parameter(help="the job file", positional=True)
    engine: Literal["cwltool", "streamflow"] = parameter(
        "cwltool",
        help="engine that runs the workflow",
        details="`cwltool` on this machine; `streamflow` where --site says, on this machine without it.",
    )
    site: InputFile | None = parameter(
        None,
        help="StreamFlow file of the site",
        details="As `streamflow.yml`, or of `claire site template`; workflow and job of the file are replaced by those "
        "of this run, which StreamFlow then drives.",
    )
    attempts: int = parameter(
        3,
        help="how often the run is begun, at most",
        ge=1,
        details="After a lost pod, node, connection or controller, with growing pauses; the store keeps what is "
        "finished. An error of a step ends the run at once, and so does the same cause twice without progress.",
    )
    keep_jobs: bool = parameter(
        False,
        help="leave jobs and pods at the site working when this command is ended",
        details="The same command later takes their results from the store. Else Ctrl-C cancels them.",
    )
    no_headers: bool = parameter(
        False, help="check the job without the headers of its series", details="As `claire check` takes it."
    )
    out: SitePath = parameter("results", help="directory for the results; created if missing")


def run(parameters: Parameters) -> None:
    """Check the job, run it and arrange the results."""
    from claire.commands.run import work

    work.run(parameters)
