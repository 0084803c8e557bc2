"""Many trainings through a site, unattended, with three faults on the way: how long, and what each costs.

python benchmarks/day.py job.yml --site site.yml --out results

The grid of the job says how many trainings: `--trainings` is their number. A running job is cancelled when a fifth
is done, the driver is killed (SIGKILL) at two fifths and started again, the pods of the run are deleted at three.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from claire.commands.run.at_site import LABEL, open_run
from claire.commands.run.state import SCRATCH, read_state
from claire.commands.site.reach import Unreachable, at_login, kubectl
from claire.core.command.errors import ClaireError
from claire.core.command.record import read_record

#: Seconds between two looks.
EVERY = 5.0
_DONE = re.compile(r"claire train (\S+): test scans predicted")


def done(out: Path) -> set[str]:
    """Return the trainings that the logs of all attempts call done."""
    logs = (path.read_text(errors="replace") for path in out.glob("log*.txt"))
    return {name for text in logs for name in _DONE.findall(text)}


def memory(out: Path) -> float:
    """Return the resident memory of the engine in MiB, 0 if none runs."""
    try:
        status = Path(f"/proc/{read_state(out).engine}/status").read_text()
    except (ClaireError, OSError):
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


class Day:
    """A run that is watched: its most memory and job folders, and its attempts."""

    def __init__(self, job: Path, site: Path, out: Path) -> None:
        self.command = ["claire", "run", str(job), "--site", str(site), "--out", str(out), "--attempts", "6"]
        self.out, self.at_site = out, open_run(site, out / SCRATCH)
        self.most_memory, self.most_folders, self.ended = 0.0, 0, threading.Event()
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the driver."""
        return subprocess.Popen(self.command, stdout=(self.out / "said.txt").open("ab"), stderr=subprocess.STDOUT)

    def watch(self) -> None:
        """Keep the highest readings until the run has ended."""
        while not self.ended.wait(EVERY):
            self.most_memory = max(self.most_memory, memory(self.out))
            try:
                for queue in self.at_site.site.queues:
                    count = at_login(queue.login, f"ls '{queue.workdir}/{self.at_site.name}' 2>/dev/null | wc -l\n")
                    self.most_folders = max(self.most_folders, int(count))
            except Unreachable:
                continue

    def cancel_a_job(self) -> None:
        """Cancel one running job, as an administrator would."""
        for queue in self.at_site.site.queues:
            running = [number for number, state in self.at_site.jobs(queue).items() if state == "RUNNING"]
            if running:
                at_login(queue.login, f"scancel {running[0]}\n")
                return

    def kill_the_driver(self) -> None:
        """Kill the driver with its engine and start the same command again."""
        engine = read_state(self.out).engine
        for number in (self.process.pid, engine):
            subprocess.run(["kill", "-KILL", str(number)], check=False)
        self.process.wait()
        self.process = self.start()

    def delete_a_pod(self) -> None:
        """Delete the pods of the run."""
        for pods in self.at_site.site.pods:
            kubectl(pods, ["delete", "pod", f"--selector={LABEL}={self.at_site.name}", "--force", "--grace-period=0"])

    def faults(self, trainings: int) -> Iterator[tuple[int, str, Callable[[], None]]]:
        """Yield at how many trainings done which fault is thrown."""
        yield trainings // 5, "a running job cancelled", self.cancel_a_job
        yield 2 * trainings // 5, "the driver killed and started again", self.kill_the_driver
        yield 3 * trainings // 5, "the pods deleted", self.delete_a_pod


def main() -> int:
    """Print what happened when, and the figures of the day; return the exit code of the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--trainings", type=int, required=True)
    asked = parser.parse_args()
    out = asked.out.resolve()
    (out / SCRATCH).mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    day = Day(asked.job, asked.site, out)
    signal.signal(signal.SIGTERM, lambda *_: (day.process.terminate(), sys.exit(1)))
    watcher = threading.Thread(target=day.watch, daemon=True)
    watcher.start()
    for count, title, fault in day.faults(asked.trainings):
        while len(done(out)) < count and day.process.poll() is None:
            time.sleep(EVERY)
        if day.process.poll() is not None:
            break
        print(f"{time.monotonic() - begun:7.0f} s  {len(done(out)):4d} trainings done: {title}", flush=True)
        fault()
    code = day.process.wait()
    day.ended.set()
    watcher.join()
    wall = time.monotonic() - begun
    records = [read_record(path) for path in out.rglob("*.train.run.json") if "earlier" not in str(path)]
    worked = sum(record.seconds or 0.0 for record in records)
    free = shutil.disk_usage(out).free / 2**30
    figures = {
        "exit code": code,
        "trainings": len(records),
        "wall clock, s": round(wall),
        "wall clock a training, s": round(wall / max(1, len(records)), 1),
        "work of a training as its record has it, s": round(worked / max(1, len(records)), 2),
        "most memory of the engine, MiB": round(day.most_memory),
        "most job folders at once": day.most_folders,
        "attempts": len([*out.glob("log*.txt")]),
        "disk free here, GiB": round(free, 1),
    }
    print(json.dumps(figures, indent=1))
    return code


if __name__ == "__main__":
    sys.exit(main())
