"""`NNNN.shard.jsonl`: the series of a shard, one per line, then their count. Identifying: stays at the site."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, ValidationError

from claire.core.command.documents import Document, first_fault
from claire.core.command.errors import ClaireError
from claire.core.command.files import only_for_owner, write_text

#: A format of `core.sources.formats`.
Kind = Annotated[str, Field(pattern="^[a-z0-9]+$")]
REMEDY = "Run `claire index` again."


class ListedSeries(Document):
    """One series: its files relative to the source, whether it was chosen, and why not.

    `part` counts different series that share a UID; `problem` says why no header could be read.
    """

    line: int
    kind: Kind
    study_uid: str
    series_uid: str
    part: int
    bytes: int
    files: tuple[str, ...]
    instances: int
    modality: str
    chosen: bool
    why: str
    problem: str

    @property
    def name(self) -> str:
        """The identifier behind the scan's pseudonym: the series UID, or the first file without one."""
        return (self.series_uid or f"file {min(self.files)}") + (f"#{self.part}" if self.part else "")


def write_shard_list(path: Path, series: Sequence[ListedSeries]) -> Path:
    """Write a shard list, for its owner alone to read: it identifies patients."""
    lines = [json.dumps(each.model_dump(mode="json"), sort_keys=True) for each in series]
    with only_for_owner():
        return write_text(path, "\n".join([*lines, _last_line(len(series))]) + "\n")


def read_shard_list(path: Path) -> list[ListedSeries]:
    """Read a shard list. Raises ClaireError if a line is damaged, missing or names a file outside the source."""
    *lines, last = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if last != _last_line(len(lines)):
        raise ClaireError(f"shard {path.name} is incomplete: its last line should count the lines", REMEDY)
    return [_parse(line, number, path.name) for number, line in enumerate(lines)]


def _last_line(count: int) -> str:
    return json.dumps({"lines": count})


def _parse(line: str, number: int, name: str) -> ListedSeries:
    try:
        series = ListedSeries.model_validate(json.loads(line))  # pydantic's JSON refuses names that are not UTF-8
    except (json.JSONDecodeError, RecursionError) as error:
        raise ClaireError(f"line {number} of shard {name} is not JSON", REMEDY) from error
    except ValidationError as error:
        raise ClaireError(f"line {number} of shard {name} is not valid: {first_fault(error)}", REMEDY) from error
    if any(_is_outside(file) for file in series.files):
        raise ClaireError(f"line {number} of shard {name} names a file outside the source", REMEDY)
    return series


def _is_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts
