"""Errors, records and tables: what every step stands on."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.execute import execute
from claire.core.command.files import atomic, sha256_file, write_json
from claire.core.command.parameters import StepParameters
from claire.core.command.progress import about, log, progress
from claire.core.command.record import Record
from claire.core.command.tables import read_csv, write_csv


def run(function, argv: list[str]) -> int:
    return execute("test", "A step.", StepParameters, function, argv)


def failing(error: Exception):
    def function(_: object) -> None:
        raise error

    return function


@pytest.mark.parametrize(("error", "code"), [(UsageError("x"), 2), (ClaireError("x"), 1), (KeyError("x"), 1)])
def test_exit_codes(error: Exception, code: int, out: Path) -> None:
    assert run(failing(error), ["--out", str(out)]) == code


def test_a_message_names_cause_and_remedy(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(failing(ClaireError("the grid is empty", "Add an axis.")), ["--out", str(out)])
    assert capsys.readouterr().err == "claire test: the grid is empty\n  Add an axis.\n"


def test_lines_of_the_log_name_the_run(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def function(_: object) -> None:
        about("train", "v1-f0")
        log.info("epoch 1/2")

    assert run(function, ["--out", str(out)]) == 0
    assert capsys.readouterr().err.endswith(" claire train v1-f0: epoch 1/2\n")


def test_a_step_that_is_told_to_end_cleans_up(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def function(_: object) -> None:
        with atomic(out / "x.csv") as stream:
            stream.write(b"half")
            os.kill(os.getpid(), signal.SIGTERM)

    assert run(function, ["--out", str(out)]) == 143
    assert list(out.iterdir()) == []
    assert "SIGTERM" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_a_step_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    def function(parameters: StepParameters) -> None:
        write_json(parameters.out / "sub.json", {})
        subprocess.run(["touch", parameters.out / "by-a-child"], check=True)

    before = os.umask(0o022)
    try:
        assert run(function, ["--out", str(tmp_path / "out")]) == 0
        assert os.umask(0o022) == 0o022, "the caller's umask is as it was"
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"out": 0o700, "sub.json": 0o600, "by-a-child": 0o600}


def test_an_unforeseen_error_hides_its_text(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(failing(ValueError("/data/JOHN_DOE.dcm")), ["--out", str(out)])
    told = capsys.readouterr().err
    assert "ValueError" in told
    assert "JOHN_DOE" not in told
    assert "Traceback" not in told


def test_an_out_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file/below"):
        assert run(lambda _: None, ["--out", str(place)]) == 2
        assert "a file is in the way" in capsys.readouterr().err


def test_a_full_disk_behind_another_error_is_said_too(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def function(_: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left")
        except OSError as error:
            raise RuntimeError("serialization failed") from error

    assert run(function, ["--out", str(out)]) == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_full_disk_is_said_plainly(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(OSError(errno.ENOSPC, "No space left")), ["--out", str(out)]) == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def half_written() -> None:
        with atomic(tmp_path / "table.csv") as stream:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left")

    with pytest.raises(OSError, match="No space"):
        half_written()
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_what_json_has_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_written_last_and_only_on_success(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("in")
    with Record("train", "v1-f0", tmp_path, {"fold": 0}, {"cohort": "abc", "file": source}) as record:
        record.counts["scans"] += 2
        assert not (tmp_path / "v1-f0.train.run.json").exists()
    written = json.loads((tmp_path / "v1-f0.train.run.json").read_text())
    assert written["inputs"] == {"cohort": "abc", "file": sha256_file(source)}
    assert written["counts"] == {"scans": 2}


def test_a_failed_step_leaves_no_record_of_an_earlier_run(tmp_path: Path) -> None:
    def execute(fails: bool) -> None:
        with Record("plan", "", tmp_path, {}, {}):
            if fails:
                raise ClaireError("no")

    execute(False)
    with pytest.raises(ClaireError):
        execute(True)
    assert not (tmp_path / "plan.run.json").exists()


def test_progress_tells_how_much_was_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "claire"):
        assert list(progress([1, 2, 3], "scans")) == [1, 2, 3]
    assert "scans: 3 in" in caplog.text


def test_tables_round_trip(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ("a", "b"), [{"a": 0.1, "b": None}, {"a": 'x,"y'}])
    assert read_csv(path, ("a",)) == [{"a": "0.1", "b": ""}, {"a": 'x,"y', "b": ""}]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ("a",), [])
    with pytest.raises(UsageError, match="no column label"):
        read_csv(path, ("label",), "labels table")


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UsageError, match="UTF-8"):
        read_csv(tmp_path / "t.csv")
