"""The engines: their command lines, and their end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from claire.commands.run.at_site import AtSite, open_run
from claire.commands.site.file import fit_bindings
from claire.core.command.errors import UsageError
from claire.core.command.files import write_text
from claire.core.command.lease import process_fields
from claire.core.command.progress import COPY
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping

#: Seconds that a run has to end by itself after SIGTERM.
GRACE = 6.0
#: The file of a run's scratch folder to which steps under StreamFlow on this machine add what they say.
SAID = "said.txt"
#: Its file of StreamFlow's database, and all that a run leaves in its scratch folder and nobody needs afterwards.
DATABASE = "streamflow.db"
LEFT = ("tmp", "out", "results", ".streamflow", SAID, DATABASE)


@dataclass(frozen=True)
class Launch:
    """What an engine runs: a workflow and its job, at a site or, without one, on this machine."""

    engine: Literal["cwltool", "streamflow"]
    workflow: Path
    job: Path
    at_site: AtSite | None = None


def command_line(launch: Launch, scratch: Path, outputs: Path) -> list[str]:
    """Return the engine's command; what it needs is written into `scratch`. Raises UsageError if it is not there."""
    program = shutil.which(launch.engine)
    if program is None:
        raise UsageError(
            f"--engine {launch.engine} is not on the PATH",
            "Run `make setup` and add .venv/engine/bin to PATH, or install requirements/engine.txt.",
        )
    if launch.engine == "cwltool":
        options = ["--no-container", "--relax-path-checks", "--parallel", "--timestamps", "--disable-color"]
        tmp, out = scratch / "tmp", scratch / "out"
        places = ["--outdir", f"{outputs}", "--tmpdir-prefix", f"{tmp}/", "--tmp-outdir-prefix", f"{out}/"]
        return [program, *options, *places, str(launch.workflow), str(launch.job)]
    return [program, "run", "--outdir", str(outputs), str(write_site(launch, scratch))]


def write_site(launch: Launch, scratch: Path) -> Path:
    """Write the StreamFlow file of this run: the site's, with this workflow, its job and its bindings."""
    at_site = launch.at_site or open_run(shipped("deployments/sites/local.yml"), scratch)
    database = scratch / DATABASE
    database.unlink(missing_ok=True)  # of an attempt before: nothing of it is used again
    document = at_site.document(database)
    (described,) = document["workflows"].values()
    described["config"] |= {"file": str(launch.workflow), "settings": str(launch.job)}
    steps = read_yaml_mapping(launch.workflow, "Install the pipeline again.")["steps"]
    described["bindings"] = fit_bindings(described.get("bindings", []), steps)
    return write_text(scratch / "streamflow.yml", yaml.safe_dump(document, sort_keys=False))


def start(command: list[str], scratch: Path, outputs: Path) -> subprocess.Popen[str]:
    """Start the engine in a process group of its own; its output is read line by line from `stdout`.

    Steps that run on this machine add what they say to `said` in its folder, for StreamFlow does not pass it on.
    """
    for folder in (scratch / "tmp", scratch / "out", outputs):
        folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(  # noqa: S603 (the command is our own)
        command,
        cwd=scratch,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
        env=os.environ | {COPY: str(scratch / SAID)},
    )


def end(process: subprocess.Popen[str]) -> None:
    """End the engine and all that it started on this machine: SIGTERM, and SIGKILL to what is left 6 s later.

    What was started in the moment in which the others were told to end is ended after them.
    """
    for _ in range(3):
        if left := members(process.pid):
            end_all(left, process.poll)
    process.wait()


def end_all(processes: Sequence[int], reap: Callable[[], object] = lambda: None) -> None:
    """End processes: SIGTERM, and SIGKILL to what is left 6 s later. `reap` takes the exit code of a child among them.

    A process that another one cannot see the end of, because its parent does not look, counts as gone.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE
        for each in processes:
            _signal(each, number)
        while any(_lives(each) for each in processes) and time.monotonic() < deadline:
            reap()
            time.sleep(0.1)


def left_behind(session: int, scratch: Path) -> list[int]:
    """Return what a killed run left working: the processes of its engine's session, if they work in its folder."""
    left = members(session)
    return left if any(_works_in(each, scratch) for each in left) else []


def _works_in(process: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{process}/cwd").resolve().is_relative_to(folder)
    except OSError:
        return False


def members(session: int) -> list[int]:
    """Return the living processes of a session: engines start each step in a process group of its own."""
    processes = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [each for each in processes if _lives(each) and process_fields(each)[3:4] == [str(session)]]


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _lives(process: int) -> bool:
    return process_fields(process)[:1] not in ([], ["Z"])
