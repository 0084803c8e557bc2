"""The cohort: its patients, how the scans were acquired, and what was set aside."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from claire.core.contracts.rejects import REASONS
from claire.core.contracts.scan_table import ScanRow
from claire.core.privacy.cells import MERGED, SMALLEST_CELL, small_cells
from claire.report.inputs import Inputs
from claire.report.tables import Cell, Column, Table, interval, number, table


def patients_by_label(inputs: Inputs) -> dict[str, int]:
    """Return the number of patients of each class, in the order of the classes."""
    patients: dict[str, set[str]] = defaultdict(set)
    for row in inputs.scans.values():
        patients[row.label].add(row.patient)
    return {name: len(patients[name]) for name in [*inputs.classes, *sorted(set(patients) - set(inputs.classes))]}


def counts(inputs: Inputs, caption: str, columns: Sequence[tuple[str, str]]) -> Table:
    """Count patients and scans by label and `columns` (key of scans.csv, heading).

    Cells under 5 patients are merged per label, unless all scans are phantoms; the merged cell absorbs the next
    smallest one until it holds 5, so that nobody can be identified by subtraction.
    """
    cells: dict[tuple[str, ...], list[ScanRow]] = defaultdict(list)
    for row in inputs.scans.values():
        cells[(row.label, *(getattr(row, key) or "unknown" for key, _ in columns))].append(row)
    rows = []
    for label in patients_by_label(inputs):
        of_label = {key[1:]: scan_rows for key, scan_rows in cells.items() if key[0] == label}
        shown, merged = (of_label, []) if inputs.phantom else _merge(of_label)
        rows += [[label, *key, _patients(scan_rows), len(scan_rows)] for key, scan_rows in sorted(shown.items())]
        if merged:
            blank = [MERGED] + [""] * (len(columns) - 1)
            rows.append([label, *blank, _at_least(_patients(merged)), _at_least(len(merged))])
    note = "" if inputs.phantom else f"Cells with fewer than {SMALLEST_CELL} patients are merged."
    heads: list[Column | str] = [
        "Class",
        *(name for _, name in columns),
        Column("Patients", True),
        Column("Scans", True),
    ]
    return table(caption, heads, rows, note=note)


def _merge(
    cells: Mapping[tuple[str, ...], list[ScanRow]],
) -> tuple[dict[tuple[str, ...], list[ScanRow]], list[ScanRow]]:
    small = small_cells({key: {row.patient for row in scan_rows} for key, scan_rows in cells.items()})
    large = {key: scan_rows for key, scan_rows in cells.items() if key not in small}
    return large, [row for key in small for row in cells[key]]


def _patients(rows: Sequence[ScanRow]) -> int:
    return len({row.patient for row in rows})


def _at_least(count: int) -> Cell:
    return Cell(number(count), sort=count) if count >= SMALLEST_CELL else Cell(f"under {SMALLEST_CELL}", sort=count)


def folds(inputs: Inputs) -> Table:
    """Return the number of patients of each class in each fold or fixed split."""
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for row in inputs.folds:
        tally[row.split or str(row.fold)][row.label] += 1
    names = list(patients_by_label(inputs))
    rows = [
        [f"fold {name}" if name.isdigit() else name, *(tally[name][label] for label in names), tally[name].total()]
        for name in sorted(tally, key=lambda name: (not name.isdigit(), name.zfill(4)))
    ]
    note = (
        "All scans of a patient are in the same fold. A model is tested on fold k, stopped and tuned on fold k + 1 "
        "(validation) and trained on the others; a fixed split holds in every fold."
    )
    columns: list[Column | str] = ["Tested in", *(Column(name, True) for name in names), Column("Patients", True)]
    return table("Patients by fold and class", columns, rows, note=note)


def acquisition(inputs: Inputs) -> Table:
    """Return medians and quartiles of acquisition parameters and of what was kept, by class."""
    facts = (
        ("thickness_mm", "Slice thickness (mm)"),
        ("slice_spacing_mm", "Slice spacing (mm)"),
        ("slices_kept", "Slices kept"),
        ("right_ml", "Right lung (ml)"),
        ("left_ml", "Left lung (ml)"),
    )
    names = list(patients_by_label(inputs))
    rows = []
    for key, heading in facts:
        cells = [
            _quartiles([getattr(row, key) for row in inputs.scans.values() if row.label == name]) for name in names
        ]
        if any(cell.sort != "" for cell in cells):
            rows.append([heading, *cells])
    columns: list[Column | str] = ["Median (quartiles)", *(Column(name, True) for name in names)]
    return table("How the scans were made", columns, rows)


def _quartiles(measured: Sequence[float | None]) -> Cell:
    values = sorted(float(value) for value in measured if value is not None)
    if not values:
        return Cell("–", sort="")
    if len(values) < SMALLEST_CELL:
        return Cell(number(statistics.median(values), 2), f"n = {len(values)}", statistics.median(values))
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return Cell(number(middle, 2), interval(first, third, 2), middle)


def rejects(inputs: Inputs) -> Table:
    """Return the number of series set aside, by reason."""
    tally = Counter((row.step, row.reason) for row in inputs.rejects)
    rows = [
        [reason.replace("_", " "), step, REASONS[reason].meaning, count]
        for (step, reason), count in sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    ]
    return table("Series set aside, by reason", ["Reason", "Step", "Meaning", Column("Series", True)], rows)


def reject_list(inputs: Inputs) -> Table:
    """Return every series that was set aside, by shard line and pseudonym."""
    rows = [
        [
            row.step,
            row.shard,
            Cell("", sort="") if row.line is None else Cell(str(row.line), sort=row.line),
            row.scan,
            row.reason.replace("_", " "),
            row.detail,
        ]
        for row in inputs.rejects
    ]
    columns: list[Column | str] = ["Step", "Shard", Column("Line", True), "Scan", "Reason", "Detail"]
    return table("Every series set aside", columns, rows, sortable=True)
