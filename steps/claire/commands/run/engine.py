"""The engines: their command lines, and their end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import yaml

from claire.commands.run import Parameters
from claire.core.command.errors import UsageError
from claire.core.command.files import write_text
from claire.core.command.lease import process_fields
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping

#: Seconds that a run has to end by itself after SIGTERM.
GRACE = 6.0


def command_line(parameters: Parameters, scratch: Path, outputs: Path) -> list[str]:
    """Return the engine's command; what it needs is written into `scratch`. Raises UsageError if it is not there."""
    program = shutil.which(parameters.engine)
    if program is None:
        raise UsageError(
            f"--engine {parameters.engine} is not on the PATH",
            "Run `make setup` and add .venv/engine/bin to PATH, or install requirements/engine.txt.",
        )
    workflow, job = shipped("cwl/main.cwl"), parameters.job.resolve()
    if parameters.engine == "cwltool":
        options = ["--no-container", "--relax-path-checks", "--parallel", "--timestamps", "--disable-color"]
        tmp, out = scratch / "tmp", scratch / "out"
        places = ["--outdir", f"{outputs}", "--tmpdir-prefix", f"{tmp}/", "--tmp-outdir-prefix", f"{out}/"]
        return [program, *options, *places, str(workflow), str(job)]
    return [program, "run", "--outdir", str(outputs), str(write_site(parameters, workflow, job, scratch))]


def write_site(parameters: Parameters, workflow: Path, job: Path, scratch: Path) -> Path:
    """Write the StreamFlow file of this run: the site's, with this workflow and job."""
    site = parameters.site or shipped("deployments/sites/local.yml")
    document = read_yaml_mapping(site, "Give a StreamFlow file such as streamflow.yml.")
    workflows = document.get("workflows")
    if not isinstance(workflows, dict) or len(workflows) != 1:
        raise UsageError(f"--site {site.name} has not one workflow", "Give a StreamFlow file such as streamflow.yml.")
    (described,) = workflows.values()
    described["config"] |= {"file": str(workflow), "settings": str(job)}
    return write_text(scratch / "streamflow.yml", yaml.safe_dump(document, sort_keys=False))


def start(command: list[str], scratch: Path, outputs: Path) -> subprocess.Popen[str]:
    """Start the engine in a process group of its own; its output is read line by line from `stdout`."""
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
    )


def end(process: subprocess.Popen[str]) -> None:
    """End the engine and all that it started on this machine: SIGTERM, and SIGKILL to what is left 6 s later."""
    group = members(process.pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE
        for each in group:
            _signal(each, number)
        while any(_lives(each) for each in group) and time.monotonic() < deadline:
            process.poll()
            time.sleep(0.1)
    process.wait()


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
