"""`leaderboard.csv`, `comparisons.csv` and `curves.csv`: the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from claire.core.command.documents import Part, first_fault
from claire.core.command.errors import ClaireError
from claire.core.command.tables import Row, plain, read_csv, read_rows, write_csv, write_rows
from claire.core.contracts.metrics import METRICS, Figure, Figures
from claire.core.contracts.variant import Variant

REMEDY = "Run `claire evaluate` again."
Level = Literal["patient", "scan", "slice"]
Curve = Literal["roc", "pr", "calibration", "decision", "roc_by_slices"]
_LIMITS = {"": "value", "_lower": "lower", "_upper": "upper"}
_DELONG = ("auc_delong_lower", "auc_delong_upper")
_SLICE_AUCS = ("slice_auc", "slice_inherited_auc")
_FLAGS = ("winner", "reference", "complete")
#: Columns of `leaderboard.csv`, in order.
LEADERBOARD = (
    *("rank", "variant", *_FLAGS, "folds", "patients", "differs"),
    *Variant.model_fields,
    *("auc_validation", "rank_lower", "rank_upper", *_DELONG),
    *(f"{prefix}{name}{end}" for prefix in ("", "scan_") for name in METRICS for end in _LIMITS),
    *(f"{name}{end}" for name in _SLICE_AUCS for end in _LIMITS),
)


class LeaderboardRow(Part):
    """A variant of the leaderboard, rank 1 first.

    `settings` are the keys of the variant as text, `differs` those in which the variants differ; `patient` and `scan`
    hold every metric. The limits of the rank are those of the test AUC.
    """

    rank: int
    rank_lower: float | None
    rank_upper: float | None
    variant: str
    winner: bool
    reference: bool
    complete: bool
    folds: int
    patients: int
    differs: str
    settings: dict[str, str]
    auc_validation: float | None
    patient: Figures
    scan: Figures
    slice_auc: Figure
    slice_inherited_auc: Figure


_PLAIN = tuple(name for name in LeaderboardRow.model_fields if name in LEADERBOARD)


class ComparisonRow(Row):
    """A variant against the reference or the winner: difference of the patient AUC with its limits and p values."""

    against: Literal["reference", "winner"]
    variant: str
    other: str
    folds: int
    auc: float | None
    auc_other: float | None
    difference: float | None
    lower: float | None
    upper: float | None
    p_bootstrap: float | None
    delong_lower: float | None
    delong_upper: float | None
    p: float | None
    p_holm: float | None


class CurvePoint(Row):
    """A point of a curve with its pointwise 95 % limits; `fold` only for curves of single folds."""

    variant: str
    level: Level
    curve: Curve
    label: str
    fold: int | None = None
    x: float | None
    y: float | None
    lower: float | None = None
    upper: float | None = None


def write_leaderboard(path: Path, rows: Iterable[LeaderboardRow]) -> Path:
    """Write `leaderboard.csv`: every figure as three columns, its value and its limits."""
    return write_csv(path, LEADERBOARD, map(_to_cells, rows))


def read_leaderboard(path: Path) -> list[LeaderboardRow]:
    """Read `leaderboard.csv`. Raises ClaireError, naming file, line and column."""
    rows = []
    for line, cells in enumerate(read_csv(path, LEADERBOARD, "leaderboard"), start=2):
        try:
            rows.append(_from_cells({name: plain(cell) for name, cell in cells.items()}))
        except ValidationError as error:
            raise ClaireError(f"line {line} of {path.name} is not valid: {first_fault(error)}", REMEDY) from error
    return rows


def _to_cells(row: LeaderboardRow) -> dict[str, Any]:
    area = row.patient["auc"]
    cells = row.model_dump(include=set(_PLAIN)) | row.settings
    cells |= {name: "yes" if cells[name] else "no" for name in _FLAGS}
    cells |= dict(zip(_DELONG, (area.delong_lower, area.delong_upper), strict=True))
    figures = {name: row.patient[name] for name in METRICS} | {f"scan_{name}": row.scan[name] for name in METRICS}
    figures |= {name: getattr(row, name) for name in _SLICE_AUCS}
    return cells | {f"{name}{end}": getattr(figures[name], key) for name in figures for end, key in _LIMITS.items()}


def _from_cells(cells: Mapping[str, str]) -> LeaderboardRow:
    values: dict[str, Any] = {name: cells[name] or None for name in _PLAIN} | {"differs": cells["differs"]}
    for level, prefix in (("patient", ""), ("scan", "scan_")):
        values[level] = {name: _figure(cells, f"{prefix}{name}") for name in METRICS}
    values["patient"]["auc"] |= {name.removeprefix("auc_"): cells[name] or None for name in _DELONG}
    settings = {name: cells[name] for name in Variant.model_fields}
    areas = {name: _figure(cells, name) for name in _SLICE_AUCS}
    return LeaderboardRow.model_validate(values | areas | {"settings": settings})


def _figure(cells: Mapping[str, str], name: str) -> dict[str, Any]:
    return {key: cells[f"{name}{end}"] or None for end, key in _LIMITS.items()}


def write_comparisons(path: Path, rows: Iterable[ComparisonRow]) -> Path:
    """Write `comparisons.csv`."""
    return write_rows(path, ComparisonRow, rows)


def read_comparisons(path: Path) -> list[ComparisonRow]:
    """Read `comparisons.csv`. Raises ClaireError."""
    return read_rows(path, ComparisonRow, REMEDY)


def write_curves(path: Path, points: Iterable[CurvePoint]) -> Path:
    """Write `curves.csv`."""
    return write_rows(path, CurvePoint, points)


def read_curves(path: Path) -> list[CurvePoint]:
    """Read `curves.csv`. Raises ClaireError."""
    return read_rows(path, CurvePoint, REMEDY)
