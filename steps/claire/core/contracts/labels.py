"""`labels.csv`: labels of patients, studies, series or paths, and labels of single slices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Literal

from claire.core.command.errors import RejectedScan, UsageError
from claire.core.command.tables import plain, read_csv, write_csv
from claire.core.contracts.folds import FIXED_SPLITS, TableSplit

KEYS = ("patient_id", "study_uid", "series_uid", "path")
COLUMNS = ("label", "patient", "reference_standard", "label_date", "split", "site", "sex", "age")
Sex = Literal["", "M", "F", "O"]
_SLICE_COLUMNS = ("slice", "sop_uid", "label")
_SPLITS: dict[str, TableSplit] = {"": "", **{split: split for split in FIXED_SPLITS}}
_SEXES: dict[str, Sex] = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O", "": ""}


@dataclass(frozen=True)
class Names:
    """The names of a series at the site: one value per key column; `paths` are its files, relative to the source."""

    patient_id: str
    study_uid: str
    series_uid: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """A row of the table; empty or None if the table has no value. `age` in years, `sex` M, F or O."""

    label: str
    patient: str = ""
    reference_standard: str = ""
    label_date: date | None = None
    split: TableSplit = ""
    site: str = ""
    sex: Sex = ""
    age: float | None = None


@dataclass(frozen=True)
class LabelTable:
    """Labels by the values of one key column; `lines` are those of the file, by the same values."""

    key: str
    rows: Mapping[str, Label]
    lines: Mapping[str, int]

    def find(self, names: Names) -> Label | None:
        """Return the row of a series, None if there is none or it has no label."""
        row = next((self.rows[value] for value in _values(self.key, names) if value in self.rows), None)
        return row if row and row.label else None

    def matches(self, names: Names) -> list[str]:
        """Return the values of the key column that match a series, the most specific first."""
        return [value for value in _values(self.key, names) if value in self.rows]


@dataclass(frozen=True)
class SliceTable:
    """Labels of slices by the values of one key column; the inner key is a position in the sorted scan or a SOP UID.

    `lines` are the first ones of the file, by the values of the key column.
    """

    key: str
    rows: Mapping[str, Mapping[int | str, str]]
    lines: Mapping[str, int]

    def matches(self, names: Names) -> list[str]:
        """Return the values of the key column that match a series, the most specific first."""
        return [value for value in _values(self.key, names) if value in self.rows]

    def find(self, names: Names, sop_uids: Iterable[str], count: int) -> list[str | None] | None:
        """Return a class name or None for each of `count` sorted slices; None if no slice is labelled.

        Raises RejectedScan (`inconsistent`) if a label names a slice that the scan does not have.
        """
        row = next((self.rows[value] for value in _values(self.key, names) if value in self.rows), None)
        if not row:
            return None
        position = {uid: number for number, uid in enumerate(sop_uids) if uid}
        labels: list[str | None] = [None] * count
        for name, label in row.items():
            number = position.get(name, -1) if isinstance(name, str) else name
            if not 0 <= number < count:
                raise RejectedScan("inconsistent", "a slice label names a slice that the scan does not have")
            labels[number] = label
        return labels


def _values(key: str, names: Names) -> Iterable[str]:
    """Yield the values of a key column that match a series, the most specific first."""
    if key != "path":
        yield getattr(names, key)
        return
    yield from names.paths
    parents = {path.rpartition("/")[0] for path in names.paths} - {""}
    folders = {str(folder) for parent in parents for folder in (PurePosixPath(parent), *PurePosixPath(parent).parents)}
    folders.discard(".")
    yield from sorted(folders, key=lambda folder: (-folder.count("/"), folder))


def write_labels(path: Path, key: str, rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> Path:
    """Write a table of labels: the key column, `label` and `columns`. Raises ValueError on a column it cannot have."""
    names = (key, "label", *columns)
    unknown = [name for name in names if name not in (*KEYS, *COLUMNS)]
    if unknown or key not in KEYS:
        raise ValueError(f"a table of labels has no column {', '.join(unknown) or key}")
    return write_csv(path, names, rows)


def read_labels(path: Path) -> LabelTable:
    """Read the table of labels. Raises UsageError; naming lines and columns, never a value of the key column."""
    what = "table of labels"
    rows = read_csv(path, ["label"], what)
    what = f"{what} {path.name}"
    key = _key_column(rows, COLUMNS, what)
    lines: dict[str, int] = {}
    labels: dict[str, Label] = {}
    for line, row in enumerate(rows, start=2):
        name, label = _key(plain(row[key]), key), _label(row, f"line {line} of the {what}")
        if not name:
            raise UsageError(f"line {line} of the {what} has no {key}", "Fill it in, or remove the line.")
        if labels.setdefault(name, label) != label:
            raise UsageError(
                f"line {line} of the {what} contradicts an earlier line with the same {key}",
                "Keep one line per key.",
            )
        lines.setdefault(name, line)
    return LabelTable(key, labels, lines)


def read_slice_labels(path: Path) -> SliceTable:
    """Read the table of slice labels: a key column, `slice` (from 0) or `sop_uid`, and `label`. Raises UsageError."""
    what = "table of slice labels"
    rows = read_csv(path, ["label"], what)
    what = f"{what} {path.name}"
    key = _key_column(rows, _SLICE_COLUMNS, what)
    column = "slice" if rows and "slice" in rows[0] else "sop_uid"
    if rows and ("slice" in rows[0]) == ("sop_uid" in rows[0]):
        raise UsageError(f"the {what} needs one column of slice and sop_uid", "Name each slice in one way.")
    lines: dict[str, int] = {}
    labels: dict[str, dict[int | str, str]] = {}
    for line, row in enumerate(rows, start=2):
        if not row["label"]:
            continue
        if column == "slice" and not row["slice"].isdecimal():
            raise UsageError(
                f"line {line} of the {what}: slice is not an integer from 0", "Count sorted slices from 0."
            )
        slice_key = int(row["slice"]) if column == "slice" else row["sop_uid"]
        if labels.setdefault(_key(row[key], key), {}).setdefault(slice_key, row["label"]) != row["label"]:
            raise UsageError(f"line {line} of the {what} contradicts an earlier line", "Keep one line per slice.")
        lines.setdefault(_key(row[key], key), line)
    return SliceTable(key, labels, lines)


def _key_column(rows: list[dict[str, str]], known: Iterable[str], what: str) -> str:
    if not rows:
        raise UsageError(f"the {what} has no rows", "Add a row for each patient, study, series or path.")
    columns = [*rows[0]]
    unknown = [name for name in columns if name not in (*KEYS, *known)]
    if unknown:
        raise UsageError(
            f"the {what} has unknown columns: {', '.join(unknown)}",
            f"Known columns: one of {', '.join(KEYS)}; and {', '.join(known)}.",
        )
    keys = [name for name in columns if name in KEYS]
    if len(keys) != 1:
        raise UsageError(
            f"the {what} has {len(keys)} key columns ({', '.join(keys) or 'none'})",
            f"Keep exactly one of {', '.join(KEYS)}.",
        )
    return keys[0]


def _key(value: str, key: str) -> str:
    return str(PurePosixPath(value)) if key == "path" and value else value


def _label(row: Mapping[str, str], where: str) -> Label:
    cells = {name: row.get(name, "") for name in COLUMNS}
    if cells["split"] not in _SPLITS:
        _refuse(where, "split", f"Use {', '.join(FIXED_SPLITS)} or nothing.")
    if cells["sex"].lower() not in _SEXES:
        _refuse(where, "sex", "Use M, F, O or nothing.")
    return Label(
        label=plain(cells["label"]),
        patient=plain(cells["patient"]),
        reference_standard=cells["reference_standard"],
        label_date=_date(cells["label_date"], where),
        split=_SPLITS[cells["split"]],
        site=cells["site"],
        sex=_SEXES[cells["sex"].lower()],
        age=_age(cells["age"], where),
    )


def _refuse(where: str, column: str, remedy: str) -> None:
    raise UsageError(f"{where}: {column} is not understood", remedy)


def _date(text: str, where: str) -> date | None:
    date_of_label = parse_date(text)
    if text and date_of_label is None:
        _refuse(where, "label_date", "Use YYYY-MM-DD or YYYYMMDD.")
    return date_of_label


def _age(text: str, where: str) -> float | None:
    try:
        age = float(text) if text else None
    except ValueError:
        age = -1.0
    if age is not None and not 0 <= age <= 130:
        _refuse(where, "age", "Give years from 0 to 130, or nothing.")
    return age


def parse_date(text: str) -> date | None:
    """Return the date of YYYY-MM-DD or YYYYMMDD (DICOM DA); None for anything else."""
    match = re.fullmatch(r"(\d{4})[-.]?(\d\d)[-.]?(\d\d)", text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def age_years(age: str, birth_date: str, study_date: str) -> float | None:
    """Return years from a DICOM age (`045Y`, `018M`), else from birth and study date; None if unknown."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", age.strip().upper())
    if match:
        return int(match[1]) / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[match[2]]
    born, studied = parse_date(birth_date), parse_date(study_date)
    years = (studied - born).days / 365.25 if born and studied else -1.0
    return years if 0 <= years <= 130 else None


def age_band(years: float | None) -> str:
    """Return a band of ten years, `60-69`, `90+` from 90 on; "" where the age is unknown."""
    if years is None:
        return ""
    low = int(years // 10) * 10
    return "90+" if low >= 90 else f"{low}-{low + 9}"
