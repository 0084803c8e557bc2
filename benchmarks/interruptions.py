"""A run killed (SIGKILL) at random moments and begun again each time: what was done twice?

python benchmarks/interruptions.py job.yml --out results --kills 10 --latest 120

Give a job with a new `store`. A shard or run is done twice if its result lay in the store before the kill and its step
worked on it again after it.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import yaml

TAKEN = "already finished"
_LINE = re.compile(r"^(?:\[.*?\] )?\d\d:\d\d:\d\d claire (\w+)(?: (\S+))?: (.*)")
Name = tuple[str, str]


def finished(store: Path) -> set[Name]:
    """Return (step, stem) of each result in the store, by its record."""
    found = set()
    for path in store.glob("*/*/*.run.json"):
        if not path.parent.name.endswith(".new"):
            *stem, step, _, _ = path.name.split(".")
            found.add((step, ".".join(stem)))
    return found


def worked(log: Path) -> tuple[set[Name], set[Name]]:
    """Return what was taken from the store, and what was worked on, by the lines of a log."""
    taken, heard = set(), set()
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        if found := _LINE.match(line):
            name = (found[1], found[2] or "")
            heard.add(name)
            if found[3].startswith(TAKEN):
                taken.add(name)
    return taken, heard - taken


def attempt(job: Path, out: Path, seconds: float | None) -> tuple[float, int]:
    """Run, and kill after `seconds` if it still runs; return the seconds and the exit code."""
    begun = time.monotonic()
    process = subprocess.Popen(["claire", "run", str(job), "--out", str(out)], stdout=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return time.monotonic() - begun, process.returncode


def main() -> None:
    """Print a row per attempt: when it was killed, what it took from the store, did, and did twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--earliest", type=float, default=5.0, help="seconds")
    parser.add_argument("--latest", type=float, default=120.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    store = Path(yaml.safe_load(asked.job.read_text())["store"])
    moments = random.Random(asked.seed)
    print(f"{'attempt':>7} {'seconds':>8} {'exit':>5} {'in store':>9} {'taken':>6} {'worked':>7} {'done twice':>11}")
    for number in range(asked.kills + 1):
        before = finished(store)
        last = number == asked.kills
        seconds, code = attempt(asked.job, asked.out, None if last else moments.uniform(asked.earliest, asked.latest))
        taken, done = worked(asked.out / "log.txt")
        twice = {name for name in done & before if name[0] not in ("index", "plan")}
        print(
            f"{number + 1:7d} {seconds:8.1f} {code:5d} {len(before):9d} {len(taken):6d} {len(done):7d} "
            f"{len(twice):11d}  {' '.join(sorted('/'.join(name) for name in twice))}",
            flush=True,
        )
        if not last and code == 0:
            print("the run ended before its next kill")
            break


if __name__ == "__main__":
    main()
