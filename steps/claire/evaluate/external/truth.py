"""The labels of new patients: by their names at the site through the private tables, or by pseudonyms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.core.command.errors import UsageError, require
from claire.core.command.tables import plain, read_csv
from claire.core.contracts.labels import KEYS, LabelTable, read_labels
from claire.core.contracts.predictions import PredictedScan
from claire.core.contracts.private import REMEDY, PrivateRow

#: Key columns that hold pseudonyms.
PSEUDONYMS = ("scan", "patient")


@dataclass(frozen=True)
class Truth:
    """Labels of predicted patients, by pseudonym; those without one are not in it.

    `unlabelled_scans`: predicted scans that no row labels; `unused`: labelled rows of the table that name none of them.
    """

    patients: Mapping[str, str]
    unlabelled_scans: int
    unused: int


def is_by_pseudonym(table: Path) -> bool:
    """Return whether the key column of a table of labels holds pseudonyms.

    Raises UsageError where it has none of the key columns, or both of pseudonyms.
    """
    columns = _columns(table)
    keys = [name for name in columns if name in KEYS] or [name for name in columns if name in PSEUDONYMS]
    require(
        len(keys) == 1,
        f"the table of labels {table.name} has {len(keys)} key columns ({', '.join(keys) or 'none'})",
        f"Keep exactly one of {', '.join((*KEYS, *PSEUDONYMS))}.",
    )
    return keys[0] in PSEUDONYMS


def read_truth(
    table: Path, private: Mapping[str, PrivateRow] | None, scans: Sequence[PredictedScan], classes: Sequence[str]
) -> Truth:
    """Return the labels of the patients of predicted scans.

    Raises UsageError on a label that is no class of the model, on a patient with two labels, on keys of the site
    without private tables, and where no patient has a label.
    """
    if is_by_pseudonym(table):
        labels, rows = _by_pseudonym(table, classes, scans)
    else:
        require(
            private is not None,
            f"the keys of {table.name} are names at the site: --private is missing",
            f"{REMEDY} Or label pseudonyms: a column `patient` or `scan`.",
        )
        labels, rows = _by_name(read_labels(table), classes, scans, private or {})
    truth = Truth(_by_patient(labels, scans), len(scans) - len(labels), rows)
    require(
        truth.patients,
        f"no predicted patient has a label in {table.name}",
        "Check that its keys are those of the predicted scans, with leading zeros.",
    )
    return truth


def _columns(table: Path) -> list[str]:
    rows = read_csv(table, ["label"], "table of labels")
    require(rows, f"the table of labels {table.name} has no rows", "Add a row for each patient.")
    return [*rows[0]]


def _by_name(
    table: LabelTable, classes: Sequence[str], scans: Sequence[PredictedScan], private: Mapping[str, PrivateRow]
) -> tuple[dict[str, str], int]:
    """Return labels by scan through its names at the site, and how many labelled rows name no scan."""
    _require_classes([row.label for row in table.rows.values()], classes)
    strangers = sorted(scan.scan for scan in scans if scan.scan not in private)
    require(
        not strangers,
        f"--private has no row for {len(strangers)} predicted scans, such as {''.join(strangers[:1])}",
        "Give the directory that `claire ingest --private` wrote when it read these scans.",
    )
    labels, used = {}, set()
    for scan in scans:
        names = private[scan.scan].names
        used.update(table.matches(names))
        label = table.find(names)
        if label:
            labels[scan.scan] = label.label
    return labels, sum(bool(row.label) and name not in used for name, row in table.rows.items())


def _by_pseudonym(path: Path, classes: Sequence[str], scans: Sequence[PredictedScan]) -> tuple[dict[str, str], int]:
    """Return labels by scan from a table of pseudonyms, and how many labelled rows name no scan."""
    rows = read_csv(path, ["label"], "table of labels")
    key = next(name for name in rows[0] if name in PSEUDONYMS)
    named: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        label = plain(row["label"])
        if label and named.setdefault(row[key], label) != label:
            raise UsageError(
                f"line {line} of {path.name} contradicts an earlier line with the same {key}", "Keep one line per key."
            )
    _require_classes([*named.values()], classes)
    keys = {scan.scan: getattr(scan, key) for scan in scans}
    labels = {scan: named[name] for scan, name in keys.items() if name in named}
    return labels, len(set(named) - set(keys.values()))


def _require_classes(labels: Sequence[str], classes: Sequence[str]) -> None:
    unknown = sorted({label for label in labels if label and label not in classes})
    require(
        not unknown,
        f"--labels has labels that are no class of the model: {', '.join(unknown)}",
        f"--labels may hold only the model's classes: {', '.join(classes)}. Leave a label empty where it is unknown.",
    )


def _by_patient(labels: Mapping[str, str], scans: Sequence[PredictedScan]) -> dict[str, str]:
    of_patient: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        if scan.scan in labels:
            of_patient[scan.patient].add(labels[scan.scan])
    double = sorted(patient for patient, found in of_patient.items() if len(found) > 1)
    require(
        not double,
        f"{len(double)} patients have two labels, such as {''.join(double[:1])}",
        "Label each patient once: the patient is the unit of every figure.",
    )
    return {patient: found.pop() for patient, found in of_patient.items()}
