"""The template of a SLURM job, with a stand-in for Apptainer that runs the command as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from claire.commands.run.engine import members
from claire.commands.site.compute import _RENDER
from claire.commands.site.schema import engine_python
from claire.core.command.shipped import shipped

APPTAINER = "#!/bin/sh\nexec bash -s\n"
#: A step that takes a moment to save what it has when it is told to end.
SAVING = """import signal, sys, time
def save(*_):
    time.sleep(1)
    open("saved", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(60)
"""


def start(tmp_path: Path, command: str, **exports: str) -> subprocess.Popen[str]:
    """Start a job of the template in a session of its own, as SLURM does."""
    rendered = subprocess.run(
        [engine_python(), "-c", _RENDER, str(shipped("deployments/slurm/job.sh")), command],
        capture_output=True,
        text=True,
        check=True,
    )
    programs, bind = tmp_path / "bin", tmp_path / "a folder"
    for folder in (programs, bind, tmp_path / "tmp"):
        folder.mkdir()
    for name, text in {"apptainer": APPTAINER, "nvidia-smi": "#!/bin/sh\nexit 1\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    script = rendered.stdout.replace("export PATH=", f"export PATH={programs}:")
    given = {"CLAIRE_IMAGE": "i", "CLAIRE_BIND": str(bind), "CLAIRE_TMP": str(tmp_path / "tmp"), "CLAIRE_RUN": "run"}
    return subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | given | {"SLURM_JOB_ID": "7"} | exports,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_job_waits_for_a_step_that_saves_when_slurm_ends_it(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(SAVING)
    job = start(tmp_path, f"cd {tmp_path} && export A=b && {sys.executable} step.py")
    assert job.stdout
    assert job.stdout.readline() == "up\n"
    for process in members(job.pid):
        os.kill(process, signal.SIGTERM)
    assert job.wait(20) == 143, "the exit code of the step"
    assert (tmp_path / "saved").exists()
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_has_the_exit_code_of_its_step_and_leaves_no_temporary_files(tmp_path: Path, code: int) -> None:
    job = start(tmp_path, f"exit {code}")
    assert job.wait(20) == code
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_a_job_without_a_gpu_says_so_in_the_words_of_its_step(tmp_path: Path) -> None:
    job = start(tmp_path, "claire train --fold 0 --variant /w/v1.variant.json", CLAIRE_GPU="required")
    assert job.wait(20) == 1
    (log,) = (tmp_path / "a folder/logs/run").iterdir()
    assert log.name == "7.log"
    assert log.read_text().startswith("claire train: no GPU on ")
