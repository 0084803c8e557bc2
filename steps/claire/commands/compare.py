"""Compare the results of two runs of the pipeline.

Files are matched by name, wherever they lie under the two folders. Tables of the data steps must be equal byte by byte,
figures within a tolerance, records in what was done on what. Ends with exit code 1 when something differs.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import sha256_file
from claire.core.command.parameters import InputDirectory, StepParameters, parameter

#: A suffix that an engine adds where names collide: `x.json_2` (cwltool), `x-1.json` (StreamFlow).
ENGINE_SUFFIX = re.compile(r"_\d+$|-\d+(?=\.[^.]+$)")
WHAT_WAS_DONE = ("schema_version", "step", "stem", "version", "parameters", "counts")
OF_THE_MACHINE = ("threads", "device")


@dataclass(frozen=True)
class Difference:
    """Where two files differ first, and by how much at most where it is numbers that differ."""

    where: str
    largest: float | None = None

    def __str__(self) -> str:
        return self.where if self.largest is None else f"{self.where}; largest difference {self.largest:.3g}"


Comparison = Callable[[Path, Path, float], Difference | None]


class Parameters(StepParameters):
    """Parameters of `claire compare`."""

    left: InputDirectory = parameter(help="folder with the results of one run")
    right: InputDirectory = parameter(help="folder with the results of the other")
    tolerance: float = parameter(1e-6, help="largest difference of a number, relative above 1", ge=0, lt=1)


def run(parameters: Parameters) -> None:
    """Compare two folders and print a line a file. Raises ClaireError when something differs."""
    rows = list(compare(parameters.left, parameters.right, parameters.tolerance))
    if not rows:
        raise UsageError(
            "neither folder holds results of the pipeline", "Point --left and --right at folders of results."
        )
    width = max(len(name) for name, _, _ in rows)
    for name, verdict, detail in rows:
        sys.stdout.write(f"{name:<{width}}  {verdict:<10}  {detail}".rstrip() + "\n")
    tally = Counter(verdict for _, verdict, _ in rows)
    sys.stdout.write(", ".join(f"{count} {verdict}" for verdict, count in sorted(tally.items())) + "\n")
    unlike = len(rows) - tally["same"] - tally["there"]
    if unlike:
        raise ClaireError(
            f"{unlike} of {len(rows)} files differ",
            "The table above says where. On other hardware a larger --tolerance may be fair.",
        )


def compare(left: Path, right: Path, tolerance: float) -> Iterator[tuple[str, str, str]]:
    """Yield (name, verdict, detail) of every stable file under two folders.

    The verdict is same, differs, left only, right only, or there where files are not looked into.
    """
    sides = [stable_files(left), stable_files(right)]
    for name in sorted({*sides[0], *sides[1]}):
        ours, theirs = (side.get(name, []) for side in sides)
        if not ours or not theirs:
            yield name, "right only" if theirs else "left only", ""
        elif len(ours) != len(theirs):
            yield name, "differs", f"{len(ours)} files of this name against {len(theirs)}"
        elif (how := way(name)) is None:
            yield name, "there", "on both sides, not looked into"
        else:
            found = [how(a, b, tolerance) for a, b in zip(ours, theirs, strict=True)]
            differences = [difference for difference in found if difference]
            alike = "names of the members" if how is same_members else ""
            yield name, "differs" if differences else "same", str(differences[0]) if differences else alike


def stable_files(folder: Path) -> dict[str, list[Path]]:
    """Return the pipeline's results by name without the engine's suffix; hidden and foreign files are left out."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        name = path.name if _known(path.name) else ENGINE_SUFFIX.sub("", path.name)
        if path.is_file() and not path.name.startswith(".") and _known(name):
            found[name].append(path)
    return dict(found)


def way(name: str) -> Comparison | None:
    """Return how files of this name are compared; None where it is enough that they are there."""
    return next(how for pattern, how in WAYS.items() if fnmatch(name, pattern))


def _known(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in WAYS)


def same_bytes(left: Path, right: Path, _: float) -> Difference | None:
    """Compare byte by byte."""
    return None if sha256_file(left) == sha256_file(right) else Difference("other bytes")


def same_table(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare two CSV tables cell by cell, numbers within the tolerance."""
    with left.open(newline="", encoding="utf-8") as ours, right.open(newline="", encoding="utf-8") as theirs:
        return _same_rows(list(csv.reader(ours)), list(csv.reader(theirs)), tolerance)


def _same_rows(ours: list[list[str]], theirs: list[list[str]], tolerance: float) -> Difference | None:
    if ours[:1] != theirs[:1]:
        return Difference("other columns")
    if len(ours) != len(theirs):
        return Difference(f"{len(ours) - 1} lines against {len(theirs) - 1}")
    named = [
        {
            f"line {i}, {column}": _parsed(cell)
            for i, row in enumerate(rows)
            for column, cell in zip(rows[0], row, strict=False)
        }
        for rows in (ours, theirs)
    ]
    return same_values(*named, tolerance)


def _parsed(cell: str) -> object:
    try:
        return float(cell)
    except ValueError:
        return cell


def same_document(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare two JSON documents, numbers within the tolerance."""
    return same_values(_load(left), _load(right), tolerance)


def same_record(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare what two records say was done; time, host, memory and hashes are not compared."""
    return same_values(_what_was_done(_load(left)), _what_was_done(_load(right)), tolerance)


def _what_was_done(record: Any) -> dict[str, Any]:
    kept = {name: record.get(name) for name in WHAT_WAS_DONE}
    kept["parameters"] = {k: v for k, v in (kept["parameters"] or {}).items() if k not in OF_THE_MACHINE}
    return kept | {name: sorted(record.get(name) or {}) for name in ("inputs", "outputs")}


def same_members(left: Path, right: Path, _: float) -> Difference | None:
    """Compare the names of the members of two archives."""
    ours, theirs = (set(_archive(path).namelist()) for path in (left, right))
    return None if ours == theirs else Difference(f"member {min(ours ^ theirs)} is in one archive only")


def same_predictions(left: Path, right: Path, tolerance: float) -> Difference | None:
    """Compare the predictions of two archives of a run within the tolerance, and the names of their members."""
    tables = []
    for path in (left, right):
        try:
            text = _archive(path).read("predictions.csv").decode()
        except KeyError:
            return Difference("no predictions.csv")
        tables.append(list(csv.reader(text.splitlines())))
    return same_members(left, right, tolerance) or _same_rows(*tables, tolerance)


def same_values(left: Any, right: Any, tolerance: float) -> Difference | None:
    """Compare two JSON values; numbers may differ by the tolerance, relative to the larger one above 1."""
    first, largest = "", None
    for where, ours, theirs in _walk("", left, right):
        gap = _gap(ours, theirs)
        if gap is None or gap > tolerance:
            first = first or f"{where or 'value'}: {_short(ours)} against {_short(theirs)}"
            largest = max(gap, largest or 0.0) if gap is not None else largest
    return Difference(first, largest) if first else None


def _walk(where: str, left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from _walk(f"{where}.{key}" if where else str(key), left[key], right[key])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for i, (ours, theirs) in enumerate(zip(left, right, strict=True)):
            yield from _walk(f"{where}[{i}]", ours, theirs)
    else:
        yield where, left, right


def _gap(left: Any, right: Any) -> float | None:
    """Return how far two leaves are apart: 0 where they are equal, None where they are no two numbers."""
    if left == right and type(left) is type(right):
        return 0.0
    numbers = [value for value in (left, right) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2:
        return None
    gap = abs(left - right) / max(1.0, abs(left), abs(right))
    # Two NaN are equal here; one is infinitely far from a number.
    return gap if gap == gap else (0.0 if left != left and right != right else float("inf"))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "…"


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClaireError(f"{path.name} is no JSON document", "Run the step that wrote it again.") from error


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ClaireError(f"{path.name} is no zip archive", "Run the step that wrote it again.") from error


#: How each kind of result is compared; the first pattern that fits counts. None: it is enough that it is there.
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
    "report.html": None,
    "ro-crate-metadata.json": None,
}
