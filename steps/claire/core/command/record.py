"""The record that each step writes last: what was done, on what, by which source."""

from __future__ import annotations

import hashlib
import platform
import resource
import time
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import claire
from claire.core.command.files import sha256_file, write_json

SCHEMA_VERSION = 1


@cache
def source_hash() -> str:
    """Return the SHA-256 of the installed package's source: part of every content key."""
    root = Path(claire.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Record:
    """The record of one execution of a step, written last as `<stem>.<step>.run.json` when the block ends well.

    `stem` is the shard, the run or "". `parameters` are the flags that shaped the result and hold no path of the
    machine; `inputs` maps the flag of an input file to the file (hashed here) or to a hash that is known already.
    Time, host and memory stand in the record alone, so that the outputs are reproducible byte by byte.
    """

    def __init__(
        self, step: str, stem: str, out: Path, parameters: Mapping[str, Any], inputs: Mapping[str, Path | str]
    ) -> None:
        self.path = out / ".".join(part for part in (stem, step, "run.json") if part)
        self.counts: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self._head = {
            "schema_version": SCHEMA_VERSION,
            "step": step,
            "stem": stem,
            "version": claire.__version__,
            "source": source_hash(),
            "parameters": dict(parameters),
            "inputs": {
                name: sha256_file(value) if isinstance(value, Path) else value for name, value in inputs.items()
            },
        }
        self._outputs: dict[str, str] = {}

    def __enter__(self) -> Record:
        self._started, self._clock = time.time(), time.monotonic()
        self.path.unlink(missing_ok=True)
        return self

    def output(self, path: Path, sha256: str | None = None) -> Path:
        """Note a finished output by name and hash; return its path."""
        self._outputs[path.name] = sha256 or sha256_file(path)
        return path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        write_json(
            self.path,
            {
                **self._head,
                "outputs": self._outputs,
                "counts": dict(self.counts),
                "facts": self.facts,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
                "seconds": round(time.monotonic() - self._clock, 3),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
                "peak_memory_mib": round(usage.ru_maxrss / 1024, 1),
                "host": {
                    "system": platform.system(),
                    "machine": platform.machine(),
                    "python": platform.python_version(),
                },
            },
        )
