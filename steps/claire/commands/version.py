"""Print the version of this installation and of what it runs on.

Copy the lines into a report of a bug. `claire --version` prints the number alone.
"""

from __future__ import annotations

import platform
from importlib import metadata

import claire
from claire.core.command.parameters import StepParameters
from claire.core.command.record import source_hash

#: What most faults depend on; engines are listed where they share the environment of the steps.
PACKAGES = ("numpy", "pydicom", "SimpleITK", "torch", "monai", "cwltool", "streamflow")


class Parameters(StepParameters):
    """Parameters of `claire version`."""


def run(_: Parameters) -> None:
    """Print one line for the pipeline, one for Python and one per package."""
    print(f"claire {claire.__version__} (source {source_hash()[:12]})")
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in PACKAGES:
        print(f"{name} {_version(name)}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "is not installed here"
