"""The build step that pyproject.toml cannot say: the wheel carries what lies beside `steps/` as data of the package.

`claire.core.command.shipped` finds the files there; in a checkout (editable install) nothing is copied.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "cwl",
    "configs",
    "deployments/kubernetes",
    "deployments/policy.yml",
    "deployments/sites",
    "deployments/slurm",
    "streamflow.yml",
    "CITATION.cff",
)


class BuildWithShippedFiles(build_py):
    """Copies the shipped files into `claire/share` of the wheel."""

    def run(self) -> None:
        """Build the package, then add the files."""
        super().run()
        if self.editable_mode:
            return
        share = Path(self.build_lib, "claire/share")
        shutil.rmtree(share, ignore_errors=True)
        share.mkdir()
        for name in SHIPPED:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            (share / name).parent.mkdir(parents=True, exist_ok=True)
            copy(name, share / name)


setup(cmdclass={"build_py": BuildWithShippedFiles})
