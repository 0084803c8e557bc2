"""`leaderboard.csv`, `comparisons.csv` and `curves.csv`: the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from claire.core.command.tables import Row, read_csv, read_rows, write_csv, write_rows
from claire.core.contracts.metrics import METRICS
from claire.core.contracts.variant import Variant

REMEDY = "Run `claire evaluate` again."
Level = Literal["patient", "scan", "slice"]
Curve = Literal["roc", "pr", "calibration", "decision", "roc_by_slices"]
_LIMITS = ("", "_lower", "_upper")
#: One row per variant: its settings and every metric with its limits, for patients and for scans.
LEADERBOARD = (
    *("rank", "variant", "winner", "reference", "complete", "folds", "patients", "differs"),
    *Variant.model_fields,
    *("auc_validation", "rank_lower", "rank_upper", "auc_delong_lower", "auc_delong_upper"),
    *(f"{prefix}{name}{end}" for prefix in ("", "scan_") for name in METRICS for end in _LIMITS),
    *(f"{name}{end}" for name in ("slice_auc", "slice_inherited_auc") for end in _LIMITS),
)


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


def write_leaderboard(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write `leaderboard.csv`."""
    return write_csv(path, LEADERBOARD, rows)


def read_leaderboard(path: Path) -> list[dict[str, str]]:
    """Read `leaderboard.csv` as text by column. Raises UsageError where a column is missing."""
    return read_csv(path, LEADERBOARD, "leaderboard")


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
