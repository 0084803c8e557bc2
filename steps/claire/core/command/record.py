"""The record that each step writes last: parameters, inputs, outputs and source hash."""

from __future__ import annotations

import calendar
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

from pydantic import JsonValue

import claire
from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.command.files import make_directory, sha256_file, sha256_json

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
#: What differs at each execution of the same.
EACH_TIME = {"started", "seconds", "cpu_seconds", "peak_memory_mib", "host"}
REMEDY = "Give the *.run.json files as the steps wrote them; run the step that wrote this one again."


class Host(Part):
    """The machine that a step ran on, as far as it may affect a result; never its name."""

    system: str
    machine: str
    python: str


class StepRecord(Document):
    """`<stem>.<step>.run.json`: one execution of a step.

    `stem` is the shard, the run or "". `parameters` are the flags that affect the result; `inputs` and `outputs` map
    names of files to SHA-256. `source` is the hash of the package's source. Times, host and memory are None while the
    step is running; they are only in the record, so that the outputs are reproducible byte by byte.
    """

    step: str
    stem: str
    version: str
    source: str
    parameters: dict[str, JsonValue]
    inputs: dict[str, str]
    outputs: dict[str, str]
    counts: dict[str, int]
    facts: dict[str, JsonValue]
    started: str | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory_mib: float | None = None
    host: Host | None = None

    @property
    def name(self) -> str:
        """`<stem>.<step>`, or only the step without a stem: distinct within a run of the pipeline."""
        return ".".join(part for part in (self.stem, self.step) if part)

    @property
    def ended(self) -> str | None:
        """When the execution ended, ISO 8601 in UTC; None while it is running."""
        if self.started is None:
            return None
        start = calendar.timegm(time.strptime(self.started, TIME_FORMAT))
        return time.strftime(TIME_FORMAT, time.gmtime(start + (self.seconds or 0.0)))


def write_record(folder: Path, record: StepRecord) -> Path:
    """Write a record into `folder` under its own name."""
    return write_document(folder / f"{record.name}.run.json", record)


def read_record(path: Path) -> StepRecord:
    """Read a record. Raises ClaireError if it is not as a step wrote it."""
    return read_document(path, StepRecord, REMEDY)


def hash_input(path: Path) -> str:
    """Return the SHA-256 of an input; of a record without what differs at each execution: times, memory, host."""
    if not path.name.endswith(".run.json"):
        return sha256_file(path)
    return sha256_json(read_record(path).model_dump(mode="json", exclude=EACH_TIME))


@cache
def source_hash() -> str:
    """Return the SHA-256 of the installed package's source: part of every content key."""
    root = Path(claire.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Record:
    """Keeps the record of one execution of a step and writes it last, if the block succeeds.

    `stem` is the shard, the run or "". `parameters` are the flags that affect the result and hold no path of the
    machine; `inputs` maps the flag of an input file to the file (hashed here) or to its known hash.
    """

    def __init__(
        self, step: str, stem: str, out: Path, parameters: Mapping[str, Any], inputs: Mapping[str, Path | str]
    ) -> None:
        self.folder = out
        self.counts: Counter[str] = Counter()
        self.facts: dict[str, JsonValue] = {}
        self._outputs: dict[str, str] = {}
        self._head = StepRecord(
            step=step,
            stem=stem,
            version=claire.__version__,
            source=source_hash(),
            parameters=dict(parameters),
            inputs={name: sha256_file(value) if isinstance(value, Path) else value for name, value in inputs.items()},
            outputs={},
            counts={},
            facts={},
        )

    def __enter__(self) -> Record:
        self._started, self._clock = time.time(), time.monotonic()
        make_directory(self.folder, "--out")
        (self.folder / f"{self._head.name}.run.json").unlink(missing_ok=True)
        return self

    def output(self, path: Path, sha256: str | None = None) -> Path:
        """Add a finished output by name and hash; return its path."""
        self._outputs[path.name] = sha256 or sha256_file(path)
        return path

    def so_far(self) -> StepRecord:
        """Return the record of the step while it is running: without times."""
        state = {"outputs": dict(self._outputs), "counts": dict(self.counts), "facts": dict(self.facts)}
        return self._head.model_copy(update=state)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        end = {
            "started": time.strftime(TIME_FORMAT, time.gmtime(self._started)),
            "seconds": round(time.monotonic() - self._clock, 3),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_memory_mib": round(usage.ru_maxrss / 1024, 1),
            "host": Host(system=platform.system(), machine=platform.machine(), python=platform.python_version()),
        }
        write_record(self.folder, StepRecord.model_validate(self.so_far().model_dump() | end))
