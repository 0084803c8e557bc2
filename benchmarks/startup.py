"""Start-up time of light commands, against an interpreter that does nothing.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
GRID = ROOT / "configs/grids/claire-108.yml"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "claire --help": [sys.executable, "-m", "claire", "--help"],
    "claire index --help": [sys.executable, "-m", "claire", "index", "--help"],
    "claire plan --list (108 variants)": [
        sys.executable, "-m", "claire", "plan", "--grid", str(GRID), "--fold-count", "5", "--list",
    ],
}  # fmt: skip


def seconds(command: list[str]) -> float:
    """Return the wall time of one run of a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def main(runs: int = 7) -> None:
    """Time the commands in turn, so that a drift of the machine affects all alike, and print medians."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    base = statistics.median(times["python -c pass"][1:])
    print(f"{'command':36} {'median s':>9} {'above pass s':>15}")
    for name, measured in times.items():
        median = statistics.median(measured[1:])
        print(f"{name:36} {median:9.3f} {median - base:15.3f}")


if __name__ == "__main__":
    main()
