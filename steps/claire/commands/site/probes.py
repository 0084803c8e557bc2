"""What is asked for at the HPC and in the pods alike: clock, free disk, paths of the job."""

from __future__ import annotations

import re
import shlex
import time

from claire.commands.check.job import Job
from claire.core.command.findings import Findings

#: Seconds that two clocks may differ: leases of the store and tokens of Kubernetes bear no more.
SKEW = 60


def site_paths(job: Job | None) -> list[tuple[str, str]]:
    """Return (input, path) of the data that a job names by their path at the site."""
    names = ("source", "labels", "slice_labels", "key")
    return [(name, str(job.value(name))) for name in names if job and isinstance(job.value(name), str)]


def readable(path: str) -> str:
    """Return the shell command that tells whether a file or directory can be read."""
    place = shlex.quote(path)
    return f"test -r {place} && {{ test ! -d {place} || ls {place} >/dev/null; }}"


def check_clock(now: str, begun: float, place: str, findings: Findings) -> None:
    """Add a warning if a clock is far from this machine's; `begun`: this machine's time before it was asked."""
    earliest, latest = begun - SKEW, time.time() + SKEW
    if now.isdigit() and not earliest <= int(now) <= latest:
        findings.warn(
            f"the clock {place} differs by {abs(int(now) - time.time()):.0f} s from this machine's: expected at most "
            f"{SKEW} s",
            "Set both by NTP: leases of the store and tokens of Kubernetes go by the time.",
        )


def free_bytes(text: str) -> int | None:
    """Return the free bytes in the last line of `df -Pk`; None if it is none."""
    kibibytes = re.search(r"\d+\s+\d+\s+(\d+)\s+\d+%", text)
    return int(kibibytes[1]) * 1024 if kibibytes else None
