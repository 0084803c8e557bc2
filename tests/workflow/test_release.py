"""What a release needs: one version everywhere, and registries that find the workflow and the images."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from claire import __version__

ROOT = Path(__file__).parents[2]
CRATE = {entity["@id"]: entity for entity in json.loads((ROOT / "ro-crate-metadata.json").read_text())["@graph"]}
RELEASE = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())


def test_one_version_everywhere() -> None:
    images = {
        tag for path in ROOT.glob("cwl/tools/*.cwl") for tag in re.findall(r"localhost/\S+?:([\d.]+)", path.read_text())
    }
    versions = {
        "package": __version__,
        "pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "CITATION.cff": yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"],
        "codemeta.json": json.loads((ROOT / "codemeta.json").read_text())["version"],
        "ro-crate-metadata.json": CRATE["cwl/main.cwl"]["version"],
        "images": ", ".join(sorted(images)),
    }
    assert set(versions.values()) == {__version__}, versions


def test_dockstore_finds_the_workflow_and_a_job() -> None:
    (workflow,) = yaml.safe_load((ROOT / ".dockstore.yml").read_text())["workflows"]
    paths = [workflow["primaryDescriptorPath"], workflow["readMePath"], *workflow["testParameterFiles"]]
    assert [path for path in paths if not (path.startswith("/") and (ROOT / path[1:]).is_file())] == []


def test_the_crate_of_the_repository_describes_files_that_are_there() -> None:
    assert CRATE["./"]["mainEntity"] == {"@id": "cwl/main.cwl"}
    parts = [part["@id"] for part in CRATE["./"]["hasPart"]]
    assert [name for name in parts if not (ROOT / name).is_file() or name not in CRATE] == []
    assert "ComputationalWorkflow" in CRATE["cwl/main.cwl"]["@type"]


@pytest.mark.parametrize("job", RELEASE["jobs"])
def test_actions_of_the_release_are_pinned(job: str) -> None:
    used = [step["uses"] for step in RELEASE["jobs"][job]["steps"] if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)] == []


def test_the_release_builds_the_images_that_the_tools_name() -> None:
    tools = "".join(path.read_text() for path in ROOT.glob("cwl/tools/*.cwl"))
    roles = RELEASE["jobs"]["images"]["strategy"]["matrix"]["role"]
    assert sorted(roles) == sorted(set(re.findall(r"localhost/claire-(\w+):", tools)))
    assert [role for role in roles if not (ROOT / f"requirements/{role}.txt").is_file()] == []


def test_an_image_is_built_on_a_pinned_base_alone(tmp_path: Path) -> None:
    engine = tmp_path / "docker"  # has no image
    engine.write_text("#!/bin/sh\nexit 1\n")
    engine.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "ENGINE": str(engine), "SYFT": "true", "BASE_IMAGE": "example/python:3.11"}
    told = subprocess.run([ROOT / "deployments/images/build"], env=environment, capture_output=True, text=True)
    assert (told.returncode, "example/python:3.11 is not pinned" in told.stderr) == (1, True)
