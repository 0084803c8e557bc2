"""Runs a step from the command line: logging, limits, signals, exit codes."""

from __future__ import annotations

import errno
import getpass
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from claire.core.command.cli import parse
from claire.core.command.errors import ClaireError
from claire.core.command.files import make_directory, only_for_owner
from claire.core.command.parameters import StepParameters
from claire.core.command.progress import begin_lines_with, copy_stderr

P = TypeVar("P", bound=StepParameters)


def execute(
    step: str, doc: str | None, model: type[P], run: Callable[[P], None], argv: Sequence[str] | None = None
) -> int:
    """Parse `argv`, run the step on it and return the exit code: 0 done, 2 usage, 1 everything else.

    What the step writes is for its owner alone, whatever the umask: nearly all of it holds data of patients.

    Errors are printed as one message with cause and remedy. An unexpected error is reported by type and location only,
    because its text may contain a path; `--log-level debug` prints the traceback.
    """
    copy_stderr()
    try:
        parameters = parse(step, doc, model, argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    name = f"claire {step}"
    _set_up_logging(name, parameters.log_level)
    _limit_threads(parameters.threads)
    _name_the_user()
    try:
        with only_for_owner(), termination():
            make_directory(parameters.out.parent if parameters.out_is_file else parameters.out, "--out")
            run(parameters)
    except ClaireError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of --list closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except Terminated as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 128 + signal.SIGTERM
    except Exception as error:
        if parameters.log_level == "debug":
            raise
        print(f"{name}: {_explain(error, parameters)}", file=sys.stderr)
        return 1
    return 0


def _set_up_logging(name: str, level: str) -> None:
    logging.basicConfig(level=level.upper(), stream=sys.stderr, force=True)
    begin_lines_with(name)
    for library in ("pydicom", "matplotlib", "PIL", "h5py"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    # Once, for all threads: warnings of pydicom quote header text, which identifies patients.
    if level != "debug":
        warnings.simplefilter("ignore")


def _name_the_user() -> None:
    """Give a user ID without an entry in /etc/passwd a name: torch asks for one when it is imported."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = "claire"


class Terminated(BaseException):
    """SIGTERM was received; unwinds the stack so that unfinished files are removed."""

    def __init__(self, message: str = "terminated (SIGTERM); nothing half-written was kept") -> None:
        super().__init__(message)


class Termination:
    """SIGTERM of this process: raised at once as `Terminated`, or recorded while deferred.

    `requested`: whether it was received while deferred.
    """

    def __init__(self) -> None:
        self.requested = False
        self.deferred = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        self.requested = True
        if not self.deferred:
            raise Terminated


@contextmanager
def termination(defer: bool = False) -> Iterator[Termination]:
    """Turn SIGTERM within the block into `Terminated`, or with `defer` into `requested` of the yielded object.

    So is SIGHUP, of a terminal that closes, unless it is ignored (`nohup`). Outside the main thread nothing changes:
    signals can only be handled there.
    """
    guard = Termination()
    guard.deferred = defer
    if threading.current_thread() is not threading.main_thread():
        yield guard
        return
    heard = [signal.SIGTERM]
    heard += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    previous = {number: signal.signal(number, guard.handle) for number in heard}
    try:
        yield guard
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _explain(error: Exception, parameters: StepParameters) -> str:
    store = getattr(parameters, "store", None)
    if _disk_is_full(error, [parameters.out, store, Path(tempfile.gettempdir())]):
        return (
            "the disk is full: nothing half-written was kept.\n"
            "  Free some space, or point --out, --store and TMPDIR elsewhere, and run again."
        )
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown location"
    return (
        f"unexpected {type(error).__name__} at {where}.\n"
        "  Run again with --log-level debug for the traceback (it may name patients' files)."
    )


def _disk_is_full(error: BaseException | None, paths: Iterable[Path | None]) -> bool:
    """Return whether an error comes from a full disk; some libraries hide the cause, so free space is checked too."""
    cause = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__ or cause.__context__
    return any(shutil.disk_usage(path).free < 2**20 for path in paths if path is not None and path.is_dir())


def _limit_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
