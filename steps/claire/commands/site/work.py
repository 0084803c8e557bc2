"""What `claire site` does and prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from claire.commands.check.job import Job, read_job
from claire.commands.site import Parameters
from claire.commands.site.apply import apply
from claire.commands.site.check import check_site
from claire.commands.site.file import Site, read_site
from claire.commands.site.template import describe_templates, template_text, write_template
from claire.core.command.errors import UsageError
from claire.core.command.findings import Findings
from claire.core.command.shipped import shipped


def run(parameters: Parameters) -> None:
    """Do what is asked for. Raises UsageError with everything that is wrong."""
    if parameters.action == "template":
        _template(parameters)
        return
    path = Path(parameters.site)
    if not path.is_file():
        problem = f"there is no site file {path}" if parameters.site else "no site file is given"
        raise UsageError(problem, "Write one: claire site template hybrid --out site.yml")
    site = read_site(path)
    if parameters.action == "apply":
        apply(site, parameters.base, parameters.private)
    else:
        _check(site, parameters)


def _template(parameters: Parameters) -> None:
    if not parameters.site:
        print("\n".join(describe_templates()))
    elif parameters.out == Path():
        print(template_text(parameters.site), end="")
    else:
        print("\n".join(write_template(parameters.site, parameters.out)))


def _check(site: Site, parameters: Parameters) -> None:
    begun = time.monotonic()
    job, findings = None, Findings()
    if parameters.job:
        job = _read_job(parameters.job, findings)
    findings.add(check_site(site, job, parameters.wait))
    print("\n".join(report(site, findings, time.monotonic() - begun)))
    if findings.faults:
        raise findings.error(f"{site.path.name} has", "Correct the site and check it again: docs/deployment.md.")


def _read_job(path: Path, findings: Findings) -> Job:
    return read_job(path, shipped("cwl/main.cwl"), findings)


def report(site: Site, findings: Findings, seconds: float) -> Iterator[str]:
    """Yield the lines that are printed; faults are the error's."""
    count = len(findings.faults)
    state = f"{count} fault{'s' if count > 1 else ''}" if count else "no fault was found"
    yield f"{site.path.name}: checked in {seconds:.0f} s; {state}"
    for title, group in (("notes", findings.notes), ("warnings", findings.warnings)):
        if group:
            yield f"{title}:"
            for finding in group:
                first, *others = finding.lines()
                yield f"- {first}"
                yield from (f"  {line}" for line in others)
