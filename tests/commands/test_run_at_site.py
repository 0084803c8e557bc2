"""What a run has of its own at a site: made, watched, cancelled, removed. Stand-ins serve for ssh and kubectl."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
import yaml
from claire.commands.run import at_site as module
from claire.commands.run import attempt
from claire.commands.run.at_site import AtSite, open_run
from claire.commands.run.attempt import insist_on_end
from claire.commands.run.engine import Launch
from claire.commands.run.feed import sources_at
from claire.commands.run.state import write_state
from claire.commands.run.watch import Watch
from claire.commands.site.template import template_text
from claire.core.command.errors import ClaireError

from tests.support.command import claire
from tests.support.site_programs import Programs, deployment, pod

#: Keeps what was applied, gives the pods that `pods.json` has, and prints `logs`.
KUBECTL = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
words, folder = sys.argv[1:], Path(os.environ["SITE_PROGRAMS"])
made = folder / "made.json"
if "apply" in words:
    made.write_text(sys.stdin.read())
elif "delete" in words:
    if not made.exists():
        sys.exit(print("No resources found"))
    print("deployment.apps/" + json.loads(made.read_text())["metadata"]["name"])
    made.unlink()
elif "logs" in words:
    print((folder / "logs").read_text(), end="")
elif "pods" in words:
    print(json.dumps({{"items": json.loads((folder / "pods.json").read_text())}}))
elif "deployment" in words:
    print((folder / "deployment.json").read_text())
"""
#: One job runs and two wait as long as there is no file `cancelled`.
SQUEUE = """#!/bin/bash
[ ! -e $SITE_PROGRAMS/no-controller ] || { echo "Unable to contact slurm controller" >&2; exit 1; }
[ ! -e $SITE_PROGRAMS/cancelled ] || exit 0
case "$*" in
    *%k*) printf 'train:v1-f0 RUNNING\\ntrain:v1-f1 PENDING\\nexplain:v1-f0 PENDING\\n' ;;
    *) printf '7 RUNNING\\n8 PENDING\\n9 PENDING\\n' ;;
esac
"""
EPOCH = "10:00:00 claire train v1-f0: epoch 1/2\n"
SCANCEL = '#!/bin/sh\necho "$@" >>$SITE_PROGRAMS/cancelled\n'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    programs = Programs(tmp_path / "programs", monkeypatch)
    for name, text in {"kubectl": KUBECTL, "squeue": SQUEUE, "scancel": SCANCEL}.items():
        programs.program(name, text)
    site = deployment(replicas=2)
    site["metadata"]["namespace"] = "claire"
    site["spec"]["template"]["metadata"] = {"labels": {"app": "claire-data"}}
    programs.say("deployment.json", json.dumps(site))
    programs.say("pods.json", json.dumps([pod("one"), pod("two")]))
    programs.say("logs", "")
    return programs


@pytest.fixture
def run(tmp_path: Path, programs: Programs) -> AtSite:
    """A run at a hybrid site whose HPC is a folder here."""
    document = yaml.safe_load(template_text("hybrid"))
    (tmp_path / "pipeline").mkdir()
    for described in document["deployments"].values():
        if "workdir" in described:
            described["workdir"] = str(tmp_path / "pipeline/work")
        for service in described["config"].get("services", {}).values():
            service["export"] = f"CLAIRE_BIND={tmp_path / 'pipeline'}"
    (tmp_path / "site.yml").write_text(yaml.safe_dump(document))
    scratch = tmp_path / "out/.run"
    scratch.mkdir(parents=True)
    return open_run(tmp_path / "site.yml", scratch)


def test_the_pods_of_a_run_are_made_and_only_they_are_removed(run: AtSite, programs: Programs) -> None:
    run.deploy()
    made = json.loads((programs.folder / "made.json").read_text())
    assert made["metadata"]["name"] == run.name
    assert run.cancel() == 4, "three jobs and one Deployment"
    assert f"--name={run.name}" in (programs.folder / "cancelled").read_text()
    assert run.cancel() == 0, "nothing is left, and the words of kubectl that say so are no pods"


def test_one_ready_pod_is_enough_and_what_the_others_lack_is_told(
    run: AtSite, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    programs.say("pods.json", json.dumps([pod("one"), pod("two", ready=False)]))
    run.deploy()
    assert "1 of 2 pods are ready: 0/3 nodes are available" in capsys.readouterr().out


def test_pods_that_never_become_ready_end_the_run_with_the_reason(
    run: AtSite, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READY", 0.0)
    programs.say("pods.json", json.dumps([pod("one", ready=False)]))
    with pytest.raises(ClaireError, match="no pod of this run becomes ready in namespace claire: 0/3 nodes"):
        run.deploy()


def test_what_steps_say_in_pods_and_jobs_and_how_jobs_stand_is_read(
    run: AtSite, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.say("logs", "10:00:00 claire ingest 0001: 7 scans\n")
    logs = tmp_path / "pipeline/logs" / run.name
    logs.mkdir(parents=True)
    (logs / "6.log").write_text("claire train: killed in an attempt before\n")
    (jobs,), ended = sources_at(run)[1:], threading.Event()
    looks = iter([False, True])
    monkeypatch.setattr(ended, "wait", lambda _: (logs / "7.log").write_text(EPOCH) and next(looks))
    lines = [*jobs(ended)]
    assert EPOCH in lines
    assert not any("before" in line for line in lines)
    assert "queue: train, 1 running, 1 waiting\n" in lines
    pods, ended = sources_at(run)[0], threading.Event()
    threading.Timer(0.5, ended.set).start()
    assert "10:00:00 claire ingest 0001: 7 scans\n" in [*pods(ended)]


def test_folders_of_the_run_are_removed_and_the_store_stays(run: AtSite, tmp_path: Path) -> None:
    for name in ("store/train", f"work/{run.name}/a", f"logs/{run.name}", "work/claire-00000000"):
        (tmp_path / "pipeline" / name).mkdir(parents=True)
    run.clean()
    left = sorted(str(path.relative_to(tmp_path / "pipeline")) for path in (tmp_path / "pipeline").glob("*/*"))
    assert left == ["store/train", "work/claire-00000000"]


def test_a_site_that_is_away_for_a_while_is_asked_again(
    run: AtSite, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempt, "AGAIN", 0.1)
    programs.say("no-controller", "")
    threading.Timer(0.5, (programs.folder / "no-controller").unlink).start()
    assert insist_on_end(run, "of this run")
    assert "ended at the site: 3 jobs and pods of this run" in capsys.readouterr().out


def test_a_site_that_stays_away_is_told_with_what_to_do_later(
    run: AtSite, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempt, "INSIST", 0.0)
    programs.say("no-controller", "")
    assert not insist_on_end(run, "of this run")
    assert "Later: claire cancel" in capsys.readouterr().err


def state(out: Path, site: Path) -> None:
    """Write the state of a run in `out` that has ended, as `claire run` does."""
    launch = Launch("streamflow", site, out / "job.yml", open_run(site, out / ".run"))
    write_state(out / ".run", launch, Watch(), 0, "stopped")


def test_a_run_that_was_killed_is_cancelled_and_cleaned_later(
    run: AtSite, programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    state(out, run.site.path)
    (out / ".run/tmp").mkdir()
    (tmp_path / "pipeline/work" / run.name).mkdir(parents=True)
    assert claire("cancel", [str(out)]) == 0
    assert (programs.folder / "cancelled").exists()
    assert "ended at the site: 3 jobs and pods" in capsys.readouterr().out
    assert claire("clean", [str(out)]) == 0
    assert not (out / ".run/tmp").exists()
    assert not (tmp_path / "pipeline/work" / run.name).exists()
    assert (out / ".run/name").read_text().strip() == run.name


def test_a_name_that_no_run_gave_is_refused(tmp_path: Path, run: AtSite) -> None:
    (tmp_path / "out/.run/name").write_text("../store\n")
    with pytest.raises(ClaireError, match="does not hold the name of a run"):
        open_run(run.site.path, tmp_path / "out/.run")
