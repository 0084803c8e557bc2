"""Everything that is checked of a site, at once and side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from claire.commands.check.job import Job
from claire.commands.site.bindings import check_file
from claire.commands.site.compute import try_job
from claire.commands.site.file import Queue, Site
from claire.commands.site.hpc import check_login, check_queue
from claire.commands.site.pods import check_pods
from claire.commands.site.schema import schema_faults
from claire.core.command.findings import Findings


def check_site(site: Site, job: Job | None = None, wait: int = 0) -> Findings:
    """Return what is wrong with a site: its file, its login nodes and queues, its pods.

    `wait`: seconds that a job which looks at the compute side may wait in the queue; 0 submits none.
    """
    findings = Findings()
    with findings.collect():
        check_file(site, job, findings)
    used = {login.deployment for login in (queue.login for queue in site.queues) if login}
    checks: list[Callable[[Findings], None]] = [lambda found: _check_schema(site, found)]
    checks += [_bound(check_login, login) for login in site.logins if login.deployment not in used]
    checks += [_queue_check(site, queue, job, wait) for queue in site.queues]
    checks += [_bound(check_pods, site, pods, job) for pods in site.pods]
    with ThreadPoolExecutor(len(checks)) as pool:
        for each in pool.map(_collected, checks):
            findings.add(each)
    return findings


def _collected(check: Callable[[Findings], None]) -> Findings:
    findings = Findings()
    with findings.collect():
        check(findings)
    return findings


def _bound(check: Callable[..., None], *values: object) -> Callable[[Findings], None]:
    return lambda findings: check(*values, findings)


def _queue_check(site: Site, queue: Queue, job: Job | None, wait: int) -> Callable[[Findings], None]:
    """Return the check of a queue: what SLURM accepts and, if there is no fault, a short job of each service."""

    def check(findings: Findings) -> None:
        check_queue(site, queue, job, findings)
        if findings.faults or not wait or not queue.services:
            return
        with ThreadPoolExecutor(len(queue.services)) as pool:
            jobs = [_bound(try_job, site, queue, name, wait) for name in queue.services]
            for each in pool.map(_collected, jobs):
                findings.add(each)

    return check


def _check_schema(site: Site, findings: Findings) -> None:
    for fault in schema_faults(site.path):
        findings.fault(fault, "Correct it by StreamFlow's documentation, or begin with `claire site template`.")
