"""Describe, set up and check a site: where steps run, in pods, on a login node and in SLURM jobs.

    claire site template hybrid --out site.yml   a StreamFlow file to edit; without a name, the list of them
    claire site apply site.yml                   namespace, claim and pods of the data site, by kubectl
    claire site check site.yml --job job.yml     everything that would end a run hours later, in seconds

Nothing at the site is ever deleted. `check` leaves one short job in the queue of each SLURM service it looks into.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from claire.core.command.parameters import InputFile, SitePath, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire site`."""

    out_is_file: ClassVar[bool] = True

    action: Literal["check", "template", "apply"] = parameter(help="check, template or apply", positional=True)
    site: str = parameter(
        "",
        help="StreamFlow file of the site; of `template` the name of one",
        details="`claire site template` lists the names.",
        positional=True,
    )
    job: InputFile | None = parameter(
        None,
        help="job file that the site is checked for",
        details="Its paths at the site are then looked up in the pods and at the HPC.",
    )
    wait: int = parameter(
        60,
        help="how long a job that looks at the compute side may wait in the queue; 0 submits none",
        details="It tells whether the image starts there, its version and the free GPU memory.",
        unit="seconds",
        ge=0,
    )
    private: bool = parameter(
        False,
        help="`apply` also makes the claim for `private` and `data_store`",
        details="The pods then have /private, a volume that survives them.",
    )
    base: SitePath | None = parameter(
        None,
        help="kustomize folder that `apply` takes in place of the shipped one",
        details="For replicas, sizes or an image of your own: an overlay of `deployments/kubernetes/site`.",
    )
    out: SitePath = parameter(Path(), help="file that `template` writes; without it the file is printed")


def run(parameters: Parameters) -> None:
    """Check a site, print a template of its file, or set it up."""
    from claire.commands.site import work

    work.run(parameters)
