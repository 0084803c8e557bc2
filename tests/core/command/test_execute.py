"""How a step ends: exit codes, messages without identifiers, warnings silenced once, places that cannot be written."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError, require
from claire.core.command.execute import Terminated, execute, termination
from claire.core.command.parameters import SitePath, StepParameters, parameter

ROOT = Path(__file__).parents[3]
STEPS = ROOT / "steps/claire"


class Parameters(StepParameters):
    """Parameters of a step with a store."""

    store: SitePath | None = parameter(None, help="store")


@pytest.fixture(autouse=True)
def own_filters() -> Iterator[None]:
    with warnings.catch_warnings():
        yield


def run(function: Callable[[Parameters], None], *argv: object) -> int:
    return execute("test", "A step.", Parameters, function, [*map(str, argv)])


def raising(error: BaseException) -> Callable[[Parameters], None]:
    def function(_: Parameters) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("the flag is wrong", "Correct it."), 2, "claire test: the flag is wrong\n  Correct it.\n"),
        (ClaireError("the file is damaged", "Run it again."), 1, "claire test: the file is damaged\n  Run it again.\n"),
        (ClaireError("no remedy is known"), 1, "claire test: no remedy is known\n"),
        (KeyboardInterrupt(), 130, "claire test: interrupted\n"),
        (Terminated(), 143, "claire test: terminated (SIGTERM); nothing half-written was kept\n"),
        (Terminated("ended\n  Again."), 143, "claire test: ended\n  Again.\n"),
    ],
)
def test_every_end_has_its_code_and_message(
    out: Path, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, told: str
) -> None:
    assert run(raising(error), "--out", out) == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("error", [KeyError("Doe^Jane"), OSError(5, "Input/output error", "/data/Doe^Jane.dcm")])
def test_an_unforeseen_error_names_its_kind_and_place_only(
    out: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert run(raising(error), "--out", out) == 1
    told = capsys.readouterr().err
    assert f"unexpected {type(error).__name__} at test_execute.py:" in told
    assert "--log-level debug" in told
    assert "Jane" not in told


def test_debugging_shows_the_traceback(out: Path) -> None:
    with pytest.raises(KeyError, match="odd"):
        run(raising(KeyError("odd")), "--out", out, "--log-level", "debug")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_what_to_free(out: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    assert run(raising(OSError(number, "full")), "--out", out) == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_library_that_hides_the_full_disk_does_not_mislead(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").mkdir()

    def free(path: Path) -> object:
        return type("Usage", (), {"free": 0 if Path(path).name == "store" else 2**30})

    monkeypatch.setattr("claire.core.command.execute.shutil.disk_usage", free)
    assert run(raising(RuntimeError("write failed")), "--out", out, "--store", tmp_path / "store") == 1
    assert "the disk is full" in capsys.readouterr().err
    assert run(raising(RuntimeError("write failed")), "--out", out) == 1
    assert "unexpected RuntimeError" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/proc/claire", "/proc/1/claire/out"])
def test_an_output_that_cannot_be_created_is_wrong_usage(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda _: pytest.fail("ran"), "--out", place) == 2
    told = capsys.readouterr().err
    assert f"--out {place} cannot be created" in told
    assert "Name another directory" in told


def test_an_unknown_flag_is_wrong_usage_and_help_is_none(out: Path) -> None:
    assert run(lambda _: pytest.fail("ran"), "--out", out, "--fold", "1") == 2
    assert run(lambda _: pytest.fail("ran"), "--help") == 0
    assert not out.exists()


def test_a_condition_that_does_not_hold_is_wrong_usage() -> None:
    require(True, "never told")
    with pytest.raises(UsageError, match="told") as caught:
        require([], "told", "Do it.")
    assert (caught.value.exit_code, caught.value.remedy) == (2, "Do it.")


@pytest.mark.parametrize(("level", "silent"), [("info", True), ("warning", True), ("debug", False)])
def test_warnings_are_silenced_once_for_all_threads(
    out: Path, capsys: pytest.CaptureFixture[str], level: str, silent: bool
) -> None:
    def function(_: Parameters) -> None:
        workers = [threading.Thread(target=warnings.warn, args=(f"Doe^Jane {i}",)) for i in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run(function, "--out", out, "--log-level", level) == 0
    assert bool(caught) != silent
    assert "Jane" not in capsys.readouterr().err


def test_filters_of_warnings_are_set_in_one_place_only() -> None:
    filters = re.compile(r"\b(simplefilter|filterwarnings|catch_warnings|resetwarnings)\b")
    files = {path for path in STEPS.rglob("*.py") if filters.search(path.read_text())}
    # The phantom writes its own files in processes of its own, not in threads.
    # The export to ONNX traces one network after the other, in the main thread.
    assert {path.name for path in files if "phantom" not in path.parts} == {"execute.py", "onnx_export.py"}


def test_threads_limit_the_libraries(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    for name in names:
        monkeypatch.setenv(name, "9")
    assert run(lambda _: None, "--out", out, "--threads", "3") == 0
    assert [os.environ[name] for name in names] == ["3"] * 4


def test_a_terminal_that_closes_ends_a_step_unless_that_is_ignored() -> None:
    with pytest.raises(Terminated), termination():
        os.kill(os.getpid(), signal.SIGHUP)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with termination():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, ignored)


def test_a_deferred_termination_is_noted_and_not_raised() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with termination(defer=True) as guard:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
        assert guard.requested
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_leaves_the_signal_to_others() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with termination() as guard:
            seen.append((guard.requested, signal.getsignal(signal.SIGTERM)))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [(False, before)]


def test_a_reader_that_had_enough_ends_a_list_without_an_error(tmp_path: Path) -> None:
    code = (
        "import sys; from claire.core.command.execute import execute; "
        "from claire.core.command.parameters import StepParameters; "
        "sys.exit(execute('test', 'A.', StepParameters, lambda _: print('x' * 10**6, flush=True), sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "steps")},
    ) as step:  # fmt: skip
        assert step.stdout is not None
        assert step.stderr is not None
        assert step.stdout.read(1) == "x"
        step.stdout.close()
        assert step.stderr.read() == ""
        assert step.wait() == 0


@pytest.mark.parametrize(
    ("source", "last"),
    [("nowhere", "error: argument --source: there is no directory 'nowhere'"), (".", "holds no DICOM or NIfTI series")],
)
def test_what_a_step_says_is_copied_for_those_to_whom_an_engine_does_not_pass_it_on(
    tmp_path: Path, source: str, last: str
) -> None:
    command = [sys.executable, "-m", "claire", "index", "--source", source, "--out", "out"]
    (tmp_path / "said").write_text("before\n")
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"CLAIRE_LOG": str(tmp_path / "said")}, capture_output=True, text=True
    )
    said = (tmp_path / "said").read_text()
    assert said == "before\n" + done.stderr
    assert last in said


def test_a_copy_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "claire", "version"]
    environment = os.environ | {"CLAIRE_LOG": str(tmp_path / "nowhere/said")}
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
