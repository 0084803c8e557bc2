"""Two trainings of one key over one store, in processes of their own: one works, the other waits or goes on for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from claire.core.contracts.variant import write_variant

from tests.support.command import claire
from tests.support.explaining import FLAT
from tests.support.synthetic import CohortFiles

#: Seconds between heartbeats, and without one until a lease counts as abandoned, in these tests.
HEARTBEAT, ABANDONED = 0.1, 5.0
#: `claire` on a host of the given name; after its first epoch a training waits until there is the file `go`.
COMMAND = f"""
import socket, sys, time
from pathlib import Path
host, go = sys.argv.pop(1), Path(sys.argv.pop(1))
socket.gethostname = lambda: host
from claire.core.command import lease
lease.HEARTBEAT, lease.ABANDONED, lease.LOOK = {HEARTBEAT}, {ABANDONED}, 0.1
from claire.train.training import Training
finish = Training._finish_epoch
def hold(training, seconds):
    finish(training, seconds)
    print("held", file=sys.stderr, flush=True)
    while not go.exists():
        time.sleep(0.05)
Training._finish_epoch = hold
from claire.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
VARIANT = FLAT.model_copy(update={"epochs": 3})


@dataclass
class Process:
    """A training that runs; `told`: its lines so far."""

    out: Path
    popen: subprocess.Popen[str]
    told: list[str] = field(default_factory=list)

    def read_until(self, words: str) -> None:
        """Wait until it says `words`."""
        assert self.popen.stderr
        for line in self.popen.stderr:
            self.told.append(line)
            if words in line:
                return
        pytest.fail(f"never said: {words}\n{''.join(self.told)}")

    def end(self) -> str:
        """Wait for its end; return everything that it said."""
        self.told += self.popen.communicate(timeout=120)[1].splitlines(keepends=True)
        return "".join(self.told)

    def results(self) -> dict[str, bytes]:
        """Return the files that it wrote, by name."""
        return {path.name: path.read_bytes() for path in self.out.iterdir()}


Start = Callable[[str, str], Process]


@pytest.fixture
def argv(cohort_files: CohortFiles, tmp_path: Path) -> list[str]:
    variant = write_variant(tmp_path / f"{VARIANT.id}.variant.json", VARIANT)
    files = {"--variant": variant, "--cohort": cohort_files.cohort, "--folds": cohort_files.folds, "--fold": 0}
    return [*(str(word) for pair in files.items() for word in pair), "--device", "cpu"]


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file whose presence lets trainings end."""
    return tmp_path / "go"


@pytest.fixture
def start(argv: list[str], tmp_path: Path, go: Path) -> Iterator[Start]:
    """Start the same training, by the name of its folder, as on a host; what still runs is killed at the end."""
    processes: list[Process] = []

    def start_one(name: str, host: str) -> Process:
        words = ["train", *argv, "--store", str(tmp_path / "store"), "--out", str(tmp_path / name)]
        command = [sys.executable, "-c", COMMAND, host, str(go), *words]
        processes.append(Process(tmp_path / name, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
        return processes[-1]

    yield start_one
    for each in processes:
        each.popen.kill()
        each.popen.communicate()


@pytest.mark.parametrize("other_host", ["node-a", "node-b"])
def test_the_other_waits_as_long_as_one_works_and_takes_its_result(
    start: Start, tmp_path: Path, go: Path, other_host: str
) -> None:
    first = start("first", "node-a")
    first.read_until("held")
    second = start("second", other_host)
    second.read_until(f"process {first.popen.pid} on node-a works on the same result: waiting for it")
    time.sleep(ABANDONED + 1)  # which its heartbeat outlasts
    go.touch()
    assert "epoch 3/3" in first.end()
    told = second.end()
    assert "already finished: taken from the store" in told
    assert "epoch" not in told
    assert (first.popen.returncode, second.popen.returncode) == (0, 0)
    assert first.results() == second.results()
    assert [path.suffix for path in (tmp_path / "store/train").iterdir()] == [""]


@pytest.mark.parametrize("other_host", ["node-a", "node-b"])
def test_who_waits_goes_on_for_a_killed_one(
    start: Start, argv: list[str], tmp_path: Path, go: Path, other_host: str
) -> None:
    first = start("first", "node-a")
    first.read_until("held")
    second = start("second", other_host)
    second.read_until("waiting for it")
    first.popen.kill()
    first.popen.wait()
    (lease,) = (tmp_path / "store/train").glob("*.lease")
    last_beat = lease.stat().st_mtime
    go.touch()
    second.read_until("the process that worked on this result is gone: going on in its place")
    # From another host nothing tells that it is gone but the missing heartbeat.
    assert other_host == "node-a" or time.time() - last_beat > ABANDONED
    told = second.end()
    assert second.popen.returncode == 0
    assert "resumed from a checkpoint after epoch 1" in told
    assert "epoch 3/3" in told
    assert "epoch 1/3" not in told
    assert claire("train", [*argv, "--out", str(tmp_path / "straight")]) == 0
    for suffix in (".safetensors", ".run.zip"):
        name = f"{VARIANT.id}-f0{suffix}"
        assert second.results()[name] == (tmp_path / "straight" / name).read_bytes()
    assert claire("store", [str(tmp_path / "store"), "--prune"]) == 0  # what the killed one had half-written
    assert [path.suffix for path in (tmp_path / "store/train").iterdir()] == [""]
