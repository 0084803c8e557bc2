"""One attempt of a run: the engine started, followed and ended, with what the run has of its own at its site."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from claire.commands.run.at_site import AtSite
from claire.commands.run.engine import SAID, Launch, command_line, end, start
from claire.commands.run.feed import Source, follow, of_file, sources_at
from claire.commands.run.state import SCRATCH, write_state
from claire.commands.run.watch import Watch
from claire.commands.site.reach import Unreachable
from claire.core.command.execute import Terminated

LOG = "log.txt"
#: Seconds between two drawings of the live table.
REDRAW = 0.5
#: Seconds for which a site that does not answer is asked again to cancel what runs there, and between two tries.
INSIST, AGAIN = 120.0, 5.0
#: The jobs and pods that are cancelled when an attempt ends.
OWN = "of this run"


def attempt(launch: Launch, out: Path, watch: Watch) -> int:
    """Run the engine, show what it does, keep every line in the log; return its exit code. Ends all on Ctrl-C.

    Raises ClaireError if the pods of the run cannot be made at its site.
    """
    scratch = out / SCRATCH
    outputs = _fresh(scratch)
    with _own_things(launch.at_site):
        command = command_line(launch, scratch, outputs)
        sources: list[Source] = sources_at(launch.at_site) if launch.at_site else []
        if launch.engine == "streamflow":
            sources.append(of_file(scratch / SAID))
        return _follow(command, sources, launch, out, watch)


@contextmanager
def _own_things(at_site: AtSite | None) -> Iterator[None]:
    """Within the block the run has its pods; after it nothing of it works at the site, unless that is kept."""
    if at_site is None:
        yield
        return
    if not at_site.keep:
        insist_on_end(at_site, "left by an attempt before")
    try:
        at_site.deploy()
        yield
    finally:
        if not at_site.keep:
            insist_on_end(at_site, OWN)


def insist_on_end(at_site: AtSite, which: str) -> bool:
    """Cancel the jobs and remove the pods of a run; ask again while its site does not answer. Return whether it did."""
    try:
        return _insist(at_site, which, time.monotonic() + INSIST)
    except (KeyboardInterrupt, Terminated):
        _tell_left("stopped while cancelling", which)
        raise


def _insist(at_site: AtSite, which: str, deadline: float) -> bool:
    while True:
        try:
            count = at_site.cancel()
        except Unreachable as error:
            if time.monotonic() < deadline:
                time.sleep(AGAIN)
                continue
            _tell_left(error.problem, which)
            return False
        if count:
            print(f"ended at the site: {count} jobs and pods {which}", flush=True)
        return True


def _tell_left(problem: str, which: str) -> None:
    told = f"{problem}: jobs and pods {which} may still be there. Later: claire cancel"
    print(told, file=sys.stderr, flush=True)


def _fresh(scratch: Path) -> Path:
    """Return the folder of outputs, emptied as that of the engine; the log before is kept as log.1.txt, …"""
    for folder in ("tmp", "out", "results"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    log = scratch.parent / LOG
    if log.exists():
        number = next(number for number in range(1, 10**6) if not log.with_name(f"log.{number}.txt").exists())
        log.rename(log.with_name(f"log.{number}.txt"))
    return scratch / "results"


def _follow(command: list[str], sources: list[Source], launch: Launch, out: Path, watch: Watch) -> int:
    scratch = out / SCRATCH
    screen = Screen(sys.stdout.isatty())
    process = start(command, scratch, scratch / "results")
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    tell = partial(write_state, scratch, launch, watch, process.pid)
    try:
        tell("running")
        lines = follow(process.stdout, sources, REDRAW)
        with (out / LOG).open("w", encoding="utf-8") as log, closing(lines):
            for line in lines:
                log.write(line)
                shown = watch.read(line.rstrip("\n"))
                if shown or screen.due():
                    log.flush()
                    screen.show(watch, shown)
                    tell("running")
                if watch.lost and process.poll() is None:
                    end(process)
        code = process.wait()
        screen.show(watch, "", last=True)
    except BaseException:
        end(process)
        tell("stopped")
        kept = launch.at_site and launch.at_site.keep
        ended = "jobs at the site go on" if kept else "everything on this machine has ended"
        print(
            f"\nstopped: {ended}. The same command goes on; log: {out / LOG}",
            file=sys.stderr,
            flush=True,
        )
        raise
    tell("failed" if code else "done")
    return code


class Screen:
    """The live table on a terminal, plain lines elsewhere."""

    def __init__(self, live: bool) -> None:
        self.live, self.drawn, self.last = live, 0, 0.0

    def due(self) -> bool:
        """Return whether the table should be drawn again."""
        return time.monotonic() - self.last > REDRAW

    def show(self, watch: Watch, line: str, last: bool = False) -> None:
        """Draw the table anew, or print a line. Only the `last` table is surely drawn."""
        if not self.live:
            if line:
                print(line, flush=True)
            self.last = time.monotonic()
            return
        if not (self.due() or last):
            return
        rows = [*watch.table(shutil.get_terminal_size().columns)]
        print((f"\x1b[{self.drawn}A\x1b[J" if self.drawn else "") + "\n".join(rows), flush=True)
        self.drawn, self.last = len(rows), time.monotonic()
