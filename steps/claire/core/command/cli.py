"""The command line that all steps share: common flags, logging, progress, exit codes."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from claire.core.command.errors import ClaireError, UsageError

log = logging.getLogger("claire")
T = TypeVar("T")

#: Flags of every step that the workflow does not bind: it leaves the output folder to the engine.
COMMON_FLAGS = ("--help", "--out", "--log-level")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the paragraphs of a docstring and prints defaults."""


def parser(step: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for `claire <step>` with the common flags --out, --threads and --log-level.

    `doc` is the docstring of the step's module: its first line is the summary that `claire --help` prints.
    """
    made = argparse.ArgumentParser(
        prog=f"claire {step}", description=doc, formatter_class=_Formatter, allow_abbrev=False
    )
    made.add_argument("--out", type=Path, default=Path(), help="folder for the results; made if missing")
    made.add_argument("--threads", type=positive_int, default=1, help="processor threads that the step may use")
    made.add_argument(
        "--log-level", choices=["debug", "info", "warning"], default="info", help="how much to tell on stderr"
    )
    return made


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None


def positive_int(text: str) -> int:
    """Parse an integer of at least 1."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def natural(text: str) -> int:
    """Parse an integer of at least 0."""
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def existing_file(text: str) -> Path:
    """Parse the path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file '{text}'")
    return path


def existing_directory(text: str) -> Path:
    """Parse the path of a directory that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory '{text}'")
    return path


def manifest(text: str) -> list[Path]:
    """Parse a manifest: a text file with the path of one input file a line, in order."""
    listing = existing_file(text)
    paths = [Path(line) for line in listing.read_text().splitlines() if line]
    for path in paths:
        if not path.is_file():
            raise argparse.ArgumentTypeError(f"line of manifest '{text}' names no file: '{path.name}'")
    return paths


def execute(
    made: argparse.ArgumentParser,
    function: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None,
) -> int:
    """Parse `argv`, run `function` on it and return the exit code: 0 done, 2 usage, 1 everything else.

    Errors come out as one message with cause and remedy. An unforeseen error names its type and place only, for its
    text may hold a path; `--log-level debug` prints the traceback.
    """
    try:
        args = made.parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    logging.basicConfig(
        level=args.log_level.upper(),
        stream=sys.stderr,
        force=True,
    )
    _begin_lines_with(made.prog)
    for library in ("pydicom", "matplotlib", "PIL", "h5py"):
        logging.getLogger(library).setLevel(logging.ERROR)
    _limit_threads(args.threads)
    try:
        make_directory(args.out, "--out")
        with _told_to_end():
            function(args)
    except ClaireError as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of --list had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"{made.prog}: interrupted", file=sys.stderr)
        return 130
    except _ToldToEnd:
        print(f"{made.prog}: told to end (SIGTERM); nothing half-written was kept", file=sys.stderr)
        return 128 + signal.SIGTERM
    except Exception as error:
        if args.log_level == "debug":
            raise
        print(f"{made.prog}: {_explain(error, args)}", file=sys.stderr)
        return 1
    return 0


class _ToldToEnd(BaseException):
    """SIGTERM came; passes through whatever holds an unfinished file, so that it is removed."""


@contextmanager
def _told_to_end() -> Iterator[None]:
    def end(*_: object) -> None:
        raise _ToldToEnd

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: the signal belongs to somebody else
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def about(step: str, name: str) -> None:
    """Begin every further line of the log with what `step` works on, a shard or a run: many of them run at once."""
    _begin_lines_with(f"claire {step} {name}")


def _begin_lines_with(words: str) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {words}: %(message)s", "%H:%M:%S"))


def make_directory(path: Path, flag: str) -> None:
    """Make a directory that a flag names, with its parents. Raises UsageError where a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{flag} {path} cannot be made: a file is in the way", "Name a directory.") from error
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be made: {error.strerror}", "Name another directory.") from error


def _explain(error: Exception, args: argparse.Namespace) -> str:
    if _disk_is_full(error, [args.out, getattr(args, "store", None), Path(tempfile.gettempdir())]):
        return (
            "the disk is full: nothing half-written was kept.\n"
            "  Free some space, or point --out, --store and TMPDIR elsewhere, and run again."
        )
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown place"
    return (
        f"unforeseen {type(error).__name__} at {where}.\n"
        "  Run again with --log-level debug for the traceback (it may name patients' files)."
    )


def _disk_is_full(error: BaseException | None, places: Iterable[Path | None]) -> bool:
    """Say whether an error comes from a full disk; some libraries hide the cause, so that the space left counts too."""
    found = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        found = found.__cause__ or found.__context__
    return any(shutil.disk_usage(place).free < 2**20 for place in places if place is not None and place.is_dir())


def _limit_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)


def progress(items: Iterable[T], what: str, total: int | None = None, every: float = 10.0) -> Iterator[T]:
    """Yield `items`, telling how far it is: a line kept up to date on a terminal, else one every `every` seconds."""
    total = total if total is not None else (len(items) if hasattr(items, "__len__") else None)  # type: ignore[arg-type]
    terminal, started, told, done = sys.stderr.isatty(), time.monotonic(), time.monotonic(), 0
    of = f"/{total}" if total is not None else ""
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if terminal and now - told > 0.2:
            print(f"\r{what} {done}{of}", end="", file=sys.stderr, flush=True)
            told = now
        elif not terminal and now - told > every:
            log.info("%s %d%s", what, done, of)
            told = now
    if terminal and done:
        print("\r\033[K", end="", file=sys.stderr)
    log.info("%s: %d in %.1f s", what, done, time.monotonic() - started)


def require(condition: object, problem: str, remedy: str = "") -> None:
    """Raise `UsageError` unless `condition` holds."""
    if not condition:
        raise UsageError(problem, remedy)
