"""The HPC: its folder, its queue, the image, and a short job that looks at the compute side."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from claire import __version__
from claire.commands.check.job import Job
from claire.commands.site.bindings import runs_steps, template_path
from claire.commands.site.file import Login, Queue, Site
from claire.commands.site.login import add_unreached, check_key
from claire.commands.site.reach import Answer, Unreachable, ask, at_login
from claire.commands.site.schema import engine_python
from claire.commands.site.slurm import FORMAT, check_service, options, read_nodes
from claire.core.command.errors import ClaireError
from claire.core.command.findings import Findings

#: Free bytes of the HPC's folder below which a run is likely to fill it.
LOW_DISK = 20 * 10**9
#: Seconds that two clocks may differ: leases of the store and tokens of Kubernetes bear no more.
SKEW = 60
_PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo")
#: The result of `claire --version` and the GPUs, as the job prints them.
_MARK = "claire-site-job"
#: Run by the engine's Python, which has Jinja2.
_RENDER = """
import sys
from jinja2 import Template
print(Template(open(sys.argv[1]).read()).render(streamflow_command=sys.argv[2]))
"""


def check_login(login: Login, findings: Findings) -> None:
    """Add a fault if a login node that no queue uses is not reached."""
    if check_key(login, findings):
        try:
            at_login(login, "true", 30)
        except Unreachable as error:
            add_unreached(login, error, findings)


def check_queue(site: Site, queue: Queue, job: Job | None, findings: Findings) -> list[str]:
    """Add what is wrong at the login node and with the services of a queue; return the services that SLURM accepts."""
    if queue.login and not check_key(queue.login, findings):
        return []
    begun = time.time()
    try:
        answers = ask(dict(_questions(queue, job)), lambda script: at_login(queue.login, script, 45))
    except Unreachable as error:
        add_unreached(queue.login, error, findings)
        return []
    place = f"at {queue.login.host}" if queue.login else "on this machine"
    check_clock(answers["now"].text, begun, place, findings)
    for folder in queue.folders:
        _check_folder(
            folder, {name: answers[f"{name} {folder}"] for name in ("owner", "free")}, answers["me"].text, findings
        )
    for image in queue.images:
        if not answers[f"image {image}"].done:
            findings.fault(
                f"image {image} cannot be read {place}",
                "Copy the SIF file there (docs/deployment.md), or correct CLAIRE_IMAGE.",
            )
    _check_inside(queue, job, findings)
    if not site.pods:
        _check_data(queue, job, answers, place, findings)
    if not answers["programs"].done or not answers["controller"].done:
        _add_no_slurm(answers, place, findings)
        return []
    return [name for name in queue.services if _check_service(name, queue, answers, findings)]


def site_paths(job: Job | None) -> list[tuple[str, str]]:
    """Return (input, path) of the data that a job names by their path at the site."""
    names = ("source", "labels", "slice_labels", "key")
    return [(name, str(job.value(name))) for name in names if job and isinstance(job.value(name), str)]


def readable(path: str) -> str:
    """Return the shell command that tells whether a file or directory can be read."""
    place = shlex.quote(path)
    return f"test -r {place} && {{ test ! -d {place} || ls {place} >/dev/null; }}"


def _questions(queue: Queue, job: Job | None) -> Iterator[tuple[str, str]]:
    yield "now", "date +%s"
    yield "me", "id -un"
    for folder in map(shlex.quote, queue.folders):
        yield f"owner {shlex.split(folder)[0]}", f"stat -c '%U %a' {folder} && test -w {folder} && echo writable"
        yield f"free {shlex.split(folder)[0]}", f"df -Pk {folder} | tail -n 1"
    for image in queue.images:
        yield f"image {image}", f"test -r {shlex.quote(image)}"
    for name, path in site_paths(job):
        yield f"data {name}", readable(path)
    yield "programs", " && ".join(f"command -v {name}" for name in _PROGRAMS)
    yield "controller", 'timeout 15 squeue --noheader --user "$(id -un)" --format %i'
    yield "nodes", f"timeout 15 sinfo --noheader --format '{FORMAT}'"
    for name, service in queue.services.items():
        words = " ".join(map(shlex.quote, options(service)))
        yield f"test {name}", f"printf '#!/bin/sh\\ntrue\\n' | timeout 15 sbatch --test-only {words}"


def check_clock(now: str, begun: float, place: str, findings: Findings) -> None:
    """Add a warning if a clock is far from this machine's; `begun`: this machine's time before it was asked."""
    earliest, latest = begun - SKEW, time.time() + SKEW
    if now.isdigit() and not earliest <= int(now) <= latest:
        findings.warn(
            f"the clock {place} differs by {abs(int(now) - time.time()):.0f} s from this machine's: expected at most "
            f"{SKEW} s",
            "Set both by NTP: leases of the store and tokens of Kubernetes go by the time.",
        )


def _check_folder(folder: str, answers: Mapping[str, Answer], me: str, findings: Findings) -> None:
    owner, mode = [*answers["owner"].text.split(), "", ""][:2]
    make = f"mkdir -m 700 {folder}"
    if "No such file" in answers["owner"].text:
        findings.fault(f"the folder {folder} (CLAIRE_BIND) is not there", f"At the login node: {make}")
        return
    if not answers["owner"].done:
        findings.fault(f"the folder {folder} (CLAIRE_BIND) cannot be written by {me}", "Name a folder of your own.")
        return
    if owner != me:
        findings.fault(
            f"the folder {folder} (CLAIRE_BIND) is {owner}'s: expected {me}'s", f"Name one of your own: {make}"
        )
    elif mode != "700":
        findings.fault(
            f"the folder {folder} (CLAIRE_BIND) has mode {mode}: expected 700, for StreamFlow makes its job folders "
            "with mode 777",
            f"At the login node: chmod 700 {folder}",
        )
    kibibytes = re.search(r"\d+\s+\d+\s+(\d+)\s+\d+%", answers["free"].text)
    if kibibytes:
        free = int(kibibytes[1]) * 1024
        if free < LOW_DISK:
            findings.warn(
                f"{free / 10**9:.0f} GB are free in {folder}: the cohort, its views and the weights of all trainings "
                "lie there",
                "Free some space: `claire store` with --prune, and job folders of runs that ended.",
            )
        else:
            findings.note(f"{free / 10**9:.0f} GB are free in {folder}")


def _check_inside(queue: Queue, job: Job | None, findings: Findings) -> None:
    """Add faults of places that jobs would not see: only CLAIRE_BIND is bound into the container."""
    for name, exports in queue.exports.items():
        missing = [key for key in ("CLAIRE_IMAGE", "CLAIRE_BIND") if not exports.get(key)]
        if missing:
            findings.fault(
                f"service {name} exports no {' and no '.join(missing)}: the job template needs it",
                'Write `export: "CLAIRE_IMAGE=/path/claire-learn.sif,CLAIRE_BIND=/path/pipeline"`.',
            )
            continue
        store = str(job.value("store") or "") if job else ""
        for title, path in (("workdir", queue.workdir), ("`store` of the job", store)):
            if path and not PurePosixPath(path).is_relative_to(exports["CLAIRE_BIND"]):
                findings.fault(
                    f"{title} {path} is not in {exports['CLAIRE_BIND']} (CLAIRE_BIND of {name}), the one folder that "
                    "jobs see",
                    f"Name a folder in {exports['CLAIRE_BIND']}.",
                )
        cores = queue.services[name].get("cpusPerTask", 1)
        if job and "gres" in queue.services[name] and job.value("cores") != cores:
            findings.warn(
                f"`cores` of the job is {job.value('cores')}, cpusPerTask of service {name} is {cores}",
                "Give both the same number: threads beyond it slow a training, cores beyond it idle.",
            )


def _check_data(queue: Queue, job: Job | None, answers: Mapping[str, Answer], place: str, findings: Findings) -> None:
    """Add faults of series, labels and key that jobs of an HPC which does everything could not read."""
    seen = {
        exports[name]
        for exports in queue.exports.values()
        for name in ("CLAIRE_DATA", "CLAIRE_BIND")
        if name in exports
    }
    for name, path in site_paths(job):
        if not answers[f"data {name}"].done:
            findings.fault(
                f"'{name}' {path} cannot be read {place}", "Correct the path, or ask for the right to read it."
            )
        elif not any(PurePosixPath(path).is_relative_to(folder) for folder in seen):
            findings.fault(
                f"'{name}' {path} is in no folder that jobs see: expected one of {', '.join(sorted(seen))}",
                "Export its folder as CLAIRE_DATA of the service that runs the data steps.",
            )


def _add_no_slurm(answers: Mapping[str, Answer], place: str, findings: Findings) -> None:
    if not answers["programs"].done:
        findings.fault(
            f"sbatch, squeue, scancel and sinfo are not all found {place}",
            "Name a login node of a SLURM cluster; what only a login shell has on its PATH is not seen here.",
        )
    else:
        last = ([*answers["controller"].text.splitlines(), "no answer within 15 s"])[0]
        findings.fault(
            f"the SLURM controller does not answer {place}: {last}", "Wait until `squeue` works at the login node."
        )


def _check_service(name: str, queue: Queue, answers: Mapping[str, Answer], findings: Findings) -> bool:
    if not check_service(name, queue.services[name], read_nodes(answers["nodes"].text), findings):
        return False
    tried = answers[f"test {name}"]
    if not tried.done:
        last = tried.text.removeprefix("allocation failure: ") or "no answer within 15 s"
        findings.fault(
            f"service {name}: SLURM refuses such a job: {last.splitlines()[-1]}",
            "Correct partition, account, qos, gres, time and mem of the service.",
        )
    return tried.done


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
