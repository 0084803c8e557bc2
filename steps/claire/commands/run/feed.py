"""The lines of a run as they come: the engine's, and what the steps say where an engine does not pass it on."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from claire.commands.run.at_site import LABEL, AtSite
from claire.commands.run.watch import QUEUE
from claire.commands.site.file import Pods, Queue
from claire.commands.site.reach import Unreachable, kubectl_command

#: Seconds between two looks at the logs of jobs, and between two looks at a file.
LOOK, GLANCE = 4.0, 0.3
#: Seconds for which the last words of steps are waited for when the engine has ended.
LAST_WORDS = 20.0
#: Yields lines until the event is set, and then those that are left.
Source = Callable[[threading.Event], Iterator[str]]


def follow(engine: IO[str], sources: Sequence[Source], every: float) -> Iterator[str]:
    """Yield the lines of the engine and of all sources as they come, and "" where none came for `every` seconds.

    It ends when the engine has closed its output and every source has yielded what was left.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    ended = threading.Event()

    def read(source: Iterator[str], last: bool) -> None:
        try:
            for line in source:
                lines.put(line)
        finally:
            if last:
                ended.set()
            lines.put(None)

    readers = [threading.Thread(target=read, args=(iter(engine), True), daemon=True)]
    readers += [threading.Thread(target=read, args=(source(ended), False), daemon=True) for source in sources]
    for reader in readers:
        reader.start()
    reading = len(readers)
    while reading:
        try:
            line = lines.get(timeout=LAST_WORDS if ended.is_set() else every)
        except queue.Empty:
            if ended.is_set():
                return
            line = ""
        if line is None:
            reading -= 1
        else:
            yield line


def sources_at(at_site: AtSite) -> list[Source]:
    """Return what the steps of a run say at its site: in its pods, and in its jobs."""
    namespaces = {(pods.kubeconfig, pods.context, pods.namespace): pods for pods in at_site.site.pods}
    return [
        *(_Pods(at_site.name, pods) for pods in namespaces.values()),
        *(_Jobs(at_site, each) for each in at_site.site.queues),
    ]


def of_file(path: Path) -> Source:
    """Return the lines that are added to a file of this machine."""

    def read(ended: threading.Event) -> Iterator[str]:
        path.write_text("")
        with path.open(encoding="utf-8", errors="replace") as stream:
            while not ended.wait(GLANCE):
                yield from stream
            yield from stream

    return read


class _Pods:
    """What the steps in a run's pods say, by `kubectl logs`; pods that come later are followed too."""

    def __init__(self, run: str, pods: Pods) -> None:
        self._command = [*kubectl_command(pods), "logs", "--follow", f"--selector={LABEL}={run}"]
        self._command += ["--max-log-requests=500", "--ignore-errors", "--tail=-1"]

    def __call__(self, ended: threading.Event) -> Iterator[str]:
        since: list[str] = []
        while not ended.is_set():
            process = subprocess.Popen(  # noqa: S603 (the command is our own)
                [*self._command, *since], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
            )
            threading.Thread(target=self._end, args=(process, ended), daemon=True).start()
            assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
            yield from process.stdout
            process.wait()
            since = [f"--since={LOOK:.0f}s"]
            ended.wait(LOOK)

    @staticmethod
    def _end(process: subprocess.Popen[str], ended: threading.Event) -> None:
        """End the process a moment after the run: the last words are on their way."""
        ended.wait()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.terminate()


class _Jobs:
    """What the steps in a run's jobs say: their logs at the login node, looked at again and again."""

    def __init__(self, at_site: AtSite, jobs: Queue) -> None:
        self._at_site, self._jobs = at_site, jobs
        self._said: dict[str, list[str]] = {}
        self._steps: set[str] = set()

    def __call__(self, ended: threading.Event) -> Iterator[str]:
        for _ in self._look():  # of an attempt before
            pass
        while not ended.wait(LOOK):
            yield from self._look()
        yield from self._look()

    def _look(self) -> Iterator[str]:
        try:
            found, states = self._at_site.look(self._jobs)
        except Unreachable:  # the node is away: the next look has it
            return
        for step in {*states, *self._steps}:
            counts = states.get(step, Counter())
            yield QUEUE.format(step, counts.total() - counts["PENDING"], counts["PENDING"]) + "\n"
        self._steps = {*states}
        for job, lines in found.items():
            yield from (f"{line}\n" for line in new_lines(self._said.get(job, []), lines))
            self._said[job] = lines


def new_lines(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return the lines of the end of a log that were not in the end seen before."""
    for count in range(min(len(before), len(now)), 0, -1):
        if list(before[-count:]) == list(now[:count]):
            return now[count:]
    return now
