"""Why a run failed, in the words of the step or, where no step had any, in plain words for the engine's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from claire.commands.run.watch import LOST, Watch

#: What a step says when something ended it from outside, when StreamFlow, going on after a lost job, gave it a file
#: twice, or when its node had no GPU: it may well succeed if it is tried again.
PASSING = re.compile(r"terminated \(SIGTERM\)|: interrupted$|is a duplicate in the manifest|: no GPU on ")
#: What it means that an engine writes this into its log. The last line that matches counts.
MEANINGS = {
    "a pod of the run was lost": LOST.pattern,
    "the Kubernetes API did not answer": r"Cannot connect to host|50\d, message=.*exec",
    "the connection to a pod broke": r"Cannot write to closing transport|Kubernetes connection terminated",
    "the controller of SLURM did not answer": r"Unable to contact slurm controller|Socket timed out on send/recv",
    "the connection to the login node broke": r"ConnectionLost|SSH connection closed|Connect call failed|asyncssh\.",
    "SLURM refused a job": r"Batch job submission failed",
    "a disk is full": r"No space left on device",
    "a step was killed, mostly because memory ran out": (
        r"\bKilled +claire|terminated by signal|exit code (?:137|-9)|oom[-_ ]kill"
    ),
}
_ERROR = re.compile(r"(?:^|\s)((?:[\w.]+(?:Error|Exception))\b.*|ERROR .*)")


@dataclass(frozen=True)
class Cause:
    """Why an attempt failed. `final`: trying again cannot help; `done`: finished jobs of the attempt."""

    text: str
    final: bool
    done: int

    def repeats(self, before: Cause | None) -> bool:
        """Return whether this is what ended the attempt before, and nothing more was finished in between."""
        return before is not None and self.text == before.text and self.done <= before.done


def cause_of(watch: Watch, log: Iterable[str]) -> Cause:
    """Return why an attempt failed, from what was read of it and from the lines of its log.

    An error ends the run only if its step failed: StreamFlow may have tried the job again, and then the engine, or a
    pod, was lost.
    """
    done = sum(step.done for step in watch.steps.values())
    if watch.cause and not watch.lost:
        return Cause(watch.cause, bool(watch.failed) and not PASSING.search(watch.cause), done)
    meaning, last = "", ""
    for line in log:
        meaning = next((text for text, pattern in MEANINGS.items() if re.search(pattern, line)), meaning)
        if found := _ERROR.search(line.rstrip()):
            last = found[1]
    where = f"{watch.failed}: " if watch.failed else ""
    return Cause(f"{where}{meaning or f'no step told a cause; the engine: {last[:300]}'}", False, done)
