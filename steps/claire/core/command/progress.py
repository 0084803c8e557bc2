"""Log lines and progress on stderr."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

log = logging.getLogger("claire")
T = TypeVar("T")


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
