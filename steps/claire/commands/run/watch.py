"""What a run does now, read from the lines of its engine and its steps."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from claire.core.command.listing import STEPS

#: Lines of cwltool about a job, of StreamFlow about a step, of a step while it works, and of a step that fails.
_CWLTOOL = re.compile(r"\[job (\w+?)(?:_\d+)?\] (completed success|completed permanentFail|/\S+\$)")
_STREAMFLOW = re.compile(r"\b(EXECUTING step|COMPLETED Step|FAILED Step) (?:/[\w/-]*)?/(\w+)\b")
_STEP = re.compile(r"^(?:\[.*?\] )?(\d\d:\d\d:\d\d) claire (\w+)(?: (\S+))?: (.*)")
_FAULT = re.compile(r"^claire (\w+): (.+)")


@dataclass
class Step:
    """A step of the run: its jobs that were started, done and failed, and the last line that it wrote."""

    started: int = 0
    done: int = 0
    failed: int = 0
    line: str = ""

    @property
    def state(self) -> str:
        """`waiting`, `running`, `done` or `failed`."""
        if self.failed:
            return "failed"
        if not (self.started or self.line):
            return "waiting"
        return "done" if self.done >= self.started else "running"


@dataclass
class Watch:
    """The state of a run. `cause`: the first error of a step with its remedy, "" if none was seen."""

    steps: dict[str, Step] = field(default_factory=lambda: {name: Step() for name in STEPS})
    cause: str = ""
    begun: float = field(default_factory=time.monotonic)
    _inside: bool = False

    def read(self, line: str) -> str:
        """Take in a line; return it if it is for people, else ""."""
        if self._inside and line.startswith("  "):
            self.cause += f"\n{line.rstrip()}"
            return line
        self._inside = False
        if (found := _STEP.match(line)) and found[2] in self.steps:
            step = self.steps[found[2]]
            step.line = " ".join(part for part in found.groups()[2:] if part)
            return line
        if found := _FAULT.match(line):
            if not self.cause:
                self.cause, self._inside = line.rstrip(), True
            return line
        if (found := _CWLTOOL.search(line)) and found[1] in self.steps:
            self._count(found[1], found[2])
        elif (found := _STREAMFLOW.search(line)) and found[2] in self.steps:
            self._count(found[2], found[1])
        return ""

    def _count(self, name: str, what: str) -> None:
        step = self.steps[name]
        step.started += what.endswith("$") or what == "EXECUTING step"
        step.failed += what in ("completed permanentFail", "FAILED Step")
        step.done += what == "completed success"
        if what == "COMPLETED Step":  # StreamFlow tells the end of all jobs of a step at once
            step.done = step.started

    def table(self, width: int = 100) -> Iterator[str]:
        """Yield the live table: step, state, jobs, last line."""
        yield f"{'step':<11}{'state':<9}{'done':>9}  {time.monotonic() - self.begun:.0f} s"
        for name, step in self.steps.items():
            yield row(name, step.state, step.done, step.started, step.line)[:width]


def row(name: str, state: str, done: int, started: int, line: str) -> str:
    """Return a step as a row of the table: state, jobs done of those begun, last line."""
    jobs = f"{done}/{max(started, done)}" if started or done else ""
    return f"{name:<11}{state:<9}{jobs:>9}  {line}"
