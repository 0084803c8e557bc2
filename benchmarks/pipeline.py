"""Time and memory of a run of the pipeline by step, from the records among its results.

python benchmarks/pipeline.py demo/results
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def _records(results: Path) -> Iterator[Path]:
    """Yield the records of a run as `claire run` arranges them, or as an engine leaves them."""
    arranged = results / "provenance"
    return arranged.rglob("*.run.json") if arranged.is_dir() else results.glob("*.run.json")


def main(results: Path) -> None:
    """Print one row per step: executions, total and longest seconds, and the largest peak memory."""
    steps: dict[str, list[dict]] = defaultdict(list)
    for path in sorted(_records(results)):
        record = json.loads(path.read_text())
        steps[record["step"]].append(record)
    if not steps:
        sys.exit(f"there is no record (*.run.json) in {results}")
    print(f"{'step':12} {'runs':>5} {'seconds':>9} {'longest':>9} {'CPU s':>9} {'peak MiB':>9}")
    for step, records in sorted(steps.items(), key=lambda item: min(r["started"] for r in item[1])):
        seconds = [record["seconds"] for record in records]
        cpu, peak = sum(r["cpu_seconds"] for r in records), max(r["peak_memory_mib"] for r in records)
        print(f"{step:12} {len(records):5d} {sum(seconds):9.1f} {max(seconds):9.1f} {cpu:9.1f} {peak:9.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/results"))
