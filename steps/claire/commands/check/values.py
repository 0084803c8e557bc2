"""The values of a job, checked by the parameters of the steps that take them, and by the grid."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from claire.commands.check.job import Job
from claire.core.command.findings import Findings
from claire.core.command.listing import STEPS
from claire.core.command.parameters import FILES, StepParameters, describe, refused_values
from claire.core.contracts.plan import Plan
from claire.core.contracts.variant import Variant
from claire.core.networks.architectures import MONAI
from claire.plan.work import Request, survey

#: Inputs of the workflow under another name than the parameter that they become.
_AS_PARAMETER = {"cores": "threads"}


def model_of(step: str) -> type[StepParameters]:
    """Return the parameters of a step."""
    model: type[StepParameters] = importlib.import_module(f"claire.{step}").Parameters
    return model


def check_values(job: Job, findings: Findings) -> None:
    """Add the values that a step would refuse; they are faulty from then on."""
    refused: dict[str, str] = {}
    for step in STEPS:
        model = model_of(step)
        taken = {each.name for each in describe(model) if each.kind not in FILES and not each.common}
        inputs = {name: job.values[name] for name in job.ports if name in taken and _is_set(job, name)}
        for name, text in refused_values(model, inputs).items():
            refused.setdefault(name, f"'{name}': {text}")
        for name, text in refused_values(model, job.options(step)).items():
            refused[f"{step}_options.{name}"] = f"{step}_options: '{name}': {text}"
    for name, parameter in _AS_PARAMETER.items():
        if name in job.ports and _is_set(job, name):
            for text in refused_values(StepParameters, {parameter: job.values[name]}).values():
                refused[name] = f"'{name}': {text}"
    for problem in refused.values():
        findings.fault(problem)
    job.faulty |= {*refused}


def _is_set(job: Job, name: str) -> bool:
    return job.values.get(name) is not None and name not in job.faulty


def check_grid(job: Job, findings: Findings) -> tuple[Plan, list[Variant]] | None:
    """Return the plan and its variants, or None where there is none; faults of grid, networks, weights and folds."""
    grid = job.local("grid")
    if grid is None:
        return None
    explain_folds = job.value("explain_folds") or ()
    pretrained = [path.name for path in job.paths("pretrained")]
    request = Request(grid, job.value("fold_count") or 5, job.value("seed") or 0, explain_folds, pretrained)
    planned = survey(request, findings)
    if planned:
        _check_reference(job, planned[0], findings)
        _check_networks(planned[1], findings)
        unused = sorted({*pretrained} - {each.pretraining.removeprefix("weights:") for each in planned[1]})
        if unused:
            findings.warn(f"weights files that no variant names: {', '.join(unused)}")
    return planned


def _check_reference(job: Job, plan: Plan, findings: Findings) -> None:
    reference = job.options("evaluate").get("reference")
    if reference is not None and reference not in plan.variants:
        findings.fault(
            f"evaluate_options: 'reference' is no variant of the grid: expected one of "
            f"{', '.join(plan.variants[:10])}, got '{reference}'",
            "`claire plan --list` shows the ids; they change with every setting.",
        )


def _check_networks(variants: list[Variant], findings: Findings) -> None:
    """Warn of networks that only `train` can judge: not in the list of MONAI's, or in a module that is not here."""
    for architecture in dict.fromkeys(variant.architecture for variant in variants):
        library, _, name = architecture.partition(":")
        if library == "monai" and name not in MONAI:
            findings.warn(
                f"'{architecture}' is none of the networks of MONAI that are known here",
                f"Only `train` can tell. Known are {', '.join(MONAI[:4])}, …",
            )
        package = name.partition(":")[0].partition(".")[0]
        if library == "python" and (not package or find_spec(package) is None):
            findings.warn(
                f"the module of '{architecture}' cannot be imported here",
                "Put it on the PYTHONPATH of the machine that trains.",
            )
