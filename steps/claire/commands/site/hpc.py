"""The HPC: its folder, its queue, the image, and a short job that looks at the compute side."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from claire.commands.check.job import Job
from claire.commands.site.file import Login, Queue, Site
from claire.commands.site.login import add_unreached, check_key
from claire.commands.site.probes import check_clock, free_bytes, readable, site_paths
from claire.commands.site.reach import Answer, Unreachable, ask, at_login
from claire.commands.site.slurm import FORMAT, check_service, options, read_nodes
from claire.core.command.findings import Findings

#: Free bytes of the HPC's folder below which a run is likely to fill it.
LOW_DISK = 20 * 10**9
_PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo")


def check_login(login: Login, findings: Findings) -> None:
    """Add a fault if a login node that no queue uses is not reached."""
    if check_key(login, findings):
        try:
            at_login(login, "true", 30)
        except Unreachable as error:
            add_unreached(login, error, findings)


def check_queue(site: Site, queue: Queue, job: Job | None, findings: Findings) -> None:
    """Add what is wrong at the login node and with the services of a queue."""
    if queue.login and not check_key(queue.login, findings):
        return
    begun = time.time()
    try:
        answers = ask(dict(_questions(queue, job)), lambda script: at_login(queue.login, script, 45))
    except Unreachable as error:
        add_unreached(queue.login, error, findings)
        return
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
        return
    for name in queue.services:
        _check_service(name, queue, answers, findings)


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
    free = free_bytes(answers["free"].text)
    if free is not None:
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


def _check_service(name: str, queue: Queue, answers: Mapping[str, Answer], findings: Findings) -> None:
    if not check_service(name, queue.services[name], read_nodes(answers["nodes"].text), findings):
        return
    tried = answers[f"test {name}"]
    if not tried.done:
        last = tried.text.removeprefix("allocation failure: ") or "no answer within 15 s"
        findings.fault(
            f"service {name}: SLURM refuses such a job: {last.splitlines()[-1]}",
            "Correct partition, account, qos, gres, time and mem of the service.",
        )
