"""What a run does now, read from the lines of its engine and its steps."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from claire.core.command.listing import STEPS

#: Lines of cwltool about a job, of StreamFlow about a step, of a step while it works, and of a step that fails.
_CWLTOOL = re.compile(r"\[job (\w+?)(?:_\d+)?\] (completed success|completed permanentFail|/\S+\$)")
_STREAMFLOW = re.compile(r"\b(EXECUTING step|COMPLETED Step|FAILED Step) (?:/[\w/-]*)?/(\w+)\b")
_STEP = re.compile(r"^(?:\[.*?\] )?(\d\d:\d\d:\d\d) claire (\w+)(?: (\S+))?: (.*)")
_FAULT = re.compile(r"^claire (\w+): (.+)")
#: Lines of StreamFlow about a job that it gave to a queue, and of the feed about the jobs of a step that are there.
_SCHEDULED = re.compile(r"Scheduled job (?:/[\w/-]*)?/(\w+)/([\d.]+) with job id")
QUEUE = "queue: {}, {} running, {} waiting"
#: What StreamFlow says of a pod that is gone: it asks for it again and again, and never goes on without it.
LOST = re.compile(r"WSServerHandshakeError: 404|pods \\?\"\S+\" not found|container not found")
_QUEUE = re.compile(r"^queue: (\w+), (\d+) running, (\d+) waiting$")
#: The steps of main.cwl.
PIPELINE = [name for name in STEPS if name not in ("apply", "deliver")]
#: How far a shard or run is: "epoch 3/20", "series 12/40", "scans explained 3/18".
_SHARE = re.compile(r"(\d+)/(\d+)")
#: How a step says that nothing was left to do (core.command.store).
TAKEN = "already finished"
#: How collect says how many trainings the store had.
_COLLECTED = re.compile(r"taken from the store: (\d+) of \d+ trainings")
#: Running shards or runs that the table shows of a step.
SHOWN = 4


@dataclass
class Step:
    """A step of the run: its jobs that were started, done, failed and taken from the store, and its last lines.

    `total`: its jobs as far as known beforehand; `active`: last line of each shard or run, the latest last; `shares`:
    how far each is, 0 to 1; `begun`: clock of the first job that worked; `collected`: jobs that another step took from
    the store for it; `scheduled`: those that were given to a queue; `queued`: how many wait there.
    """

    total: int = 0
    started: int = 0
    done: int = 0
    failed: int = 0
    taken: set[str] = field(default_factory=set)
    collected: int = 0
    line: str = ""
    active: dict[str, str] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    begun: float | None = None
    scheduled: set[str] = field(default_factory=set)
    queued: int = 0

    @property
    def state(self) -> str:
        """`waiting`, `running`, `done` or `failed`."""
        if self.failed:
            return "failed"
        if not (self.started or self.line):
            return "waiting"
        return "done" if self.done >= max(self.started, self.total) else "running"

    @property
    def jobs(self) -> int:
        """Its jobs, as far as they are known now."""
        return max(self.total, self.started, self.done)

    @property
    def running(self) -> dict[str, str]:
        """The last line of each shard or run that runs, as far as the count of running jobs tells."""
        count = self.jobs_at_work
        return dict([*self.active.items()][-count:]) if count > 0 else {}

    @property
    def jobs_at_work(self) -> int:
        """How many of its jobs work now."""
        given = self.collected + len(self.scheduled) if self.scheduled else self.started
        return given - self.done - self.failed - self.queued

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until its last job ends, at the pace so far; None before a pace is known."""
        part = sum(self.shares.get(name, 0.0) for name in self.running)
        worked, remaining = self.done - len(self.taken) - self.collected + part, self.jobs - self.done - part
        if self.begun is None or worked <= 0 or self.state != "running":
            return None
        return (time.monotonic() - self.begun) * remaining / worked

    def take(self, count: int) -> None:
        """Count jobs that need not be started, because another step took their results from the store."""
        self.started += count
        self.done += count
        self.collected += count

    def hear(self, name: str, text: str) -> None:
        """Take in a line of a shard or run."""
        self.line = f"{name} {text}".strip()
        self.active.pop(name, None)
        self.active[name] = text
        if text.startswith(TAKEN):
            self.taken.add(name)
        elif self.begun is None:
            self.begun = time.monotonic()
        if (share := _SHARE.search(text)) and int(share[2]):
            self.shares[name] = max(self.shares.get(name, 0.0), min(1.0, int(share[1]) / int(share[2])))


@dataclass
class Watch:
    """The state of a run. `faults`: by step, the last error of each with its remedy; `lost`: it cannot go on."""

    totals: Mapping[str, int] = field(default_factory=dict)
    names: Sequence[str] = tuple(PIPELINE)
    steps: dict[str, Step] = field(init=False)
    faults: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    begun: float = field(default_factory=time.monotonic)
    _inside: str = ""
    _heard: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.steps = {name: Step(self.totals.get(name, 0)) for name in self.names}

    @property
    def cause(self) -> str:
        """The error of the step that failed, with its remedy; "" if that said none."""
        return self.faults.get(self.failed, "") if self.failed else next(iter(self.faults.values()), "")

    @property
    def failed(self) -> str:
        """The first step that failed, "" if none did: an engine also calls those failed that wait for its results."""
        return next((name for name, step in self.steps.items() if step.failed), "")

    def read(self, line: str) -> str:
        """Take in a line; return it if it is for people, else ""."""
        if self._inside and line.startswith("  "):
            self.faults[self._inside] += f"\n{line.rstrip()}"
            return line
        self._inside = ""
        if line in self._heard:
            return ""
        if (found := _STEP.match(line)) and found[2] in self.steps:
            self._heard.add(line)  # StreamFlow repeats what a job said when it is done
            self.steps[found[2]].hear(found[3] or "", found[4])
            if collected := _COLLECTED.match(found[4]):
                self.steps["train"].take(int(collected[1]))
            return line
        if found := _FAULT.match(line):
            self.faults[found[1]], self._inside = line.rstrip(), found[1]
            return line
        if (found := _CWLTOOL.search(line)) and found[1] in self.steps:
            self._count(found[1], found[2])
        elif (found := _STREAMFLOW.search(line)) and found[2] in self.steps:
            self._count(found[2], found[1])
        elif LOST.search(line):
            self.lost = True
        elif (found := _SCHEDULED.search(line)) and found[1] in self.steps:
            self.steps[found[1]].scheduled.add(found[2])
        elif (found := _QUEUE.match(line)) and found[1] in self.steps:
            step = self.steps[found[1]]
            step.queued = int(found[3])
            step.done = max(step.done, step.collected + len(step.scheduled) - int(found[2]) - step.queued)
        return ""

    def _count(self, name: str, what: str) -> None:
        step = self.steps[name]
        step.started += what.endswith("$") or what == "EXECUTING step"
        step.failed += what in ("completed permanentFail", "FAILED Step")
        step.done += what == "completed success"
        if what == "COMPLETED Step":  # StreamFlow tells the end of all jobs of a step at once
            step.done = step.total = step.started

    def table(self, width: int = 100) -> Iterator[str]:
        """Yield the live table: step, state, jobs, time left, last line; below a step what runs of it."""
        yield f"{'step':<11}{'state':<9}{'done':>9}{'left':>9}  after {duration(time.monotonic() - self.begun)}"[:width]
        for name, step in self.steps.items():
            running = dict([*step.running.items()][-SHOWN:])
            line = "" if len(running) > 1 else step.line
            line = f"{step.queued} in the queue  {line}" if step.queued else line
            yield row(name, step.state, step.done, step.jobs, step.seconds_left, line)[:width]
            if len(running) > 1:
                yield from (f"  {run:<15}{text}"[:width] for run, text in sorted(running.items()))


def row(name: str, state: str, done: int, jobs: int, left: float | None, line: str) -> str:
    """Return a step as a row of the table: state, jobs done of those known, time left, last line."""
    count = f"{done}/{jobs}" if jobs and state != "waiting" else f"{jobs}" if jobs else ""
    return f"{name:<11}{state:<9}{count:>9}{'' if left is None else duration(left):>9}  {line}"


def duration(seconds: float) -> str:
    """Return a time for people: 12 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
