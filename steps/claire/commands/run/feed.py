"""The lines of a run as they come: the engine's, and what the steps say where an engine does not pass it on."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from claire.commands.run.at_site import LABEL, AtSite
from claire.commands.run.watch import QUEUE
from claire.commands.site.file import Pods, Queue
from claire.commands.site.reach import Unreachable, kubectl, kubectl_command

#: Seconds between two looks at the logs of jobs, at which pods there are, and at a file.
LOOK, MEET, GLANCE = 4.0, 15.0, 0.3
#: Seconds for which the last words of steps are waited for when the engine has ended, and sources when all has.
LAST_WORDS, LAST_MOMENT = 20.0, 3.0
#: Yields lines until the event is set, and then those that are left.
Source = Callable[[threading.Event], Iterator[str]]


def follow(engine: IO[str], sources: Sequence[Source], every: float) -> Generator[str]:
    """Yield the lines of the engine and of all sources as they come, and "" where none came for `every` seconds.

    It ends when the engine has closed its output and every source has yielded what was left. Where it is closed before,
    the sources are told to end.
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
    try:
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
    finally:
        ended.set()
        deadline = time.monotonic() + LAST_MOMENT
        for reader in readers[1:]:
            reader.join(max(0.0, deadline - time.monotonic()))


def sources_at(at_site: AtSite) -> list[Source]:
    """Return what the steps of a run say at its site: in its pods, and in its jobs."""
    namespaces = {pods.place: pods for pods in at_site.site.pods}
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
    """What the steps in a run's pods say, by `kubectl logs`, which is begun again when there are other pods.

    What it has read before is told by its time stamps.
    """

    def __init__(self, run: str, pods: Pods) -> None:
        self._pods, self._selector = pods, f"--selector={LABEL}={run}"

    def __call__(self, ended: threading.Event) -> Iterator[str]:
        seen: set[str] = set()
        command = [*kubectl_command(self._pods), "logs", "--follow", self._selector, "--timestamps"]
        command += ["--max-log-requests=500", "--ignore-errors", "--tail=-1"]
        while True:
            names = self._running()
            process = subprocess.Popen(  # noqa: S603 (the command is our own)
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
            )
            threading.Thread(target=self._end, args=(process, names, ended), daemon=True).start()
            assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
            for line in process.stdout:
                if line not in seen:
                    seen.add(line)
                    yield line.partition(" ")[2]
            process.wait()
            if ended.is_set():
                return
            ended.wait(LOOK)

    def _running(self) -> set[str] | None:
        """Return the names of the run's pods, None if the API does not answer."""
        try:
            items = json.loads(kubectl(self._pods, ["get", "pods", self._selector, "--output=json"]))["items"]
        except Unreachable:
            return None
        return {each["metadata"]["name"] for each in items if each["status"].get("phase") == "Running"}

    def _end(self, process: subprocess.Popen[str], names: set[str] | None, ended: threading.Event) -> None:
        """End the process when there are other pods, and a moment after the run: the last words are on their way."""
        while not ended.wait(MEET):
            if process.poll() is not None:
                return
            if self._running() not in (None, names):
                break
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        process.terminate()


class _Jobs:
    """What the steps in a run's jobs say: their logs at the login node, looked at again and again.

    Not what jobs of an attempt before said: it would pass for a cause of this one.
    """

    def __init__(self, at_site: AtSite, jobs: Queue) -> None:
        self._at_site, self._jobs = at_site, jobs
        self._said: dict[str, list[str]] = {}
        self._steps: set[str] = set()
        self._others: set[str] = set()
        polling = at_site.site.document["deployments"][jobs.deployment]["config"].get("pollingInterval", 0)
        self._pause = max(LOOK, polling)  # what the site wants to be asked at most

    def __call__(self, ended: threading.Event) -> Iterator[str]:
        with suppress(Unreachable):
            self._said, _ = self._at_site.look(self._jobs)
            self._others = set() if self._at_site.keep else {*self._said}
        while not ended.wait(self._pause):
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
            if job in self._others:
                continue
            yield from (f"{line}\n" for line in new_lines(self._said.get(job, []), lines))
            self._said[job] = lines


def new_lines(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return the lines of the end of a log that were not in the end seen before."""
    for count in range(min(len(before), len(now)), 0, -1):
        if list(before[-count:]) == list(now[:count]):
            return now[count:]
    return now
