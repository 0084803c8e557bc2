"""Find the series under a directory, choose one per acquisition and cut them into shards.

Headers alone are read, each once. Nothing is rejected here: series that are not chosen stand in the shards with the
reason. The shards hold paths and UIDs and stay at the site.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from claire.core.command.errors import ClaireError
from claire.core.command.parameters import InputDirectory, StepParameters, parameter
from claire.core.command.record import Record

if TYPE_CHECKING:
    from claire.index.choice import Rule, Verdict
    from claire.index.series import Line, Series

log = logging.getLogger("claire")

#: What a series that is not chosen weighs in a shard: a row in the rejects.
_IDLE_BYTES = 1


class Parameters(StepParameters):
    """Parameters of `claire index`."""

    source: InputDirectory = parameter(help="directory of DICOM series or NIfTI files")
    shards: int = parameter(4, help="shards to cut the series into", ge=1)
    max_thickness: float = parameter(3.0, help="slice thickness that a series should not exceed", unit="mm", gt=0)
    kernels: str = parameter(
        "", help="reconstruction kernels in order of preference, separated by commas; * is any text"
    )
    min_slices: int = parameter(20, help="slices that a series should have", ge=1)
    list: bool = parameter(
        False, help="print the series and what was chosen for people, and write nothing", for_people=True
    )


def run(parameters: Parameters) -> None:
    """Write the shards and the record, or print the table."""
    from claire.index.choice import Rule, choose
    from claire.index.series import find_series

    kernels = tuple(part.strip() for part in parameters.kernels.split(",") if part.strip())
    rule = Rule(parameters.max_thickness, kernels, parameters.min_slices)
    counts: Counter[str] = Counter()
    if parameters.list:
        series = _found(find_series(parameters.source, parameters.threads, counts), counts)
        print(table(series, choose(series, rule)))
        return
    with Record("index", "", parameters.out, parameters.recorded(), {}) as record:
        series = _found(find_series(parameters.source, parameters.threads, counts), counts)
        write_shards(parameters.out, series, rule, parameters.shards, record)
        record.counts.update(counts)


def _found(series: list[Series], counts: Counter[str]) -> list[Series]:
    if not any(one.header for one in series):
        raise ClaireError(
            f"--source holds no DICOM or NIfTI series ({counts['files']} files looked at, "
            f"{counts['unreadable']} damaged)",
            "Point --source to the directory that holds the series, and see that it is mounted and readable.",
        )
    return series


def write_shards(out: Path, series: Sequence[Series], rule: Rule, shards: int, record: Record) -> None:
    """Write `NNNN.shard.jsonl`, as many as asked for, balanced by the bytes of the chosen series."""
    from claire.index.choice import choose
    from claire.index.series import write_lines

    verdicts = choose(series, rule)
    for number, places in enumerate(cut(series, verdicts, shards)):
        lines = [_line(count, series[place], verdicts[place]) for count, place in enumerate(places)]
        record.output(write_lines(out / f"{number:04d}.shard.jsonl", lines))
    record.counts["series"] = len(series)
    record.counts["chosen"] = sum(verdict.chosen for verdict in verdicts)
    log.info("%d series, %d chosen, in %d shards", len(series), record.counts["chosen"], shards)


def cut(series: Sequence[Series], verdicts: Sequence[Verdict], shards: int) -> list[list[int]]:
    """Deal series to shards, largest owner first to the lightest shard; a patient's series keep together.

    Returns positions in `series`, ascending in each shard.
    """
    weight: Counter[tuple[str, ...]] = Counter()
    for one, verdict in zip(series, verdicts, strict=True):
        weight[one.owner] += one.bytes if verdict.chosen else _IDLE_BYTES
    loads, home = [0] * shards, {}
    for owner in sorted(weight, key=lambda owner: (-weight[owner], owner)):
        home[owner] = loads.index(min(loads))
        loads[home[owner]] += weight[owner]
    return [[place for place, one in enumerate(series) if home[one.owner] == shard] for shard in range(shards)]


def _line(number: int, one: Series, verdict: Verdict) -> Line:
    from claire.index.series import Line

    return Line(
        line=number,
        kind=one.kind,
        study_uid=one.header.study_uid if one.header else "",
        series_uid=one.header.series_uid if one.header else "",
        part=one.part,
        bytes=one.bytes,
        files=tuple(one.files),
        instances=one.instances,
        modality=one.header.modality if one.header else "",
        chosen=verdict.chosen,
        why=verdict.why,
        problem=one.problem,
    )


def table(series: Sequence[Series], verdicts: Iterable[Verdict]) -> str:
    """Return the series and verdicts as text for people at the site; it names series by UID or file."""
    rows = [("series", "modality", "slices", "mm", "cover mm", "kernel", "chosen", "why")]
    for one, verdict in zip(series, verdicts, strict=True):
        uid = one.header.series_uid if one.header else ""
        rows.append(
            (
                uid or one.files[0],
                one.header.modality if one.header else "",
                str(one.instances),
                f"{one.thickness_mm:g}" if one.thickness_mm < 1e6 else "",
                f"{one.extent_mm:.0f}",
                one.header.kernel if one.header else "",
                "yes" if verdict.chosen else "no",
                verdict.why,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    """Headers may hold control characters that would steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
