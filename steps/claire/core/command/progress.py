"""Log lines and progress on stderr."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from typing import IO, Any, TypeVar

log = logging.getLogger("claire")
T = TypeVar("T")
#: The variable that names a file to which a step adds everything that it says on stderr: StreamFlow drops it.
COPY = "CLAIRE_LOG"


class Copied:
    """A text stream of which everything written also goes to another one."""

    def __init__(self, stream: IO[str], copy: IO[str]) -> None:
        self._stream, self._copy = stream, copy

    def write(self, text: str) -> int:
        """Write text to both; a copy that cannot be written is given up."""
        with suppress(OSError, ValueError):
            self._copy.write(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def copy_stderr() -> None:
    """Copy from now on what is written to stderr into the file that `CLAIRE_LOG` names, if it can be opened."""
    if path := os.environ.get(COPY):
        with suppress(OSError):
            copy = os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", 1, errors="replace")
            sys.stderr = Copied(sys.stderr, copy)


def begin_lines_with(prefix: str) -> None:
    """Begin every further line of the log with the time and `prefix`."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}: %(message)s", "%H:%M:%S"))


def about(step: str, name: str) -> None:
    """Begin every further line of the log with the step and its shard or run, because many run in parallel."""
    begin_lines_with(f"claire {step} {name}")


def progress(items: Iterable[T], what: str, total: int | None = None, every: float = 10.0) -> Iterator[T]:
    """Yield `items`, reporting progress: on a terminal one updated line, else one line every `every` seconds."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    is_terminal, started, reported, count = sys.stderr.isatty(), time.monotonic(), time.monotonic(), 0
    of_total = f"/{total}" if total is not None else ""
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if is_terminal and now - reported > 0.2:
            print(f"\r{what} {count}{of_total}", end="", file=sys.stderr, flush=True)
            reported = now
        elif not is_terminal and now - reported > every:
            log.info("%s %d%s", what, count, of_total)
            reported = now
    if is_terminal and count:
        print("\r\033[K", end="", file=sys.stderr)
    log.info("%s: %d in %.1f s", what, count, time.monotonic() - started)
