"""The front of a run: what it reads of the engines, how it ends them, where results go, who may work in a folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from claire.commands.run.arrange import MOST, arrange
from claire.commands.run.at_site import open_run, own_pods, run_name
from claire.commands.run.cause import Cause, cause_of
from claire.commands.run.engine import Launch, end, end_all, left_behind, members, write_site
from claire.commands.run.feed import follow, new_lines, of_file
from claire.commands.run.watch import QUEUE, Watch
from claire.commands.run.work import absolute
from claire.core.command.lease import lease
from claire.core.command.shipped import shipped

from tests.support.command import claire


def test_lines_of_cwltool_count_the_jobs_of_a_step() -> None:
    watch = Watch()
    lines = [
        "[2026-01-01 10:00:00] INFO [job ingest] /w/out/a$ claire \\",
        "[2026-01-01 10:00:00] INFO [job ingest_2] /w/out/b$ claire \\",
        "[2026-01-01 10:00:09] INFO [job ingest] completed success",
    ]
    assert [watch.read(line) for line in lines] == ["", "", ""]
    step = watch.steps["ingest"]
    assert (step.started, step.done, step.state) == (2, 1, "running")


def test_lines_of_streamflow_count_the_jobs_of_a_step() -> None:
    watch = Watch()
    for number in range(2):
        watch.read(
            f"2026-01-01 INFO     EXECUTING step /data/ingest (job /data/ingest/0.{number}) locally into directory"
        )
    assert watch.steps["ingest"].state == "running"
    watch.read("2026-01-01 INFO     COMPLETED Step /data/ingest")
    watch.read("2026-01-01 INFO     COMPLETED copy from /data/train to /work/train")
    watch.read("2026-01-01 INFO     EXECUTING step /plan (job /plan/0) locally into directory /work")
    assert (watch.steps["ingest"].done, watch.steps["ingest"].state) == (2, "done")
    assert (watch.steps["plan"].started, watch.steps["train"].state) == (1, "waiting")


def test_jobs_in_a_queue_are_told_from_those_that_run_and_those_that_are_done() -> None:
    watch = Watch({"train": 6})
    for number in range(4):
        watch.read(
            f"2026-01-01 INFO     EXECUTING step /experiment/train (job /experiment/train/0.{number}) on location"
        )
        watch.read(f"2026-01-01 INFO     Scheduled job /experiment/train/0.{number} with job id {number + 7}")
    watch.read(QUEUE.format("train", 1, 2))
    watch.read("10:00:00 claire train v1-f0: epoch 1/4: loss 0.6, validation loss 0.7, AUC 0.71; 9 s")
    step = watch.steps["train"]
    assert (step.done, step.queued, [*step.running]) == (1, 2, ["v1-f0"])
    assert any("2 in the queue" in row for row in watch.table())
    watch.read("2026-01-01 INFO     Scheduled job /experiment/train/0.0 with job id 12")
    assert step.done == 1, "a job that is tried again is no further one"


def test_what_streamflow_repeats_of_a_job_counts_once() -> None:
    watch, line = Watch(), "10:00:00 claire train v1-f0: already finished: taken from the store"
    assert [watch.read(line), watch.read(line)] == [line, ""]
    assert watch.steps["train"].taken == {"v1-f0"}


@pytest.mark.parametrize(
    "line",
    [
        "aiohttp.client_exceptions.WSServerHandshakeError: 404, message='Invalid response status', url='wss://c/exec'",
        'HTTP response body: {"message":"pods \\"claire-1\\" not found","reason":"NotFound","code":404}',
    ],
)
def test_a_lost_pod_is_noticed(line: str) -> None:
    watch = Watch()
    watch.read(line)
    assert watch.lost
    assert cause_of(watch, [line]).text.startswith("a pod of the run was lost")


def test_the_first_error_of_a_step_is_the_cause_with_its_remedy() -> None:
    watch = Watch()
    for line in (
        "10:00:00 claire train v1-f0: epoch 1",
        "claire train: a file is gone",
        "  Restore it.",
        "claire x: y",
    ):
        watch.read(line)
    assert watch.cause == "claire train: a file is gone\n  Restore it."
    assert watch.steps["train"].line == "v1-f0 epoch 1"
    assert any(row.startswith("train") and "v1-f0 epoch 1" in row for row in watch.table())


def test_the_table_has_the_losses_of_running_trainings_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, clock = Watch({"train": 4}), iter([0.0])
    assert any(row.split() == ["train", "waiting", "4"] for row in watch.table())
    monkeypatch.setattr("claire.commands.run.watch.time.monotonic", lambda: next(clock, 20.0))
    for number in ("", "_2", "_3"):
        watch.read(f"[2026-01-01 10:00:00] INFO [job train{number}] /w/out/a$ claire \\")
    watch.read("10:00:00 claire train v1-f2: already finished: taken from the store")
    watch.read("10:00:00 claire train v1-f0: epoch 1/4: loss 0.6, validation loss 0.7, AUC 0.71; 9 s")
    watch.read("10:00:09 claire train v1-f1: epoch 2/4: loss 0.5, validation loss 0.6, AUC 0.81; 9 s")
    watch.read("[2026-01-01 10:00:09] INFO [job train_3] completed success")
    rows = [*watch.table()]
    assert next(row for row in rows if row.startswith("train")).split() == ["train", "running", "1/4", "60", "s"]
    assert "  v1-f0          epoch 1/4: loss 0.6, validation loss 0.7, AUC 0.71; 9 s" in rows
    assert not any("v1-f2" in row for row in rows)


def test_collected_trainings_count_as_done_before_any_is_started() -> None:
    watch = Watch({"train": 4})
    watch.read("10:00:00 claire collect: taken from the store: 3 of 4 trainings")
    assert next(row for row in watch.table() if row.startswith("train")).split() == ["train", "running", "3/4"]
    watch.read("[2026-01-01 10:00:00] INFO [job train] /w/out/a$ claire \\")
    watch.read("10:00:00 claire train v1-f0: epoch 1/4: loss 0.6, validation loss 0.7, AUC 0.71; 9 s")
    assert watch.steps["train"].running == {"v1-f0": "epoch 1/4: loss 0.6, validation loss 0.7, AUC 0.71; 9 s"}
    watch.read("[2026-01-01 10:00:09] INFO [job train] completed success")
    assert next(row for row in watch.table() if row.startswith("train")).split()[:3] == ["train", "done", "4/4"]


def test_a_step_of_which_all_was_collected_is_done_under_streamflow_too() -> None:
    watch = Watch({"train": 4})
    watch.read("10:00:00 claire collect: taken from the store: 4 of 4 trainings")
    watch.read("2026-01-01 INFO     COMPLETED Step /experiment/train")
    assert (watch.steps["train"].state, watch.steps["train"].done, watch.steps["train"].jobs) == ("done", 4, 4)


def test_what_a_killed_run_left_working_is_found_by_its_session_and_folder(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    process = subprocess.Popen(sleep, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    process.stdout.readline()
    assert left_behind(process.pid, tmp_path / "elsewhere") == []
    assert left_behind(process.pid, tmp_path) == [process.pid]
    end_all([process.pid], process.poll)
    assert left_behind(process.pid, tmp_path) == []


def test_results_are_arranged_and_those_of_an_earlier_run_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        outputs = tmp_path / ".run/results"
        outputs.mkdir(parents=True)
        for name in ("report.html", "scans.csv", "v1-f0.run.zip", "v1-f0.train.run.json", "v1-f0.safetensors"):
            (outputs / name).write_text(text)
        arrange(outputs, tmp_path)
    places = ("report.html", "tables/scans.csv", "predictions/v1-f0.run.zip", "provenance/v1-f0.train.run.json")
    assert [(tmp_path / name).read_text() for name in places] == ["second"] * 4
    assert [(tmp_path / "earlier-1" / name).read_text() for name in places] == ["first"] * 4


def test_no_folder_holds_more_than_a_hundred_files_and_none_is_a_link(tmp_path: Path) -> None:
    outputs, store = tmp_path / "outputs", tmp_path / "store"
    outputs.mkdir()
    store.mkdir()
    for number in range(MOST * 2 + 5):
        path = store / f"v{number}-f0.train.run.json"
        path.write_text("{}")
        (outputs / path.name).hardlink_to(path)
    arrange(outputs, tmp_path / "out")
    folders = [folder for folder in (tmp_path / "out").rglob("*") if folder.is_dir()]
    files = [path for path in (tmp_path / "out/provenance").rglob("*.json")]
    assert len(files) == MOST * 2 + 5
    assert max(len([*folder.iterdir()]) for folder in folders) <= 100
    assert {path.stat().st_nlink for path in files} == {1}


def test_the_end_reaches_processes_in_groups_of_their_own_that_ignore_sigterm(tmp_path: Path) -> None:
    deaf = "import signal, time;"
    deaf += "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {deaf!r}], process_group=0)"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    assert len(members(process.pid)) == 2
    started = time.monotonic()
    end(process)
    assert time.monotonic() - started < 10
    assert members(process.pid) == []


def test_a_folder_where_a_run_works_is_refused_with_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.yml").write_text("{}")
    (tmp_path / "out/.run").mkdir(parents=True)
    with lease(tmp_path / "out/.run/lease"):
        assert claire("run", [str(tmp_path / "job.yml"), "--out", str(tmp_path / "out")]) == 2
    assert f"process {os.getpid()}" in capsys.readouterr().err


def test_a_faulty_job_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yml").write_text("sauce: nowhere\n")
    assert claire("run", [str(tmp_path / "job.yml"), "--out", str(tmp_path / "out")]) == 2
    assert "unknown key 'sauce'" in capsys.readouterr().err
    assert not (tmp_path / "out/log.txt").exists()


def test_the_status_of_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claire("status", [str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_the_site_keeps_its_bindings_and_gets_this_job(tmp_path: Path) -> None:
    document = site_of("cwl/main.cwl", tmp_path)
    (workflow,) = document["workflows"].values()
    assert workflow["config"]["settings"] == str(tmp_path / "job.yml")
    assert len(workflow["bindings"]) == 4


def site_of(workflow: str, tmp_path: Path) -> dict[str, Any]:
    """Return the StreamFlow file of a run at the site of streamflow.yml, in the scratch folder `tmp_path`."""
    (tmp_path / "job.yml").write_text("{}")
    at_site = open_run(shipped("streamflow.yml"), tmp_path)
    launch = Launch("streamflow", shipped(workflow), tmp_path / "job.yml", at_site)
    document: dict[str, Any] = yaml.safe_load(write_site(launch, tmp_path).read_text())
    return document


def test_what_a_run_makes_at_a_site_bears_its_name_and_the_rest_stays(tmp_path: Path) -> None:
    site, document = yaml.safe_load(shipped("streamflow.yml").read_text()), site_of("cwl/main.cwl", tmp_path)
    name = run_name(tmp_path)
    assert re.fullmatch("claire-[0-9a-f]{8}", name)
    (workflow,) = document["workflows"].values()
    services = {each["target"]["deployment"]: each["target"]["service"] for each in workflow["bindings"]}
    assert services == {"data-site": name, "hpc": "gpu"}
    before, after = (each["deployments"]["hpc"] for each in (site, document))
    assert after["workdir"] == f"{before['workdir']}/{name}"
    gpu = after["config"]["services"]["gpu"]
    assert gpu["jobName"] == name
    assert gpu["export"] == before["config"]["services"]["gpu"]["export"] + f",CLAIRE_RUN={name}"
    assert Path(gpu["file"]).is_absolute()
    assert Path(gpu["file"]).is_file()
    assert document["deployments"]["data-site"] == site["deployments"]["data-site"]
    assert site_of("cwl/main.cwl", tmp_path) == document, "another attempt finds what the one before left"


def test_the_pods_of_a_run_are_as_the_site_has_them_but_no_selector_of_the_site_meets_them() -> None:
    (site,) = yaml.safe_load_all(shipped("deployments/kubernetes/site/pods.yaml").read_text())
    site["metadata"]["namespace"] = "claire"
    made = own_pods(site, "claire-0000000a", "claire-0000000a-1")
    pod, before = made["spec"]["template"], site["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["name"] == made["metadata"]["name"] == "claire-0000000a-1"
    assert {**container, "name": ""} == {**before["spec"]["containers"][0], "name": ""}
    assert pod["spec"]["volumes"] == before["spec"]["volumes"]
    assert not site["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert made["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_lines_of_the_engine_and_of_steps_come_together_and_the_last_words_are_waited_for(tmp_path: Path) -> None:
    said, code = tmp_path / "said.txt", "import sys, time; print('one', flush=True); time.sleep(0.5); "
    code += "open(sys.argv[1], 'a').write('claire train: too big\\n')"
    process = subprocess.Popen([sys.executable, "-c", code, str(said)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    lines = [line for line in follow(process.stdout, [of_file(said)], 0.1)]
    assert [line for line in lines if line] == ["one\n", "claire train: too big\n"]
    assert "" in lines, "nothing came for a while: the table is drawn again"


def test_only_new_lines_of_a_log_that_is_read_by_its_end_are_told() -> None:
    assert [*new_lines([], ["a", "b"])] == ["a", "b"]
    assert [*new_lines(["a", "b"], ["a", "b"])] == []
    assert [*new_lines(["a", "b", "c"], ["b", "c", "d"])] == ["d"]
    assert [*new_lines(["a", "b"], ["x", "y"])] == ["x", "y"]


def failed(step: str, *lines: str) -> Cause:
    """Return the cause of an attempt in which a step failed and these lines were read."""
    watch = Watch()
    for line in (*lines, f"2026-01-01 ERROR FAILED Step /{step}"):
        watch.read(line)
    return cause_of(watch, lines)


def test_an_error_of_a_step_is_final_and_what_ended_it_from_outside_is_not() -> None:
    assert failed("explain", "claire explain: too few scans", "  Add some.") == Cause(
        "claire explain: too few scans\n  Add some.", True, 0
    )
    assert not failed("train", "claire train: terminated (SIGTERM); nothing half-written was kept").final
    assert not failed("experiment/evaluate", "claire evaluate: run v1-f0 is a duplicate in the manifest").final
    assert not failed("report", "claire train: a fault of a job that was tried again").final


def test_an_error_that_was_cured_is_not_what_a_lost_pod_or_engine_ended() -> None:
    cured = "claire train: CUDA is out of memory"
    lost = 'kubernetes_asyncio.client.exceptions.ApiException: pods "claire-1" not found'
    watch = Watch()
    for line in (cured, lost):
        watch.read(line)
    assert cause_of(watch, [cured, lost]) == Cause("a pod of the run was lost", False, 0)
    watch = Watch()
    watch.read(cured)
    assert cause_of(watch, [cured]) == Cause(cured, False, 0), "no step failed: the engine ended"


def test_a_node_without_a_gpu_is_told_and_another_one_is_tried() -> None:
    words = "claire train: no GPU on node7: nvidia-smi finds none"
    assert failed("experiment/train", words) == Cause(words, False, 0)


@pytest.mark.parametrize(
    "line", ["/usr/bin/bash: line 1: 17 Killed   claire explain", "[job explain] was terminated by signal: SIGKILL"]
)
def test_a_killed_step_is_told_so(line: str) -> None:
    assert failed("explain", line).text == "explain: a step was killed, mostly because memory ran out"


def test_what_the_engine_says_is_told_in_plain_words() -> None:
    cause = failed("data/ingest", 'kubernetes_asyncio.client.exceptions.ApiException: pods "claire-1" not found')
    assert cause.text.startswith("ingest: a pod of the run was lost")
    assert not cause.final
    assert cause.repeats(cause)
    assert not replace(cause, done=3).repeats(cause), "more was finished in between"


def test_paths_of_a_job_that_moves_to_another_folder_become_absolute(tmp_path: Path) -> None:
    job = {"grid": {"class": "File", "path": "a.yml"}, "more": [{"class": "File", "path": "/b"}], "store": "c", "n": 1}
    made = absolute(job, tmp_path)
    assert made == {**job, "grid": {"class": "File", "path": str(tmp_path / "a.yml")}}


def test_a_site_of_the_pipeline_serves_new_patients_too(tmp_path: Path) -> None:
    (workflow,) = site_of("cwl/predict.cwl", tmp_path)["workflows"].values()
    targets = {each["step"]: each["target"]["deployment"] for each in workflow["bindings"]}
    assert targets == {"/": "data-site", "/explain": "hpc", "/apply": "hpc"}


def test_sigterm_is_what_ends_first() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    end(process)
    assert process.returncode == -signal.SIGTERM
