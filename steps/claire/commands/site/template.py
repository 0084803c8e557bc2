"""The StreamFlow files of kinds of sites, as they are shipped, made ready to be edited anywhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from claire.core.command.errors import UsageError
from claire.core.command.files import write_text
from claire.core.command.shipped import shipped

#: From the simplest to the main use; the hybrid is the checkout's own file.
TEMPLATES = {
    name: f"deployments/sites/{name}.yml"
    for name in ("local", "docker", "slurm-login", "ssh-slurm", "kubernetes-only", "hybrid", "leonardo-like")
} | {"hybrid": "streamflow.yml"}
JOB_TEMPLATE = "deployments/slurm/job.sh"


def describe_templates() -> Iterator[str]:
    """Yield a line a template: its name and the first sentence of its file."""
    for name, path in TEMPLATES.items():
        lines = shipped(path).read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
        yield f"{name:<17}{re.split(r'[.:] ', comment, maxsplit=1)[0]}"


def template_text(name: str) -> str:
    """Return a template that names workflow, job and job template as a file of the user's own can.

    Raises UsageError for an unknown name.
    """
    if name not in TEMPLATES:
        raise UsageError(f"there is no template {name}: expected one of {', '.join(TEMPLATES)}", "Give one of them.")
    text = shipped(TEMPLATES[name]).read_text(encoding="utf-8")
    text = re.sub(r"(?m)^( +file: )\S*cwl/main\.cwl$", rf"\g<1>{shipped('cwl/main.cwl')}", text)
    text = re.sub(r"(?m)^( +settings: )\S+$", r"\g<1>job.yml", text)
    return re.sub(r"(?m)^( +file: )\S*slurm/job\.sh$", r"\g<1>job.sh", text)


def write_template(name: str, out: Path) -> Iterator[str]:
    """Write a template and, if it submits jobs, their template beside it; yield what to do next.

    Raises UsageError for an unknown name, and where a file is in the way.
    """
    text = template_text(name)
    if out.exists():
        raise UsageError(f"there is a file {out} already", "Name another one: nothing is overwritten.")
    write_text(out, text)
    yield f"{out}: edit its last block"
    beside = out.parent / "job.sh"
    if "file: job.sh" in text and not beside.exists():
        shutil.copyfile(shipped(JOB_TEMPLATE), beside)
        yield f"{beside}: the template of SLURM jobs; most sites leave it as it is"
    if "kubernetes" in text:
        yield f"then: claire site apply {out}"
    yield f"then: claire site check {out} --job job.yml"
