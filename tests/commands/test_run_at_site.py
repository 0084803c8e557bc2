"""What a run has of its own at a site: made, watched, cancelled, removed. Stand-ins serve for ssh and kubectl."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from claire.commands.run import at_site as module
from claire.commands.run import attempt, feed, work
from claire.commands.run.at_site import AtSite, open_run
from claire.commands.run.attempt import insist_on_end
from claire.commands.run.engine import Launch
from claire.commands.run.feed import Source, sources_at
from claire.commands.run.state import write_state
from claire.commands.run.watch import Watch
from claire.commands.site.template import template_text
from claire.core.command.errors import ClaireError
from claire.core.command.lease import Holder, process_fields

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
#: Follows the pods that run when it is begun, as the real one does: those that come later are not seen.
FOLLOWING = f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
folder = Path(os.environ["SITE_PROGRAMS"])
text = (folder / "pods.json").read_text()
if "get" in sys.argv:
    sys.exit(print('{{"items": ' + text + "}}"))
(folder / "follower").write_text(str(os.getpid()))
for pod in json.loads(text):
    if pod["status"]["phase"] == "Running":
        print("2026-01-01T10:00:00Z", pod["metadata"]["name"], "speaks", flush=True)
time.sleep(60)
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
    run: AtSite, programs: Programs, tmp_path: Path
) -> None:
    programs.say("logs", "2026-01-01T10:00:00.1Z 10:00:00 claire ingest 0001: 7 scans\n")
    logs = tmp_path / "pipeline/logs" / run.name
    logs.mkdir(parents=True)
    pods, jobs = sources_at(run)
    lines = jobs_after(jobs, lambda: (logs / "7.log").write_text("10:00:00 claire train v1-f0: epoch 1/2\n"))
    assert "10:00:00 claire train v1-f0: epoch 1/2\n" in lines
    assert "queue: train, 1 running, 1 waiting\n" in lines
    ended = threading.Event()
    threading.Timer(0.5, ended.set).start()
    assert [*pods(ended)] == ["10:00:00 claire ingest 0001: 7 scans\n"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed looks at the site all the time."""
    for name in ("LOOK", "MEET"):
        monkeypatch.setattr(feed, name, 0.1)


def jobs_after(jobs: Source, act: Callable[[], object]) -> list[str]:
    """Return what the jobs said, of which something is done after the first look."""
    ended = threading.Event()
    lines = jobs(ended)
    first = next(lines)
    act()
    ended.set()
    return [first, *lines]


@pytest.mark.parametrize(
    ("keep", "told"), [(False, ["claire train: new\n"]), (True, ["more\n", "claire train: new\n"])]
)
def test_what_jobs_of_an_attempt_before_said_is_not_told_again(
    run: AtSite, tmp_path: Path, quick: None, keep: bool, told: list[str]
) -> None:
    logs = tmp_path / "pipeline/logs" / run.name
    logs.mkdir(parents=True)
    (logs / "7.log").write_text("claire train: cohort.h5 is damaged\n")

    def work() -> None:
        (logs / "7.log").write_text("claire train: cohort.h5 is damaged\nmore\n")
        (logs / "8.log").write_text("claire train: new\n")

    lines = jobs_after(sources_at(replace(run, keep=keep))[1], work)
    assert sorted(line for line in lines if not line.startswith("queue: ")) == sorted(told)


def test_a_site_whose_controller_must_be_spared_is_asked_no_more_often_than_by_streamflow(run: AtSite) -> None:
    run.site.document["deployments"]["hpc"]["config"]["pollingInterval"] = 15
    jobs = sources_at(run)[1]
    assert vars(jobs)["_pause"] == 15


def test_pods_that_join_later_are_followed_too_and_nothing_is_told_twice(
    run: AtSite, programs: Programs, quick: None
) -> None:
    programs.program("kubectl", FOLLOWING)
    programs.say("pods.json", json.dumps([pod("one"), pod("two", ready=False)]))
    ended, lines = threading.Event(), []
    source = sources_at(run)[0](ended)
    lines.append(next(source))
    programs.say("pods.json", json.dumps([pod("one"), pod("two")]))
    lines.append(next(source))
    ended.set()
    assert [*lines, *source] == ["one speaks\n", "two speaks\n"]


def test_no_follower_is_left_when_a_run_is_stopped(run: AtSite, programs: Programs, quick: None) -> None:
    programs.program("kubectl", FOLLOWING)
    engine = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, text=True)
    assert engine.stdout
    lines = feed.follow(engine.stdout, sources_at(run)[:1], 0.1)
    assert next(line for line in lines if line) == "one speaks\n"
    follower = int((programs.folder / "follower").read_text())
    lines.close()
    engine.kill()
    engine.wait()
    assert process_fields(follower) == []


def test_words_of_a_login_node_are_no_jobs(run: AtSite, programs: Programs) -> None:
    programs.program("squeue", "#!/bin/sh\necho Welcome to the cluster\necho 'Have fun'\necho '7 RUNNING'\n")
    assert run.jobs(run.site.queues[0]) == {"7": "RUNNING"}


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


def test_a_cancel_that_is_stopped_says_what_may_be_left(
    run: AtSite, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    programs.say("no-controller", "")
    monkeypatch.setattr("claire.commands.run.attempt.time.sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        insist_on_end(run, "of this run")
    assert "jobs and pods of this run may still be there. Later: claire cancel" in capsys.readouterr().err


def test_a_run_that_succeeds_leaves_nothing_with_keep_jobs_either(
    run: AtSite, programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, outputs = tmp_path / "out", tmp_path / "out/.run/results"

    def succeed(*_: object) -> int:
        outputs.mkdir()
        (outputs / "report.html").write_text("")
        return 0

    monkeypatch.setattr(work, "attempt", succeed)
    (tmp_path / "pipeline/work" / run.name).mkdir(parents=True)
    run.deploy()
    launch = Launch("streamflow", run.site.path, out / "job.yml", replace(run, keep=True))
    work.execute(launch, out, Watch, work.Results("report.html", ""), 1)
    assert not (programs.folder / "made.json").exists(), "its pods are removed"
    assert not (tmp_path / "pipeline/work" / run.name).exists()


def test_the_process_that_holds_the_folder_is_ended_and_none_of_an_earlier_run(run: AtSite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = "import sys, time; from pathlib import Path; from claire.core.command.lease import lease\n"
    code += "from claire.core.command.execute import termination\n"
    code += "with termination(), lease(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(out / ".run/lease")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert holder.stdout
        holder.stdout.readline()
        state(out, run.site.path)
        written = out / ".run/state.json"
        written.write_text(json.dumps(json.loads(written.read_text()) | {"process": stranger.pid}))
        assert claire("cancel", [str(out)]) == 0
        assert holder.wait(10) != 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_run_on_another_host_is_not_ended_by_its_number_here(
    run: AtSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    state(out, run.site.path)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        holder = Holder(host="elsewhere", process=stranger.pid, started="1", token="t")  # noqa: S106 (of a lease)
        (out / ".run/lease").write_text(holder.model_dump_json())
        assert claire("cancel", [str(out)]) == 2
        assert stranger.poll() is None
        stranger.kill()
    assert f"process {stranger.pid} on elsewhere" in capsys.readouterr().err


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
