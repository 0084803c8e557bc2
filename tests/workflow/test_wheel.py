"""The wheel: an installation without a checkout has the workflow, the grids and how to cite it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.command.shipped import shipped

ROOT = Path(__file__).parents[2]
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "steps",
    "cwl",
    "configs",
    "deployments",
    "streamflow.yml",
)
JOB = """
source: {class: Directory, path: .}
labels: {class: File, path: job.yml}
key: {class: File, path: job.yml}
grid: {class: File, path: job.yml}
fold_countt: 3
"""


def pip(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, words)], check=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel, and nothing else of the project."""
    pytest.importorskip("setuptools", "84", reason="requirements/dev.txt has it: run `make setup` again")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    shutil.rmtree(source)
    pip("install", "--no-deps", "--no-index", "--target", folder / "site", *folder.glob("*.whl"))
    return folder / "site"


def in_site(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=site.parent, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "name",
    [
        "cwl/main.cwl",
        "cwl/types/train.yml",
        "configs/grids/sample.yml",
        "CITATION.cff",
        "streamflow.yml",
        "deployments/sites/local.yml",
        "deployments/slurm/job.sh",
        "deployments/policy.yml",
        "deployments/kubernetes/site/pods.yaml",
        "deployments/kubernetes/private/mount.yaml",
    ],
)
def test_an_installed_wheel_has_what_is_shipped(site: Path, name: str) -> None:
    code = f"from claire.core.command.shipped import shipped; print(shipped({name!r}))"
    found = Path(in_site(site, "-c", code).stdout.strip())
    assert found == site / "claire/share" / name
    assert found.read_bytes() == (ROOT / name).read_bytes()


def test_an_installed_wheel_writes_a_site(site: Path) -> None:
    done = in_site(site, "-m", "claire", "site", "template", "hybrid", "--out", "here/site.yml")
    assert done.returncode == 0, done.stderr
    assert f"file: {site}/claire/share/cwl/main.cwl" in (site.parent / "here/site.yml").read_text()
    assert (site.parent / "here/job.sh").is_file()


def test_an_installed_wheel_checks_a_job_against_its_workflow(site: Path) -> None:
    (site.parent / "job.yml").write_text(JOB)
    done = in_site(site, "-m", "claire", "check", "job.yml")
    assert done.returncode == 2
    assert "did you mean fold_count" in done.stderr


def test_a_checkout_has_its_own_files_and_says_what_it_lacks() -> None:
    assert shipped("cwl/main.cwl") == ROOT / "cwl/main.cwl"
    with pytest.raises(ClaireError, match=r"cwl/none\.cwl is not part of this installation"):
        shipped("cwl/none.cwl")
