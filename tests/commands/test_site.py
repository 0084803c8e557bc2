"""A site: its file, what may leave which place, what is looked up there, and what is said of each fault."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from claire.commands.check.job import read_job
from claire.commands.site import compute, hpc
from claire.commands.site.apply import apply
from claire.commands.site.bindings import WORKFLOWS, bound_steps, check_file
from claire.commands.site.check import check_site
from claire.commands.site.file import Login, read_site
from claire.commands.site.flows import file_patterns, read_workflow
from claire.commands.site.login import add_unreached, check_key
from claire.commands.site.pods import check_pods
from claire.commands.site.policy import places_of, read_policy
from claire.commands.site.reach import Unreachable, ask, at_login, ssh
from claire.commands.site.schema import engine_python, schema_faults
from claire.commands.site.slurm import mebibytes, offers, options, read_nodes, seconds_of
from claire.commands.site.template import TEMPLATES, template_text
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.findings import Findings
from claire.core.command.shipped import shipped

from tests.support.command import claire
from tests.support.site_programs import NODES, Programs, claim, deployment, pod, site_objects

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(compute, "engine_python", lambda: sys.executable)
    monkeypatch.setattr(hpc, "LOW_DISK", 0)
    return Programs(tmp_path / "programs", monkeypatch)


def write_site(tmp_path: Path, change: Change = lambda _: None, template: str = "hybrid") -> Path:
    """Write a site in `tmp_path` whose HPC is a folder there."""
    folder = tmp_path / "pipeline"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)
    (tmp_path / "learn.sif").touch()
    (tmp_path / "job.sh").write_text("#!/bin/bash\n{{ streamflow_command }}\n")
    document = yaml.safe_load(template_text(template))
    deployments = document["deployments"]
    for described in deployments.values():
        if "workdir" in described:
            described["workdir"] = str(folder / "work")
        described["config"].pop("sshKey", None)
        for service in described["config"].get("services", {}).values():
            service["export"] = f"CLAIRE_IMAGE={tmp_path}/learn.sif,CLAIRE_BIND={folder}"
            service["partition"] = "gpu"
            if "gres" in service:
                service["gres"] = "gpu:1"
    change(document)
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def write_job(tmp_path: Path, **values: object) -> Path:
    grid = tmp_path / "grid.yml"
    grid.write_text("{}")
    path = tmp_path / "job.yml"
    given = {
        "source": str(tmp_path),
        "labels": str(grid),
        "key": str(grid),
        "grid": {"class": "File", "path": "grid.yml"},
    }
    path.write_text(yaml.safe_dump({**given, "store": str(tmp_path / "pipeline/store"), "cores": 8, **values}))
    return path


def problems(check: Callable[..., Any], *arguments: Any) -> str:
    """Return the faults that a check adds, with what to do, and the warnings."""
    findings = Findings()
    check(*arguments, findings)
    return "\n".join(line for finding in (*findings.faults, *findings.warnings) for line in finding.lines())


def of_file(path: Path) -> str:
    return problems(check_file, read_site(path), None)


def target(deployment: str, service: str = "gpu") -> dict[str, str]:
    return {"deployment": deployment, "service": service}


# ---- what is in the file


def test_the_steps_and_flows_of_a_workflow_are_read_from_its_cwl() -> None:
    main = read_workflow(shipped("cwl/main.cwl"))
    assert {"/data/index", "/experiment/train", "/pick", "/report"} <= {*main.steps}
    flows = {(flow.origin.step, file, flow.consumer) for flow in main.flows for file in flow.origin.files}
    assert ("/data/index", "*.shard.jsonl", "/data/ingest") in flows
    assert ("/data/cohort", "cohort.h5", "/experiment/train") in flows
    assert ("/pick", "*.safetensors", "/bundle") in flows
    assert ("", "pretrained", "/experiment/train") in flows
    assert ("/explain", "*.saliency.zip", "") in flows


def test_names_of_files_are_read_from_globs_and_expressions() -> None:
    assert file_patterns(["a.json", "*.b"]) == ("a.json", "*.b")
    assert file_patterns("$(inputs.x ? '*.saliency.zip' : [])") == ("*.saliency.zip",)


def test_the_policy_names_files_and_steps_that_there_are() -> None:
    workflows = [read_workflow(shipped(name)) for name in WORKFLOWS]
    made = {file for workflow in workflows for files in workflow.outputs.values() for file in files}
    given = {file for workflow in workflows for flow in workflow.flows for file in flow.origin.files}
    steps = {step.rsplit("/", 1)[1] for workflow in workflows for step in workflow.steps}
    for rules in read_policy().values():
        for rule in rules:
            assert {*rule.steps} <= steps
            known = rule.files in ("*", *made, *given)
            assert known or any(file.endswith(rule.files.removeprefix("*")) for file in made), rule.files


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_binds_every_step_and_lets_nothing_out_that_may_not(name: str) -> None:
    path = shipped(TEMPLATES[name])
    assert of_file(path) == ""
    site = read_site(path)
    assert bound_steps(read_workflow(shipped("cwl/main.cwl")), site.bindings).keys() == {
        *read_workflow(shipped("cwl/main.cwl")).steps
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_is_valid_for_streamflow(name: str) -> None:
    if not shutil.which("streamflow"):
        pytest.skip("streamflow is in the other environment of `make setup`: put it on the PATH")
    assert schema_faults(shipped(TEMPLATES[name])) == []


def test_streamflow_itself_finds_a_misspelt_key(tmp_path: Path) -> None:
    if not shutil.which("streamflow"):
        pytest.skip("streamflow is in the other environment of `make setup`: put it on the PATH")
    path = write_site(tmp_path, lambda site: site["deployments"]["login"]["config"].update(noodes=[]))
    (fault,) = schema_faults(path)
    assert "site.yml, deployments.login.config:" in fault
    assert "'noodes' was unexpected" in fault


def test_without_streamflow_it_is_said_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="streamflow is not on the PATH") as error:
        engine_python()
    assert ".venv/engine/bin" in error.value.remedy


def test_a_streamflow_that_cannot_check_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "streamflow").write_text("#!/bin/false\n")
    (tmp_path / "streamflow").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClaireError, match=r"StreamFlow's check of site\.yml failed"):
        schema_faults(tmp_path / "site.yml")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("/data/ingest", r"/data/ingest is bound to hpc: *.shard.jsonl of /data/index (data-site) may not go there"),
        ("/report", "/report is bound to hpc: cohort.json, cohort.run.json, folds.csv"),
        ("/experiment/evaluate", "cohort.json, scans.csv of /data/cohort (data-site) may not go there"),
        ("/data/index", "*.shard.jsonl of /data/index (hpc) may not go there"),
    ],
)
def test_a_binding_that_would_let_patients_out_is_refused(tmp_path: Path, step: str, said: str) -> None:
    def bind(document: dict[str, Any]) -> None:
        document["workflows"]["claire"]["bindings"].append({"step": step, "target": target("hpc")})

    assert said in of_file(write_site(tmp_path, bind))


def test_labels_and_key_that_the_job_sends_may_go_to_the_data_site_alone(tmp_path: Path) -> None:
    def bind(document: dict[str, Any]) -> None:
        document["workflows"]["claire"]["bindings"].append({"step": "/data/ingest", "target": target("hpc")})

    given = {"class": "File", "path": "grid.yml"}
    for values, sent in (({}, False), ({"labels": given, "key": given}, True)):
        job = read_job(write_job(tmp_path, **values), shipped("cwl/main.cwl"), Findings())
        text = problems(check_file, read_site(write_site(tmp_path, bind)), job)
        assert ("/data/ingest is bound to hpc: key, labels of the job may not go there" in text) is sent


def test_a_policy_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    path.write_text("data to moon: []\n")
    with pytest.raises(UsageError, match="is no policy"):
        read_policy(path)


def test_paths_of_the_home_are_read_as_streamflow_does(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["deployments"]["data-site"]["config"]["kubeconfig"] = "~/k"
        document["deployments"]["login"]["config"]["sshKey"] = "~/.ssh/id"

    site = read_site(write_site(tmp_path, change))
    assert (site.pods[0].kubeconfig, site.logins[0].key) == (f"{Path.home()}/k", f"{Path.home()}/.ssh/id")


def test_deployments_that_wrap_one_another_are_one_place() -> None:
    deployments = {"a": {"type": "ssh"}, "b": {"type": "slurm", "wraps": "a"}, "c": {"type": "slurm"}}
    workflow = read_workflow(shipped("cwl/main.cwl"))
    places = places_of(workflow, dict.fromkeys(workflow.steps, "b") | {"/explain": "c"}, deployments)
    assert (places.place("/plan"), places.role("/plan")) == ("a", "data")
    assert (places.place("/explain"), places.role("/explain")) == ("", "driver")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: site["deployments"]["data-site"].update(external=False), "deployment data-site is not external"),
        (
            lambda site: site["deployments"]["data-site"]["config"].update(files=["claim.yaml"]),
            "lists objects under `files`",
        ),
        (
            lambda site: site["deployments"]["login"]["config"].update(checkHostKey=False),
            "does not check the login node's host key",
        ),
        (lambda site: site["deployments"]["login"]["config"].update(retries=3), "gives up after 15 s"),
        (
            lambda site: site["workflows"]["claire"]["bindings"][1].update(step="/experiment/trian"),
            "no workflow has this step (did you mean /experiment/train?)",
        ),
        (
            lambda site: site["workflows"]["claire"]["bindings"][1].update(target=target("hpc", "gpuu")),
            "hpc has no service 'gpuu': expected one of cpu, gpu",
        ),
        (
            lambda site: site["workflows"]["claire"]["bindings"][1].update(target=target("hpcc")),
            "there is no deployment hpcc: expected one of",
        ),
        (
            lambda site: site["workflows"]["claire"]["bindings"].pop(0),
            "step /plan of main.cwl is bound to no deployment",
        ),
        (
            lambda site: site["workflows"]["claire"]["bindings"][0]["target"].pop("service"),
            "data-site needs the name of the pods' container",
        ),
        (
            lambda site: site["deployments"]["hpc"]["config"]["services"]["gpu"].pop("file"),
            "service gpu of hpc has no `file`",
        ),
        (
            lambda site: site["deployments"]["hpc"]["config"]["services"]["gpu"].update(file="none.sh"),
            "there is no job template",
        ),
        (
            lambda site: site["deployments"]["hpc"]["config"]["services"]["gpu"].update(file="site.yml"),
            "does not contain {{ streamflow_command }}",
        ),
    ],
)
def test_a_fault_of_the_file_is_told(tmp_path: Path, change: Change, said: str) -> None:
    assert said in of_file(write_site(tmp_path, change))


# ---- the login node

LOGIN = Login("login", "login.example.org", 2222, "claire", "")


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (
            "No ED25519 host key is known for [x]:2222.\nHost key verification failed.",
            "its host key is unknown",
            "ssh-keyscan -p 2222 login.example.org",
        ),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n", "is another one than", "ssh-keygen -R '[login"),
        ("claire@x: Permission denied (publickey).", "is refused for user claire", "authorized_keys"),
        ("Load key: error in libcrypto\nclaire@x: Permission denied", "is no private key", "ssh-add"),
        ("ssh: Could not resolve hostname x: Name or service not known", "there is no host of this name", "nodes"),
        ("ssh: connect to host x port 2222: Connection refused", "nothing answers at port 2222", "host:port"),
        ("ssh: connect to host x: No route to host", "there is no route to it", "tunnel"),
        ("ssh: connect to host x port 22: Connection timed out", "no answer within", "VPN"),
        ("kex_exchange_identification: Connection closed by remote host", "ended the connection", "ban"),
        ("something new", "something new", "by hand"),
    ],
)
def test_why_a_login_node_is_not_reached_is_told_apart(programs: Programs, words: str, said: str, remedy: str) -> None:
    programs.ssh_says(words)
    with pytest.raises(Unreachable) as error:
        at_login(LOGIN, "true")
    text = problems(add_unreached, LOGIN, error.value)
    assert said in text
    assert remedy in text


def test_a_key_that_is_not_there_or_open_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    key = tmp_path / "key"
    login = Login("login", "h", 22, "claire", str(key))
    assert f"there is no key {key}" in problems(check_key, login)
    key.touch(mode=0o644)
    key.chmod(0o644)
    assert "may be read by others (mode 0644)" in problems(check_key, login)
    key.chmod(0o600)
    assert problems(check_key, login) == ""


def test_answers_of_a_script_are_told_apart() -> None:
    answers = ask({"a": "echo one\necho two", "b": "exit 3", "c": "cat"}, lambda script: at_login(None, script))
    assert [(answer.done, answer.text) for answer in answers.values()] == [(True, "one\ntwo"), (False, ""), (True, "")]
    with pytest.raises(Unreachable, match="ended before"):
        ask({"a": "true"}, lambda _: "")


# ---- the HPC


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("30", 1800), ("30:10", 1810), ("24:00:00", 86400), ("2-12", 216000), ("1-00:00:00", 86400), ("infinite", None)],
)
def test_time_limits_of_slurm_are_read(limit: str, seconds: int | None) -> None:
    assert seconds_of(limit) == seconds


def test_sizes_options_and_nodes_of_slurm_are_read() -> None:
    assert [mebibytes(size) for size in ("32000", "32G", "1T", "512K")] == [32000, 32768, 2**20, 0.5]
    assert options({"file": "job.sh", "cpusPerTask": 8, "exclusive": True, "requeue": False, "ignorePBS": True}) == [
        "--cpus-per-task=8", "--exclusive", "--ignore-pbs"
    ]  # fmt: skip
    gpu, cpu = read_nodes(NODES)
    assert (gpu.seconds, gpu.cores, gpu.memory_mib, gpu.slots) == (86400, 32, 512000, "gpu:v100:4(S:0-1)")
    assert (cpu.seconds, cpu.up) == (None, True)


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("gpu:v100:4", True), ("gpu:4", True), ("gpu", True), ("gpu:v100", True),
        ("gpu:5", False), ("gpu:a100:1", False), ("mps:1", False),
    ],
)  # fmt: skip
def test_slots_of_a_node_are_compared(asked: str, there: bool) -> None:
    assert offers("gpu:v100:4(S:0,1)", asked) is there


def queue_check(path: Path, job: Path | None = None) -> str:
    site = read_site(path)
    read = read_job(job, shipped("cwl/main.cwl"), Findings()) if job else None
    return problems(hpc.check_queue, site, site.queues[0], read)


def test_an_hpc_in_good_order_has_no_fault(tmp_path: Path, programs: Programs) -> None:
    assert queue_check(write_site(tmp_path), write_job(tmp_path)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partition": "gpuu"}, "there is no partition gpuu: expected one of cpu, gpu"),
        ({"gres": "gpu:a100:1"}, "no node of partition gpu has gres gpu:a100:1: expected one of gpu:v100:4(S:0-1)"),
        ({"time": "2-00:00:00"}, "time 2-00:00:00 is more than partition gpu allows: expected at most 24 h 0 min"),
        ({"cpusPerTask": 64}, "no node of partition gpu has 64 cores: expected at most 32"),
        ({"mem": "900G"}, "no node of partition gpu has 921600 MiB of memory: expected at most 512000"),
        ({"export": "A=1"}, "service gpu exports no CLAIRE_IMAGE and no CLAIRE_BIND"),
        ({"export": "CLAIRE_IMAGE=/none.sif,CLAIRE_BIND=/none"}, "image /none.sif cannot be read at"),
        ({"export": "CLAIRE_IMAGE=/none.sif,CLAIRE_BIND=/none"}, "the folder /none (CLAIRE_BIND) is not there"),
        ({"export": "CLAIRE_IMAGE=/none.sif,CLAIRE_BIND=/none"}, "is not in /none (CLAIRE_BIND of gpu)"),
    ],
)
def test_what_a_service_asks_for_and_is_not_there_is_told(
    tmp_path: Path, programs: Programs, change: dict[str, Any], said: str
) -> None:
    path = write_site(tmp_path, lambda site: site["deployments"]["hpc"]["config"]["services"]["gpu"].update(change))
    assert said in queue_check(path)


def test_states_of_the_hpc_are_told(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_site(tmp_path)
    assert "`cores` of the job is 2, cpusPerTask of service gpu is 8" in queue_check(path, write_job(tmp_path, cores=2))
    assert "`store` of the job /elsewhere is not in" in queue_check(path, write_job(tmp_path, store="/elsewhere"))
    (tmp_path / "pipeline").chmod(0o755)
    assert "has mode 755: expected 700" in queue_check(path)
    (tmp_path / "pipeline").chmod(0o700)
    programs.program("id", "#!/bin/sh\necho somebody\n")
    assert "'s: expected somebody's" in queue_check(path)
    (programs.folder / "id").unlink()
    programs.say("refused", "sbatch: error: invalid account\nallocation failure: Invalid account\n")
    assert "SLURM refuses such a job: allocation failure: Invalid account" in queue_check(path)
    (programs.folder / "refused").unlink()
    programs.say("nodes", NODES.replace("gpu|up", "gpu|down"))
    assert "partition gpu is down" in queue_check(path)
    programs.say("nodes", NODES.replace("|idle", "|drain"))
    assert "every node of partition gpu is down or drained now" in queue_check(path)
    programs.say("no-controller", "")
    assert "the SLURM controller does not answer" in queue_check(path)
    monkeypatch.setattr(hpc, "_PROGRAMS", ("sbatch", "no-such-program"))
    assert "are not all found" in queue_check(path)
    programs.program("date", "#!/bin/sh\necho 1000\n")
    assert "s from this machine's: expected at most 60 s" in queue_check(path)
    monkeypatch.setattr(hpc, "LOW_DISK", 10**18)
    assert "GB are free in" in queue_check(path)
    programs.ssh_says("Connection refused")
    assert "nothing answers at port 22" in queue_check(path)


def test_an_hpc_that_does_everything_must_see_the_data(tmp_path: Path, programs: Programs) -> None:
    path = write_site(tmp_path, template="ssh-slurm")
    assert "is in no folder that jobs see" in queue_check(path, write_job(tmp_path))
    assert "'key' /none cannot be read at" in queue_check(path, write_job(tmp_path, key="/none"))
    inside = str(tmp_path / "pipeline")
    assert queue_check(path, write_job(tmp_path, source=inside, labels=inside, key=inside)) == ""


def test_a_job_finds_out_what_is_on_the_compute_side(tmp_path: Path, programs: Programs) -> None:
    site = read_site(write_site(tmp_path))
    findings = Findings()
    compute.try_job(site, site.queues[0], "gpu", 5, findings)
    assert not findings.faults
    assert "a job started on" in findings.notes[0].problem
    submitted = (programs.folder / "submitted").read_text()
    assert "--job-name=claire-site-check" in submitted
    assert "--time=00:05:00" in submitted
    assert [path.name for path in (tmp_path / "pipeline").iterdir()] == [], "nothing is left"


def test_what_a_job_finds_is_told(tmp_path: Path, programs: Programs) -> None:
    site = read_site(write_site(tmp_path))

    def tried() -> str:
        return problems(compute.try_job, site, site.queues[0], "gpu", 0)

    programs.version("9.9.9")
    assert "has claire 9.9.9: expected" in tried()
    programs.say("state", "PENDING")
    assert "the job did not start within 0 s (PENDING)" in tried()
    (programs.folder / "state").unlink()
    (tmp_path / "job.sh").write_text("#!/bin/bash\necho no module >&2; exit 1 # {{ streamflow_command }}\n")
    assert "a job of service gpu fails before the step begins: no module" in tried()
    (tmp_path / "job.sh").write_text("{{ streamflow_command | nothing }}\n")
    with pytest.raises(ClaireError, match="cannot be filled in"):
        tried()
    programs.ssh_says("Connection refused")
    (tmp_path / "job.sh").write_text("{{ streamflow_command }}\n")
    assert "not checked on the compute side" in tried()


def test_gpus_of_a_job_are_told(tmp_path: Path, programs: Programs) -> None:
    site = read_site(write_site(tmp_path))
    programs.program("nvidia-smi", "#!/bin/sh\necho 'Tesla V100, 32000, 32510'\n")
    assert problems(compute.try_job, site, site.queues[0], "gpu", 5) == ""
    programs.program("nvidia-smi", "#!/bin/sh\necho 'Tesla V100, 100, 32510'\n")
    assert "Tesla V100 has 100 of 32510 MiB free" in problems(compute.try_job, site, site.queues[0], "gpu", 5)
    programs.program("nvidia-smi", "#!/bin/sh\n")
    assert "nvidia-smi shows none in a job" in problems(compute.try_job, site, site.queues[0], "gpu", 5)


# ---- the pods


def pods_check(tmp_path: Path, **values: object) -> str:
    site = read_site(write_site(tmp_path))
    job = read_job(write_job(tmp_path, **values), shipped("cwl/main.cwl"), Findings())
    return problems(check_pods, site, site.pods[0], job)


def test_a_data_site_in_good_order_has_no_fault(tmp_path: Path, programs: Programs) -> None:
    assert pods_check(tmp_path) == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("error: stat /none: no such file or directory", "kubectl has no usable kubeconfig"),
        ("error: You must be logged in to the server (Unauthorized)", "does not know this user"),
        ("tls: failed to verify certificate: x509: unknown authority", "is not the one of the kubeconfig"),
        ("The connection to the server 10.0.0.1:6443 was refused", "the Kubernetes API is not reached"),
        ("something new", "something new"),
    ],
)
def test_why_the_api_is_not_reached_is_told_apart(tmp_path: Path, programs: Programs, words: str, said: str) -> None:
    programs.kubectl(fails={"version": words})
    assert said in pods_check(tmp_path)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"version": {"major": "1", "minor": "28", "gitVersion": "v1.28.0"}}, "has version v1.28.0: expected 1.30"),
        (
            {"objects": [], "fails": {"namespace": "Error from server (NotFound): namespaces not found"}},
            "there is no namespace claire",
        ),
        ({"objects": []}, "namespace claire has no Deployment claire-data"),
        (
            {"fails": {"get": "Error from server (Forbidden): pods is forbidden"}},
            "cannot be looked into",
        ),
        (
            {"rights": ["true", "true", "false", "true", "true", "true"]},
            "this user may not create pods/exec in",
        ),
        (
            {"rights": ["true", "true", "true", "true", "false", "false"]},
            "may not create deployments, delete",
        ),
        ({"fails": {"create": "Error from server"}}, "not checked what this user may do"),
        ({"objects": [deployment(container="x"), pod(), claim()]}, "has no container claire-data"),
        ({"objects": [deployment(replicas=0), claim()]}, "is scaled to 0 pods"),
        ({"objects": [deployment(), pod(ready=False), claim()]}, "0 of 1 pods are ready: 0/3 nodes are available"),
        ({"objects": [deployment(), claim()]}, "none was made yet"),
        ({"objects": [deployment(replicas=2), pod(), claim()]}, "1 of 2 pods are ready"),
        ({"objects": [*site_objects(), pod("other-1", app="other")]}, "1 pods of something else have a container"),
        ({"objects": [deployment(), pod()]}, "there is no claim claire-data"),
        ({"objects": [deployment(), pod(), claim(phase="Pending")]}, "claim claire-data is Pending: expected Bound"),
        ({"objects": [deployment(work={}), pod(), claim()]}, "nothing is requested for /work of the pods"),
        ({"fails": {"exec": "error: unable to upgrade connection"}}, "no command can be run in pod claire-data-1"),
    ],
)
def test_a_fault_of_a_data_site_is_told(tmp_path: Path, programs: Programs, told: dict[str, Any], said: str) -> None:
    programs.kubectl(**told)
    assert said in pods_check(tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"source": "/none"}, "'source' /none cannot be read in the pods"),
        ({"key": "/none"}, "'key' /none cannot be read in the pods"),
        ({"private": "/data/private"}, "'private' /data/private lies on a volume that is mounted read-only"),
        ({"data_store": "/work/store"}, "'data_store' /work/store lies on no volume that survives a pod"),
        ({"data_store": "/opt/store"}, "'data_store' /opt/store lies on no volume that survives a pod"),
    ],
)
def test_paths_of_a_job_are_looked_up_in_the_pods(
    tmp_path: Path, programs: Programs, values: dict[str, str], said: str
) -> None:
    assert said in pods_check(tmp_path, **values)


def test_pods_that_train_need_a_store_that_survives_them_and_no_data(tmp_path: Path, programs: Programs) -> None:
    site = read_site(write_site(tmp_path, template="kubernetes-only"))
    training = next(pods for pods in site.pods if pods.name == "claire-learn")
    learn = deployment(container="claire-learn")
    learn["metadata"]["name"] = "claire-learn"
    learner = pod()
    learner["spec"]["containers"][0]["name"] = "claire-learn"
    programs.kubectl(objects=[learn, learner, claim()])
    values = {"source": "/none", "private": "/none", "store": "/work/store"}
    job = read_job(write_job(tmp_path, **values), shipped("cwl/main.cwl"), Findings())
    (fault,) = [line for line in problems(check_pods, site, training, job).splitlines() if line[0] != " "]
    assert fault == "'store' /work/store lies on no volume that survives a pod"


def test_the_version_in_the_pods_is_compared(tmp_path: Path, programs: Programs) -> None:
    programs.version("9.9.9")
    assert "the pods' image claire-data:1 has claire 9.9.9: expected" in pods_check(tmp_path)


# ---- the command


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave StreamFlow's own check out: it takes seconds, and has a test."""
    monkeypatch.setattr("claire.commands.site.check.schema_faults", lambda _: [])


def test_a_site_in_good_order_is_checked(
    tmp_path: Path, programs: Programs, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path, job = write_site(tmp_path), write_job(tmp_path)
    assert claire("site", ["check", str(path), "--job", str(job), "--wait", "5"]) == 0
    told = capsys.readouterr().out
    assert "no fault was found" in told
    assert "a job started on" in told


def test_all_faults_are_told_at_once(
    tmp_path: Path, programs: Programs, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.kubectl(objects=[])
    path = write_site(tmp_path, lambda site: site["deployments"]["hpc"]["config"]["services"]["gpu"].update(gres="x:1"))
    assert claire("site", ["check", str(path)]) == 2
    told = capsys.readouterr().err
    assert "site.yml has 2 faults:" in told
    assert "has gres x:1" in told
    assert "has no Deployment claire-data" in told
    assert not (programs.folder / "submitted").exists(), "no job is submitted to a queue with faults"


def test_a_login_node_without_a_queue_is_tried(tmp_path: Path, programs: Programs, quick: None) -> None:
    def alone(document: dict[str, Any]) -> None:
        document["workflows"]["claire"]["bindings"] = [{"step": "/", "target": {"deployment": "login"}}]
        del document["deployments"]["hpc"], document["deployments"]["data-site"]

    site = read_site(write_site(tmp_path, alone))
    assert check_site(site).faults == []
    programs.ssh_says("Connection refused")
    assert "nothing answers" in check_site(site).faults[0].problem


def test_a_site_file_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert claire("site", ["check"]) == 2
    assert claire("site", ["apply", "none.yml"]) == 2
    told = capsys.readouterr().err
    assert "no site file is given" in told
    assert "there is no site file none.yml" in told


def test_templates_are_listed_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claire("site", ["template"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*TEMPLATES]
    assert claire("site", ["template", "hybrid"]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "new/site.yml"
    assert claire("site", ["template", "hybrid", "--out", str(out)]) == 0
    assert out.read_text() == printed
    assert (out.parent / "job.sh").is_file()
    assert of_file(out) == "", "the paths in it are found from anywhere"
    assert claire("site", ["template", "hybrid", "--out", str(out)]) == 2
    assert claire("site", ["template", "moon"]) == 2
    told = capsys.readouterr().err
    assert "nothing is overwritten" in told
    assert "there is no template moon: expected one of local, docker" in told


# ---- setting up


def volume(name: str = "claire-data", phase: str = "Available", namespace: str = "claire") -> dict[str, Any]:
    spec = {"storageClassName": name, "claimRef": {"namespace": namespace, "name": name}}
    return {"kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec, "status": {"phase": phase}}


def applied(programs: Programs) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((programs.folder / "applied").read_text())
    return document


def test_a_site_is_set_up_in_its_namespace(
    tmp_path: Path, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_site(tmp_path, lambda site: site["deployments"]["data-site"]["config"].update(namespace="lungs"))
    programs.kubectl(objects=[volume(namespace="lungs"), volume("claire-private", namespace="lungs")])
    assert claire("site", ["apply", str(path), "--private"]) == 0
    assert "namespace/claire created" in capsys.readouterr().out
    document = applied(programs)
    assert document["namespace"] == "lungs"
    assert document["resources"][0].endswith("deployments/kubernetes/site")
    assert [Path(part).name for part in document["components"]] == ["private"]


def test_a_volume_at_private_that_was_set_up_once_stays(tmp_path: Path, programs: Programs) -> None:
    programs.kubectl(objects=[claim(), claim("claire-private")])
    apply(read_site(write_site(tmp_path)), None, False)
    assert [Path(part).name for part in applied(programs)["components"]] == ["private"]


def test_pods_for_networks_are_set_up_where_the_site_names_them(tmp_path: Path, programs: Programs) -> None:
    site = read_site(write_site(tmp_path, template="kubernetes-only"))
    programs.kubectl(objects=[claim()])
    with pytest.raises(ClaireError, match="there is no volume for the claim claire-store"):
        apply(site, None, False)
    programs.kubectl(objects=[claim(), claim("claire-store")])
    apply(site, None, False)
    assert [Path(part).name for part in applied(programs)["components"]] == ["gpu"]


@pytest.mark.parametrize(
    "objects", [[], [volume(phase="Released")], [volume(namespace="other")], [claim(phase="Pending")]]
)
def test_a_site_without_its_volume_is_not_set_up(tmp_path: Path, programs: Programs, objects: list[Any]) -> None:
    programs.kubectl(objects=objects)
    with pytest.raises(ClaireError, match="there is no volume for the claim claire-data") as error:
        apply(read_site(write_site(tmp_path)), None, False)
    assert "kind: PersistentVolume" in error.value.remedy
    assert not (programs.folder / "applied").exists()


def test_what_kubectl_refuses_is_said(tmp_path: Path, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    site = read_site(write_site(tmp_path))
    programs.kubectl(fails={"get": "Error: forbidden", "apply": "warning\nError from server (Forbidden): no"})
    with pytest.raises(ClaireError, match=r"kubectl apply failed: .*\(Forbidden\): no"):
        apply(site, None, False)
    assert "not checked: whether the volumes are there" in capsys.readouterr().out
    programs.kubectl(fails={"get": "connection refused"})
    with pytest.raises(Unreachable):
        apply(site, None, False)


def test_only_pods_of_the_base_are_set_up_without_one_of_your_own(tmp_path: Path, programs: Programs) -> None:
    def rename(document: dict[str, Any]) -> None:
        document["workflows"]["claire"]["bindings"][0]["target"]["service"] = "mine"

    site = read_site(write_site(tmp_path, rename))
    with pytest.raises(UsageError, match="the site's pods are called mine"):
        apply(site, None, False)
    apply(site, tmp_path, False)
    assert (programs.folder / "applied").exists()
    with pytest.raises(UsageError, match="has no pods"):
        apply(read_site(shipped("deployments/sites/local.yml")), None, False)


def test_a_key_in_a_folder_with_blanks_serves_the_host_on_the_way_too(programs: Programs) -> None:
    jump = Login("login", "jump.example.org", 22, "mary", "/my keys/id")
    (option,) = [word for word in ssh(Login("login", "hpc", 22, "mary", "", jump=jump)) if word.startswith("Proxy")]
    assert "/my keys/id" in shlex.split(option.removeprefix("ProxyCommand="))
