"""One process at a time works on a result of the store: a lease with host, process and heartbeat."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from claire.core.command.documents import Part
from claire.core.command.progress import log

#: Seconds between heartbeats, and without one until a lease counts as abandoned.
HEARTBEAT, ABANDONED = 10.0, 90.0
#: Seconds between looks at a lease of another process, and between lines of the log about it.
LOOK, TELL = 1.0, 60.0


class Holder(Part):
    """Who holds a lease. `token` is unique; `started` is the start of the process in clock ticks since boot."""

    host: str
    process: int
    started: str
    token: str


@contextmanager
def lease(path: Path) -> Iterator[None]:
    """Hold the lease file `path` within the block; wait while another process holds it.

    An abandoned lease is taken over: its process is gone from this host, or it gave no heartbeat for 90 s by the clock
    of the file system. A killed process leaves its lease behind, so that the next one takes it over at once.
    """
    holder = Holder(
        host=socket.gethostname(), process=os.getpid(), started=_started(os.getpid()), token=uuid.uuid4().hex
    )
    _acquire(path, holder)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, holder, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        if read_holder(path) == holder:
            path.unlink(missing_ok=True)


def read_holder(path: Path) -> Holder | None:
    """Return who holds a lease, None if nobody does or it is being written."""
    with suppress(OSError, ValidationError):
        return Holder.model_validate_json(path.read_bytes())
    return None


def is_abandoned(path: Path, holder: Holder | None) -> bool:
    """Return whether the process of a lease is gone from this host, or gave no heartbeat for long."""
    if holder and holder.host == socket.gethostname() and _started(holder.process) != holder.started:
        return True
    with suppress(FileNotFoundError), tempfile.NamedTemporaryFile(dir=path.parent) as now:
        return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime > ABANDONED
    return False


def is_held(path: Path) -> bool:
    """Return whether a living process holds a lease."""
    return path.exists() and not is_abandoned(path, read_holder(path))


def _acquire(path: Path, holder: Holder) -> None:
    told = -TELL
    while not _create(path, holder):
        other = read_holder(path)
        if is_abandoned(path, other):
            _break(path, other)
            continue
        if other and time.monotonic() - told >= TELL:
            log.info("process %d on %s works on the same result: waiting for it", other.process, other.host)
            told = time.monotonic()
        time.sleep(LOOK)


def _create(path: Path, holder: Holder) -> bool:
    """Create the lease whole, by one link: readers never see half of it."""
    part = path.with_name(f"{path.name}.{holder.token}")
    part.write_text(holder.model_dump_json())
    try:
        path.hardlink_to(part)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def _break(path: Path, holder: Holder | None) -> None:
    """Remove an abandoned lease; of several processes that see it, one removes it."""
    mark = path.with_name(f"{path.name}.{holder.token if holder else 'damaged'}.broken")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        with suppress(FileNotFoundError):
            if time.time() - mark.stat().st_mtime > ABANDONED:  # its maker was killed in between
                mark.unlink()
        time.sleep(LOOK)
        return
    try:
        if read_holder(path) == holder:
            path.unlink(missing_ok=True)
            log.info("the process that worked on this result is gone: going on in its place")
    finally:
        mark.unlink(missing_ok=True)


def _beat(path: Path, holder: Holder, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        with suppress(OSError):
            if read_holder(path) == holder:
                os.utime(path)


def _started(process: int) -> str:
    """Return the start of a process of this host, "" if it is gone or ended, or the system does not say."""
    fields = process_fields(process)
    return "" if fields[:1] == ["Z"] else "".join(fields[19:20])


def process_fields(process: int) -> list[str]:
    """Return the fields of /proc/PID/stat (proc(5)): 0 state, 3 session, 19 start; [] if it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
