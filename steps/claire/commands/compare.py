"""Compare the results of two runs of the pipeline.

Files are matched by name, wherever they lie under the two folders. Tables of the data steps must be equal byte by byte,
figures within a tolerance, records in what was done on which inputs. Ends with exit code 1 when something differs.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import sha256_file
from claire.core.command.parameters import InputDirectory, StepParameters, parameter
from claire.core.command.record import StepRecord, read_record
from claire.core.contracts.archive import ArchiveReader

#: A suffix that an engine adds where names collide: `x.json_2` (cwltool), `x-1.json` (StreamFlow).
ENGINE_SUFFIX = re.compile(r"_\d+$|-\d+(?=\.[^.]+$)")
#: Keys of a record that are compared, and parameters that depend on the machine.
RECORD_KEYS = {"schema_version", "step", "stem", "version", "counts"}
MACHINE_PARAMETERS = ("threads", "device")
REMEDY = "Run the step that wrote it again."
Table = list[list[str]]


@dataclass(frozen=True)
class Difference:
    """The first difference of two files, and the largest where numbers differ."""

    first: str
    largest: float | None = None

    def __str__(self) -> str:
        return self.first if self.largest is None else f"{self.first}; largest difference {self.largest:.3g}"


#: Compares two files within a tolerance; returns None where they are the same.
Comparison = Callable[[Path, Path, float], Difference | None]


@dataclass(frozen=True)
class Verdict:
    """The result for one file name: same, differs, left only, right only, or present where it is not compared."""

    name: str
    verdict: str
    detail: str = ""


class Parameters(StepParameters):
    """Parameters of `claire compare`."""

    left: InputDirectory = parameter(
        help="folder with the results of one run",
        details="Files are matched by name wherever they lie below; a suffix that an engine adds to equal names "
        "(`x.json_2`, `x-1.json`) is ignored.",
    )
    right: InputDirectory = parameter(
        help="folder with the results of the other", details="As --left; the order of the two does not matter."
    )
    tolerance: float = parameter(
        1e-6,
        help="largest difference of a number, relative above 1",
        details="On other hardware networks differ more: try 1e-3.",
        ge=0,
        lt=1,
    )


def run(parameters: Parameters) -> None:
    """Compare two folders and print one line per file. Raises ClaireError when something differs."""
    verdicts = list(compare(parameters.left, parameters.right, parameters.tolerance))
    if not verdicts:
        raise UsageError(
            "neither folder holds results of the pipeline", "Point --left and --right at folders of results."
        )
    width = max(len(verdict.name) for verdict in verdicts)
    for verdict in verdicts:
        sys.stdout.write(f"{verdict.name:<{width}}  {verdict.verdict:<10}  {verdict.detail}".rstrip() + "\n")
    counts = Counter(verdict.verdict for verdict in verdicts)
    sys.stdout.write(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) + "\n")
    different = len(verdicts) - counts["same"] - counts["present"]
    if different:
        raise ClaireError(
            f"{different} of {len(verdicts)} files differ",
            "The table above names the first difference of each. On other hardware a larger --tolerance may be fair.",
        )


def compare(left: Path, right: Path, tolerance: float) -> Iterator[Verdict]:
    """Yield the verdict of every file name of the pipeline under two folders."""
    left_files, right_files = result_files(left), result_files(right)
    for name in sorted({*left_files, *right_files}):
        if name not in right_files:
            yield Verdict(name, "left only")
        elif name not in left_files:
            yield Verdict(name, "right only")
        else:
            yield _verdict(name, left_files[name], right_files[name], tolerance)


def _verdict(name: str, left: list[Path], right: list[Path], tolerance: float) -> Verdict:
    comparison = next(comparison for pattern, comparison in WAYS.items() if fnmatch(name, pattern))
    if len(left) != len(right):
        return Verdict(name, "differs", f"{len(left)} files of this name against {len(right)}")
    if comparison is None:
        return Verdict(name, "present", "in both folders, content not compared")
    differences = [comparison(*paths, tolerance) for paths in zip(left, right, strict=True)]
    first = next((difference for difference in differences if difference), None)
    if first:
        return Verdict(name, "differs", str(first))
    return Verdict(name, "same", "names of the members" if comparison is same_members else "")


def result_files(folder: Path) -> dict[str, list[Path]]:
    """Return the pipeline's results by name without the engine's suffix; hidden and foreign files are left out."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        name = path.name if _known(path.name) else ENGINE_SUFFIX.sub("", path.name)
        if path.is_file() and not path.name.startswith(".") and _known(name):
            files[name].append(path)
    return dict(files)


def _known(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in WAYS)


def same_bytes(left: Path, right: Path, _: float) -> Difference | None:
    """Compare byte by byte."""
    return None if sha256_file(left) == sha256_file(right) else Difference("different bytes")


def same_table(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare two CSV tables cell by cell, numbers within the tolerance."""
    return _same_rows(
        _read_table(left.read_text(encoding="utf-8")), _read_table(right.read_text(encoding="utf-8")), tolerance
    )


def _read_table(text: str) -> Table:
    return list(csv.reader(io.StringIO(text, newline="")))


def _same_rows(left: Table, right: Table, tolerance: float) -> Difference | None:
    if left[:1] != right[:1]:
        return Difference("different columns")
    if len(left) != len(right):
        return Difference(f"{len(left) - 1} rows against {len(right) - 1}")
    return same_values(_cells(left), _cells(right), tolerance)


def _cells(table: Table) -> dict[str, object]:
    return {
        f"row {number}, {column}": _parsed(cell)
        for number, row in enumerate(table)
        for column, cell in zip(table[0], row, strict=False)
    }


def _parsed(cell: str) -> object:
    try:
        return float(cell)
    except ValueError:
        return cell


def same_document(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare two JSON documents, numbers within the tolerance."""
    return same_values(_load(left), _load(right), tolerance)


def same_record(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare two records but for time, host, memory, hashes and parameters of the machine."""
    return same_values(_reproducible(read_record(left)), _reproducible(read_record(right)), tolerance)


def _reproducible(record: StepRecord) -> dict[str, Any]:
    """Return the part of a record that must be equal; of inputs and outputs their names."""
    parameters = {name: value for name, value in record.parameters.items() if name not in MACHINE_PARAMETERS}
    return record.model_dump(mode="json", include=RECORD_KEYS) | {
        "parameters": parameters,
        "inputs": sorted(record.inputs),
        "outputs": sorted(record.outputs),
    }


def same_members(left: Path, right: Path, _: float) -> Difference | None:
    """Compare the names of the members of two archives."""
    unmatched = set(_members(left)) ^ set(_members(right))
    return Difference(f"member {min(unmatched)} is in one archive only") if unmatched else None


def same_predictions(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare the predictions of two archives of a run within the tolerance, and the names of their members."""
    if not all("predictions.csv" in _members(path) for path in (left, right)):
        return Difference("no predictions.csv")
    left_table, right_table = (_read_table(_read_member(path, "predictions.csv")) for path in (left, right))
    return same_members(left, right, tolerance) or _same_rows(left_table, right_table, tolerance)


def same_values(left: Any, right: Any, tolerance: float) -> Difference | None:
    """Compare two JSON values; numbers may differ by the tolerance, relative to the larger one above 1."""
    first, largest = "", None
    for location, left_leaf, right_leaf in _leaves("", left, right):
        distance = _distance(left_leaf, right_leaf)
        if distance is None or distance > tolerance:
            first = first or f"{location or 'value'}: {_short(left_leaf)} against {_short(right_leaf)}"
            largest = max(distance, largest or 0.0) if distance is not None else largest
    return Difference(first, largest) if first else None


def _leaves(location: str, left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the values at equal locations; containers of different shape are leaves."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from _leaves(f"{location}.{key}" if location else str(key), left[key], right[key])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for i, items in enumerate(zip(left, right, strict=True)):
            yield from _leaves(f"{location}[{i}]", *items)
    else:
        yield location, left, right


def _distance(left: Any, right: Any) -> float | None:
    """Return the distance of two leaves: 0 where they are equal, None where they are not two numbers."""
    if left == right and type(left) is type(right):
        return 0.0
    if not (_is_number(left) and _is_number(right)):
        return None
    distance = abs(left - right) / max(1.0, abs(left), abs(right))
    # Two NaN are equal here; one is infinitely far from a number.
    return distance if distance == distance else (0.0 if left != left and right != right else float("inf"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "…"


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClaireError(f"{path.name} is not a JSON document", REMEDY) from error


def _read_member(path: Path, name: str) -> str:
    with ArchiveReader(path, REMEDY) as archive:
        return archive.read(name).decode("utf-8")


def _members(path: Path) -> list[str]:
    with ArchiveReader(path, REMEDY) as archive:
        return archive.names()


#: The comparison of each kind of result; the first pattern that matches counts. None: only its presence is compared.
WAYS: dict[str, Comparison | None] = {
    "*.run.json": same_record,
    "*.run.zip": same_predictions,
    "scans.csv": same_bytes,
    "folds.csv": same_bytes,
    "rejects.csv": same_bytes,
    "*.rejects.csv": same_bytes,
    "cohort.json": same_bytes,
    "cohort.h5": same_bytes,
    "plan.json": same_bytes,
    "*.variant.json": same_bytes,
    "*.shard.jsonl": same_bytes,
    "*.scans.zip": same_bytes,
    "*.lungs.zip": same_bytes,
    "*.prepared.h5": same_bytes,
    "leaderboard.csv": same_table,
    "comparisons.csv": same_table,
    "curves.csv": same_table,
    "*.lesions.csv": same_table,
    "metrics.json": same_document,
    "winner.json": same_document,
    "*.lesions.json": same_document,
    "*.overlays.zip": same_members,
    "*.saliency.zip": same_members,
    "*.safetensors": None,
    "*.model.zip": None,
    "report.html": None,
    "ro-crate-metadata.json": None,
}
