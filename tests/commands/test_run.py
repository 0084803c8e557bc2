"""The front of a run: what it reads of the engines, how it ends them, where results go, who may work in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from claire.commands.run.arrange import MOST, arrange
from claire.commands.run.engine import Launch, end, end_all, left_behind, members, write_site
from claire.commands.run.watch import Watch
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
    (tmp_path / "job.yml").write_text("{}")
    launch = Launch("streamflow", shipped("streamflow.yml"), shipped("cwl/main.cwl"), tmp_path / "job.yml")
    path = write_site(launch, tmp_path)
    (workflow,) = yaml.safe_load(path.read_text())["workflows"].values()
    assert workflow["config"]["settings"] == str(tmp_path / "job.yml")
    assert len(workflow["bindings"]) == 4


def test_a_site_of_the_pipeline_serves_new_patients_too(tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text("{}")
    launch = Launch("streamflow", shipped("streamflow.yml"), shipped("cwl/predict.cwl"), tmp_path / "job.yml")
    (workflow,) = yaml.safe_load(write_site(launch, tmp_path).read_text())["workflows"].values()
    targets = {each["step"]: each["target"]["deployment"] for each in workflow["bindings"]}
    assert targets == {"/": "data-site", "/explain": "hpc", "/apply": "hpc"}


def test_sigterm_is_what_ends_first() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    end(process)
    assert process.returncode == -signal.SIGTERM
