"""What a run may touch at a site: nothing of the site's is created, changed or deleted by an engine."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from claire.core.contracts.shard_list import write_shard_list

from tests.support.documents import listed_series

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deployments/kubernetes"
SITE = KUBERNETES / "site"
HYBRID = yaml.safe_load((ROOT / "streamflow.yml").read_text())
#: Kinds that hold data or rights: an engine that deployed them would delete them, and the data with them.
KEPT = {
    "NetworkPolicy",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "Namespace",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Secret",
    "ConfigMap",
    "ServiceAccount",
    "Deployment",
}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


@pytest.mark.parametrize("path", [ROOT / "streamflow.yml", *(ROOT / "deployments/sites").glob("*.yml")], ids=str)
def test_no_engine_deploys_what_belongs_to_the_site(path: Path) -> None:
    for name, deployment in yaml.safe_load(path.read_text())["deployments"].items():
        files = [path.parent / file for file in deployment["config"].get("files", [])]
        kinds = {document["kind"] for file in files for document in documents(file)}
        assert not kinds & KEPT, f"{name} deploys {kinds & KEPT}"
        assert deployment["type"] != "kubernetes" or deployment["external"] is True


@pytest.mark.parametrize("part", ["site", "private", "gpu", "driver"])
def test_a_part_of_the_site_is_applied_as_a_whole(part: str) -> None:
    folder = KUBERNETES / part
    described = yaml.safe_load((folder / "kustomization.yaml").read_text())
    listed = [*described["resources"], *(patch["path"] for patch in described.get("patches", []))]
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")


def test_the_site_has_what_keeps_its_data_in() -> None:
    kinds = sorted(document["kind"] for path in SITE.glob("*.yaml") for document in documents(path))
    assert kinds == [
        "Deployment", "Kustomization", "Namespace", "NetworkPolicy", "PersistentVolumeClaim", "ResourceQuota", "Role",
        "RoleBinding", "ServiceAccount",
    ]  # fmt: skip
    (policy,) = documents(SITE / "network.yaml")
    assert sorted(policy["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    assert not {"egress", "ingress"} & {*policy["spec"]}, "no rule: nothing goes in or out"
    assert policy["spec"]["podSelector"]["matchExpressions"] == [
        {"key": "app", "operator": "NotIn", "values": ["claire-driver"]}
    ], "pods that a run has of its own are meant too"


def test_the_driver_may_do_what_a_run_needs_in_its_namespace_and_no_more() -> None:
    account, role, binding = documents(SITE / "rights.yaml")
    rights = {f"{verb} {name}" for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}
    assert rights == {
        *(f"{verb} pods" for verb in ("get", "list", "watch")), "get pods/exec", "create pods/exec", "get pods/log",
        "get persistentvolumeclaims", "list persistentvolumeclaims",
        *(f"{verb} deployments" for verb in ("get", "list", "watch", "create", "delete", "patch")),
    }  # fmt: skip
    assert role["kind"] == binding["roleRef"]["kind"] == "Role", "not of the cluster"
    assert account["automountServiceAccountToken"] is False


PODS = {"claire-data": "site/pods.yaml", "claire-learn": "gpu/pods.yaml", "driver": "driver/job.yaml"}


@pytest.mark.parametrize(("name", "path"), PODS.items())
def test_pods_are_hardened_and_sized(name: str, path: str) -> None:
    (deployment,) = documents(KUBERNETES / path)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == name
    assert pod["automountServiceAccountToken"] is (name == "driver")
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    for kind in ("requests", "limits"):
        assert {"memory", "ephemeral-storage"} <= {*container["resources"][kind]}, "a quota refuses other pods"
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)
    assert all(volume["secret"]["optional"] for volume in pod["volumes"] if "secret" in volume)


def test_pods_of_the_data_site_read_the_data_only_and_say_what_their_steps_say() -> None:
    (deployment,) = documents(SITE / "pods.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == HYBRID["workflows"]["claire"]["bindings"][0]["target"]["service"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts["/data"]["readOnly"] is mounts["/key"]["readOnly"] is True
    assert volumes[mounts["/data"]["name"]]["persistentVolumeClaim"]["readOnly"] is True
    assert volumes[mounts["/key"]["name"]]["secret"]["defaultMode"] == 0o400
    assert {"name": "CLAIRE_LOG", "value": "/proc/1/fd/2"} in container["env"]


def test_pods_for_networks_see_no_data_of_the_site() -> None:
    (deployment,) = documents(KUBERNETES / "gpu/pods.yaml")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "emptyDir" not in volume]
    assert claims == ["claire-store"]


@pytest.mark.parametrize("command", ["site", "driver"])
def test_kubectl_can_build_the_site(command: str) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on the PATH")
    done = subprocess.run(["kubectl", "kustomize", KUBERNETES / command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(
        document["metadata"]["namespace"] == "claire"
        for document in yaml.safe_load_all(done.stdout)
        if document["kind"] != "Namespace"
    )


def test_a_killed_job_is_tried_again_and_a_lost_login_node_waited_for() -> None:
    assert HYBRID["failureManager"]["enabled"] is True
    assert HYBRID["failureManager"]["type"] == "rollback"
    login = HYBRID["deployments"]["login"]["config"]
    assert login["checkHostKey"] is True
    assert login["retries"] * login["retryDelay"] >= 120


def run_job(tmp_path: Path, command: str) -> str:
    """Run `command` in tmp_path/pipeline by the template of the SLURM jobs, filled in by hand; return its output.

    A script stands in for Apptainer: it shows its arguments and runs what it is given, in the job's environment.
    """
    folder, apptainer = tmp_path / "pipeline", tmp_path / "bin/apptainer"
    apptainer.parent.mkdir()
    apptainer.write_text('#!/bin/sh\necho "$@"\nexec env -u TMPDIR bash -s\n')
    apptainer.chmod(0o755)
    (tmp_path / "node").mkdir()
    template = (ROOT / HYBRID["deployments"]["hpc"]["config"]["services"]["gpu"]["file"]).read_text()
    # As core/utils.create_command of StreamFlow 0.2.0rc3 writes it.
    filled = f'cd {folder} && export HOME="{folder}" && export TMPDIR="{folder}" && {command}'
    script = jinja2.Template(template).render(streamflow_command=filled)
    script = script.replace("export PATH=", f"export PATH={apptainer.parent}:")
    environment = {"CLAIRE_BIND": str(folder), "CLAIRE_IMAGE": "learn.sif", "CLAIRE_TMP": str(tmp_path / "node")}
    done = subprocess.run(["/bin/bash", "-c", script], env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def test_jobs_see_one_folder_that_nobody_else_enters(tmp_path: Path) -> None:
    hpc = HYBRID["deployments"]["hpc"]
    exported = dict(item.split("=", 1) for item in hpc["config"]["services"]["gpu"]["export"].split(","))
    job = yaml.safe_load((ROOT / "configs/site.yml").read_text())
    for inside in (hpc["workdir"], HYBRID["deployments"]["login"]["workdir"], job["store"]):
        assert Path(inside).is_relative_to(exported["CLAIRE_BIND"])
    folder = tmp_path / "pipeline"
    folder.mkdir()
    folder.chmod(0o777)
    run_job(tmp_path, "touch made-by-the-job")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "made-by-the-job").stat().st_mode) == 0o600


def test_a_job_keeps_its_temporary_files_on_the_node_and_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    output = run_job(tmp_path, 'echo "TMPDIR=$TMPDIR"')
    bound = re.search(r"--bind (\S+/node/claire\.\w+):/tmp ", output)
    assert bound, output
    assert "TMPDIR=\n" in output
    assert list((tmp_path / "node").iterdir()) == []


def test_local_jobs_run_in_no_folder_that_all_users_share() -> None:
    deployments = yaml.safe_load((ROOT / "deployments/sites/local.yml").read_text())["deployments"]
    (workdir,) = {Path(deployment["workdir"]) for deployment in deployments.values()}
    assert not workdir.is_absolute(), "relative to the folder that the run is started in"
    assert f"{workdir.parts[0]}/" in (ROOT / ".gitignore").read_text().split()


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
