"""A short job of a SLURM service, which looks at the compute side: job template, image, version, GPUs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claire import __version__
from claire.commands.site.bindings import runs_steps
from claire.commands.site.file import Queue, Site, template_path
from claire.commands.site.reach import Unreachable, at_login
from claire.commands.site.schema import engine_python
from claire.commands.site.slurm import options
from claire.core.command.errors import ClaireError
from claire.core.command.findings import Findings

#: The result of `claire --version` and the GPUs, as the job prints them.
_MARK = "claire-site-job"
#: Run by the engine's Python, which has Jinja2.
_RENDER = """
import sys
from jinja2 import Template
print(Template(open(sys.argv[1]).read()).render(streamflow_command=sys.argv[2]))
"""


def try_job(site: Site, queue: Queue, name: str, wait: int, findings: Findings) -> None:
    """Submit a short job by the template of a service, wait for it and add what it finds on the compute side.

    The job is that of a step with another command, so that module line, image, folder and GPU are tried as they are.
    """
    path = template_path(site, queue.services[name])
    folder = queue.exports[name].get("CLAIRE_BIND")
    if path is None or not folder or not runs_steps(path):
        return
    script = job_script(path)
    try:
        output = at_login(queue.login, _submission(script, _short(queue.services[name]), folder, wait), wait + 90)
    except Unreachable as error:
        findings.warn(f"not checked on the compute side of service {name}: {error.problem}")
        return
    _judge_job(name, queue, output, wait, findings)


def job_script(template: Path) -> str:
    """Return a job template with a command that tells version, node and GPUs in place of a step.

    It is filled in by the engine's Python, as StreamFlow does it. Raises ClaireError if that fails.
    """
    query = "nvidia-smi --query-gpu=name,memory.free,memory.total --format=csv,noheader,nounits"
    command = f"""echo "{_MARK} version $(claire --version 2>&1 | tail -n 1)"
echo "{_MARK} node $(hostname) $(date +%s)"
! command -v nvidia-smi >/dev/null || {query} | sed 's/^/{_MARK} gpu /'"""
    done = subprocess.run(  # noqa: S603 (our own)
        [engine_python(), "-c", _RENDER, str(template), command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise ClaireError(f"job template {template.name} cannot be filled in: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def _short(service: Mapping[str, Any]) -> list[str]:
    return options({**service, "time": "00:05:00", "jobName": "claire-site-check"})


def _submission(script: str, words: Sequence[str], folder: str, wait: int) -> str:
    """Return the shell commands that submit a job, wait for its end and print what it printed; it leaves nothing."""
    place = shlex.quote(f"{folder}/site-check.")
    return f"""
output={place}$$
job=$(sbatch --parsable {" ".join(map(shlex.quote, words))} --output="$output" <<'CLAIRE_SITE_JOB'
{script}
CLAIRE_SITE_JOB
) || exit 1
job=${{job%%;*}}
trap 'rm -f "$output"' EXIT
state() {{ squeue --noheader --jobs "$job" --format %T 2>/dev/null; }}
begun=$SECONDS
while [ "$(state)" = PENDING ]; do
    if [ $((SECONDS - begun)) -ge {wait} ]; then
        echo "{_MARK} pending $(squeue --noheader --jobs "$job" --format %r)"
        scancel "$job"
        exit 0
    fi
    sleep 0.5
done
begun=$SECONDS
while [ -n "$(state | grep -v COMPLET)" ] && [ $((SECONDS - begun)) -lt 75 ]; do sleep 0.5; done
scancel "$job" 2>/dev/null
for _ in 1 2 3 4 5 6; do [ -e "$output" ] && break; sleep 0.5; done
cat "$output"
"""


def _judge_job(name: str, queue: Queue, output: str, wait: int, findings: Findings) -> None:
    found = dict(re.findall(rf"(?m)^{_MARK} (\w+) (.*)$", output))
    if "pending" in found:
        findings.warn(
            f"not checked on the compute side of service {name}: the job did not start within {wait} s "
            f"({found['pending']})",
            "Give --wait more seconds, or trust it.",
        )
    elif "version" not in found:
        last = [line for line in output.splitlines() if line.strip()][-1:] or ["it printed nothing"]
        findings.fault(
            f"a job of service {name} fails before the step begins: {last[0].strip()}",
            "Correct its job template: module line, PATH of apptainer, image, folder.",
        )
    elif found["version"] != __version__:
        findings.fault(
            f"the jobs' image {queue.exports[name]['CLAIRE_IMAGE']} has claire {found['version']}: expected "
            f"{__version__}, as here",
            "Build it again from this version, or install that version here.",
        )
    else:
        findings.note(f"service {name}: a job started on {found['node'].split()[0]}, with claire {found['version']}")
        _judge_gpus(name, queue, re.findall(rf"(?m)^{_MARK} gpu (.*)$", output), findings)


def _judge_gpus(name: str, queue: Queue, gpus: Sequence[str], findings: Findings) -> None:
    for gpu in gpus:
        model, free, total = (part.strip() for part in gpu.rsplit(",", 2))
        if int(free) < int(total) // 2:
            findings.warn(
                f"service {name}: {model} has {free} of {total} MiB free: somebody else works on it",
                "Ask for a GPU of your own: `gres`, or `exclusive: true`.",
            )
        else:
            findings.note(f"service {name}: {model}, {free} of {total} MiB free")
    if not gpus and "gpu" in str(queue.services[name].get("gres", "")):
        findings.warn(
            f"service {name} asks for a GPU, and nvidia-smi shows none in a job",
            "Without one networks train on processors.",
        )
