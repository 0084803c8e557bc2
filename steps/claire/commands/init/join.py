"""Labels of a table of the user's, joined to the patients: exactly, else by case and leading zeros, and said so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from claire.commands.init.patients import Patient, stem_of
from claire.core.command.errors import UsageError
from claire.core.command.tables import plain, read_csv
from claire.core.contracts.labels import KEYS

#: Columns of free text that are taken along under their own name.
ALONG = ("reference_standard", "site")
LOOSE = "case or leading zeros differ"


@dataclass
class Joined:
    """What a join found; `labels` and `matches` (row key, how) by patient name.

    `contradicting`: patients whose rows disagree; `rows` and below count rows of the table; `left_out`: its columns.
    """

    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    matches: dict[str, str] = field(default_factory=dict)
    loose: int = 0
    contradicting: list[str] = field(default_factory=list)
    rows: int = 0
    unlabelled_rows: int = 0
    unmatched_rows: int = 0
    left_out: tuple[str, ...] = ()


def join(patients: Sequence[Patient], table: Path, key_column: str, label_column: str) -> Joined:
    """Return the labels that a table has for the patients. Raises UsageError on a column that is not there."""
    rows = read_csv(table, (), "table of --labels-from", delimiter_of(table))
    if not rows:
        raise UsageError(f"the table of --labels-from {table.name} has no rows", "Give a table with a header line.")
    key = _column(table, "--key-column", key_column, rows[0], [name for name in KEYS if name in rows[0]])
    label = _column(table, "--label-column", label_column, rows[0], [])
    joined = Joined(
        rows=len(rows),
        unlabelled_rows=sum(not (row[key] and row[label]) for row in rows),
        left_out=tuple(name for name in rows[0] if name not in (key, label, *ALONG)),
    )
    names = _owners(patients, str)
    loose_names = _owners(patients, loosely)
    of_patient: dict[str, list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
    for row in rows:
        if not (row[key] and row[label]):
            continue
        value = plain(row[key])
        owners, how = names.get(value, set()), ""
        if not owners:
            owners, how = _single(loose_names.get(loosely(value))), f" ({LOOSE})"
        joined.unmatched_rows += not owners
        for owner in owners:
            of_patient[owner].append((f"{row[key]}{how}", row))
    for name, found in of_patient.items():
        _take(joined, name, found, label)
    return joined


def _take(joined: Joined, name: str, found: Sequence[tuple[str, Mapping[str, str]]], label: str) -> None:
    """Take the label of a patient, an exact match before a loose one; rows that disagree give none."""
    exact = [each for each in found if not each[0].endswith(f" ({LOOSE})")]
    used = exact or found
    labels = {plain(row[label]) for _, row in used}
    if len(labels) > 1 or (not exact and len({match for match, _ in used}) > 1):
        joined.contradicting.append(name)
        return
    match, row = used[0]
    joined.loose += not exact
    joined.matches[name] = match
    joined.labels[name] = {"label": labels.pop(), **{each: plain(row[each]) for each in ALONG if row.get(each)}}


def delimiter_of(table: Path) -> str:
    """Return the sign that separates the cells of a table: the most frequent of tab, semicolon and comma in line 1."""
    with table.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline()
    return max(",\t;", key=header.count)


def _column(table: Path, flag: str, given: str, row: Mapping[str, str], usual: Sequence[str]) -> str:
    if given in row:
        return given
    if not given and len(usual) == 1:
        return usual[0]
    near = get_close_matches(given.casefold(), {name.casefold(): name for name in row}, n=2, cutoff=0.5)
    names = {name.casefold(): name for name in row}
    hint = f" (did you mean {' or '.join(names[each] for each in near)}?)" if near else ""
    wrong = f"has no column '{given}'{hint}" if given else f"has no key column of {', '.join(KEYS)}, or several"
    raise UsageError(
        f"the table of --labels-from {table.name} {wrong}; it has: {', '.join(row)}",
        f"Name the column with {flag}.",
    )


def _owners(patients: Iterable[Patient], form: Callable[[str], str]) -> dict[str, set[str]]:
    """Return patient names by all names that a table may use for them; a name of several patients has several."""
    owners: dict[str, set[str]] = defaultdict(set)
    for patient in patients:
        for name in names_of(patient):
            owners[form(name)].add(patient.name)
    return owners


def names_of(patient: Patient) -> set[str]:
    """Return the patient's name and IDs, UIDs of studies and series, paths, folders and file names of scans."""
    names = {patient.name}
    for series, _ in patient.scans:
        header = series.header
        if header is None:
            continue
        names |= {header.study_uid, header.series_uid, *series.files} | (
            {header.patient_id} if patient.has_id else set()
        )
        if len(series.files) == 1 and not series.no_scan:
            names |= {PurePosixPath(series.files[0]).name, stem_of(series)}
    for series in patient.chosen:
        names |= {str(folder) for name in series.files for folder in PurePosixPath(name).parents}
    return names - {"", "."}


def loosely(name: str) -> str:
    """Return a name without case, blanks, leading zeros of its numbers, and a `.0` that spreadsheets add."""
    text = re.sub(r"\s+", "", name.casefold())
    text = re.sub(r"^(\d+)\.0$", r"\1", text)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)


def _single(owners: set[str] | None) -> set[str]:
    return owners if owners and len(owners) == 1 else set()
