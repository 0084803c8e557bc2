"""What a run may touch at a site: nothing of the site's is created, changed or deleted by an engine."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from claire.core.contracts.shard_list import write_shard_list

from tests.support.documents import listed_series

ROOT = Path(__file__).parents[2]
SITE = ROOT / "deployments/kubernetes/site"
HYBRID = yaml.safe_load((ROOT / "streamflow.yml").read_text())
#: Kinds that hold data or rights: an engine that deployed them would delete them, and the data with them.
KEPT = {"Namespace", "PersistentVolumeClaim", "PersistentVolume", "Secret", "ConfigMap", "ServiceAccount", "Deployment"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


@pytest.mark.parametrize("path", [ROOT / "streamflow.yml", *(ROOT / "deployments/sites").glob("*.yml")], ids=str)
def test_no_engine_deploys_what_belongs_to_the_site(path: Path) -> None:
    for name, deployment in yaml.safe_load(path.read_text())["deployments"].items():
        files = [path.parent / file for file in deployment["config"].get("files", [])]
        kinds = {document["kind"] for file in files for document in documents(file)}
        assert not kinds & KEPT, f"{name} deploys {kinds & KEPT}"
        assert deployment["type"] != "kubernetes" or deployment["external"] is True


def test_the_site_is_applied_as_a_whole() -> None:
    listed = yaml.safe_load((SITE / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in SITE.glob("*.yaml") if path.name != "kustomization.yaml")
    kinds = [document["kind"] for name in listed for document in documents(SITE / name)]
    assert sorted(kinds) == ["Deployment", "Namespace", "PersistentVolumeClaim"]


def test_pods_are_hardened_and_read_the_data_only() -> None:
    (deployment,) = documents(SITE / "pods.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == HYBRID["workflows"]["claire"]["bindings"][0]["target"]["service"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/data"]["readOnly"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/data"]["name"]]["persistentVolumeClaim"]["readOnly"] is True


def test_a_killed_job_is_tried_again_and_a_lost_login_node_waited_for() -> None:
    assert HYBRID["failureManager"]["enabled"] is True
    assert HYBRID["failureManager"]["type"] == "rollback"
    login = HYBRID["deployments"]["login"]["config"]
    assert login["checkHostKey"] is True
    assert login["retries"] * login["retryDelay"] >= 120


def test_jobs_see_one_folder_that_nobody_else_enters(tmp_path: Path) -> None:
    hpc = HYBRID["deployments"]["hpc"]
    exported = dict(item.split("=", 1) for item in hpc["config"]["services"]["gpu"]["export"].split(","))
    job = yaml.safe_load((ROOT / "configs/site.yml").read_text())
    for inside in (hpc["workdir"], HYBRID["deployments"]["login"]["workdir"], job["store"]):
        assert Path(inside).is_relative_to(exported["CLAIRE_BIND"])
    folder, apptainer = tmp_path / "pipeline", tmp_path / "bin/apptainer"
    folder.mkdir(mode=0o777)
    apptainer.parent.mkdir()
    apptainer.write_text('#!/bin/sh\ntouch "$CLAIRE_BIND/made-by-the-job"\n')
    apptainer.chmod(0o755)
    script = (ROOT / hpc["config"]["services"]["gpu"]["file"]).read_text()
    script = script.replace("export PATH=", f"export PATH={apptainer.parent}:").replace("{{ streamflow_command }}", ":")
    environment = {"CLAIRE_BIND": str(folder), "CLAIRE_IMAGE": "learn.sif"}
    subprocess.run(["/bin/bash", "-c", script], env=environment, check=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "made-by-the-job").stat().st_mode) == 0o600


def test_shard_lists_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = write_shard_list(tmp_path / "0000.shard.jsonl", [listed_series()])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["train", "explain"])
def test_a_user_id_without_a_passwd_entry_can_run_the_steps_with_torch(step: str) -> None:
    code = f"""
import pwd, sys
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
from claire.core.command.execute import execute
from claire.core.command.parameters import StepParameters
def imports(parameters):
    from claire.{step} import work
    import torch._inductor.runtime.cache_dir_utils as cache
    cache.default_cache_dir()
sys.exit(execute("{step}", "", StepParameters, imports, []))
"""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "steps")}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
