"""Leases: held by one, waited for, taken over from who is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from claire.core.command import lease as module
from claire.core.command.lease import Holder, is_abandoned, lease, read_holder

HOLD = "import sys, time; from pathlib import Path; from claire.core.command.lease import lease\n"
HOLD += "with lease(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "key.lease"


def held_elsewhere(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lease_names_its_holder_and_ends_with_the_block(path: Path) -> None:
    with lease(path):
        holder = read_holder(path)
        assert holder
        assert holder.process == os.getpid()
        assert not is_abandoned(path, holder)
    assert [*path.parent.iterdir()] == []


def test_a_failure_ends_the_lease(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lease(path):
        raise ZeroDivisionError
    assert not path.exists()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(path: Path) -> None:
    process = held_elsewhere(path)
    assert not is_abandoned(path, read_holder(path))
    process.kill()
    process.wait()
    started = time.monotonic()
    with lease(path):
        assert time.monotonic() - started < 10
        assert read_holder(path).process == os.getpid()


def test_a_lease_of_another_host_is_abandoned_without_heartbeat(path: Path) -> None:
    holder = Holder(host="elsewhere", process=1, started="1", token="a")  # noqa: S106 (no password)
    path.write_text(holder.model_dump_json())
    assert not is_abandoned(path, holder)
    past = time.time() - module.ABANDONED - 5
    os.utime(path, (past, past))
    assert is_abandoned(path, holder)
    with lease(path):
        assert read_holder(path).host != "elsewhere"
    assert [*path.parent.iterdir()] == []


def test_the_heartbeat_goes_on_while_the_work_lasts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    with lease(path):
        os.utime(path, (0, 0))
        time.sleep(0.5)
        assert path.stat().st_mtime > 0


def test_a_damaged_lease_holds_nobody_up_for_long(path: Path) -> None:
    path.write_text("{")
    past = time.time() - module.ABANDONED - 5
    os.utime(path, (past, past))
    with lease(path):
        assert read_holder(path)
