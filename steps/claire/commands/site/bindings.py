"""What a site's file binds: every step, to deployments and services that are there and that no run would delete."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from claire.commands.check.job import Job
from claire.commands.site.file import Site, fit_bindings, template_path
from claire.commands.site.flows import Workflow, read_cwl, read_workflow
from claire.commands.site.policy import check_policy, places_of, read_policy
from claire.core.command.findings import Findings
from claire.core.command.shipped import shipped

#: Workflows that a site is described for; bindings of the first are fitted to the second.
WORKFLOWS = ("cwl/main.cwl", "cwl/predict.cwl")
#: Inputs that a job names by their path at the site, as far as no job says otherwise.
AT_SITE = ("source", "labels", "slice_labels", "key")
#: Seconds that a login node may be away without ending a run.
PATIENCE = 120
COMMAND = "streamflow_command"


def check_file(site: Site, job: Job | None, findings: Findings) -> None:
    """Add what is wrong in a site's file as it stands: nothing is reached for."""
    check_deployments(site, findings)
    check_templates(site, findings)
    check_bindings(site, job, findings)


def check_deployments(site: Site, findings: Findings) -> None:
    """Add faults of deployments that a run would delete, warnings of impatient connections."""
    for name, described in site.document["deployments"].items():
        config = described.get("config") or {}
        if config.get("files"):
            findings.fault(
                f"deployment {name} lists objects under `files`: StreamFlow deletes them when it ends, claims and "
                "their data included",
                "Write `files: []` and set them up once by `claire site apply`.",
            )
        if described.get("type") in ("kubernetes", "helm3", "helm4") and described.get("external") is not True:
            findings.fault(
                f"deployment {name} is not external: StreamFlow would deploy and delete what belongs to the site",
                "Write `external: true`.",
            )
        if described.get("type") == "ssh":
            _check_connection(name, config, findings)


def _check_connection(name: str, config: Mapping[str, Any], findings: Findings) -> None:
    if config.get("checkHostKey") is False:
        findings.warn(
            f"deployment {name} does not check the login node's host key: another machine may answer in its place",
            "Write `checkHostKey: true`, with its key in ~/.ssh/known_hosts.",
        )
    waited = config.get("retries", 3) * config.get("retryDelay", 5)
    if waited < PATIENCE:
        findings.warn(
            f"deployment {name} gives up after {waited} s (`retries` × `retryDelay`): a login node that starts again "
            "ends the run",
            f"Wait for {PATIENCE} s at least: `retries: 40, retryDelay: 5`.",
        )


def check_templates(site: Site, findings: Findings) -> None:
    """Add faults of job templates that are not there or run nothing."""
    for queue in site.queues:
        for name, service in queue.services.items():
            path = template_path(site, service)
            if path is None:
                findings.fault(
                    f"service {name} of {queue.deployment} has no `file`: jobs would run outside of the image",
                    "Name a job template such as deployments/slurm/job.sh.",
                )
            elif not path.is_file():
                findings.fault(
                    f"service {name} of {queue.deployment}: there is no job template {path}",
                    "Name it relative to the site's file; `claire site template` writes one beside it.",
                )
            elif not runs_steps(path):
                findings.fault(
                    f"job template {path.name} does not contain {{{{ {COMMAND} }}}}: jobs would do nothing",
                    "Take deployments/slurm/job.sh and change what your site needs.",
                )


def runs_steps(template: Path) -> bool:
    """Return whether a job template is there and runs what StreamFlow gives it."""
    return template.is_file() and COMMAND in template.read_text(encoding="utf-8", errors="replace")


def check_bindings(site: Site, job: Job | None, findings: Findings) -> None:
    """Add faults of steps that are bound to nothing, of bindings of nothing, and of files that may not leave."""
    deployments = site.document["deployments"]
    steps: set[str] = set()
    for name in WORKFLOWS:
        workflow = read_workflow(shipped(name))
        steps |= {*workflow.steps, *_parts(workflow), "/"}
        bound = bound_steps(workflow, fit_bindings(site.bindings, read_cwl(shipped(name))["steps"]))
        for step in (each for each in workflow.steps if each not in bound):
            findings.fault(
                f"step {step} of {Path(name).name} is bound to no deployment: it would run where StreamFlow does",
                "Bind `/` to the deployment of all steps that are not named.",
            )
        if {*bound} >= {*workflow.steps} and {*bound.values()} <= {*deployments}:
            unsent = [name for name in job.ports if not job.paths(name)] if job else AT_SITE
            check_policy(workflow, places_of(workflow, bound, deployments), read_policy(), unsent, findings)
    for binding in site.bindings:
        _check_binding(binding, steps, deployments, findings)


def _parts(workflow: Workflow) -> set[str]:
    return {step.rsplit("/", 1)[0] for step in workflow.steps if step.count("/") > 1}


def bound_steps(workflow: Workflow, bindings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the deployment of each step of a workflow: that of the longest path that it lies under."""
    targets = {binding["step"]: binding["target"]["deployment"] for binding in bindings}
    bound = {}
    for step in workflow.steps:
        paths = [step, *(step[:at] for at in range(len(step) - 1, 0, -1) if step[at] == "/"), "/"]
        name = next((targets[path] for path in paths if path in targets), None)
        if name is not None:
            bound[step] = name
    return bound


def _check_binding(
    binding: Mapping[str, Any], steps: Collection[str], deployments: Mapping[str, Any], findings: Findings
) -> None:
    step, target = binding["step"], binding["target"]
    if step not in steps:
        near = get_close_matches(step, steps, n=1)
        findings.fault(
            f"binding of {step}: no workflow has this step{f' (did you mean {near[0]}?)' if near else ''}",
            "StreamFlow would ignore it. docs/usage.md has the picture of the steps.",
        )
    if target["deployment"] not in deployments:
        findings.fault(
            f"binding of {step}: there is no deployment {target['deployment']}: expected one of "
            f"{', '.join(deployments)}"
        )
        return
    described = deployments[target["deployment"]]
    services = (described.get("config") or {}).get("services")
    if described.get("type") == "slurm" and target.get("service") not in (services or {}):
        findings.fault(
            f"binding of {step}: {target['deployment']} has no service {target.get('service')!r}: expected one of "
            f"{', '.join(services or {}) or 'its services'}",
            "Without a service a job gets no partition, time or memory.",
        )
    if described.get("type") == "kubernetes" and not target.get("service"):
        findings.fault(
            f"binding of {step}: {target['deployment']} needs the name of the pods' container",
            "Write `service: claire-data`.",
        )
