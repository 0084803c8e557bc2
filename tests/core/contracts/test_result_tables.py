"""The tables of an evaluation: what is written is what is read."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.metrics import METRICS, Figure
from claire.core.contracts.result_tables import (
    LEADERBOARD,
    ComparisonRow,
    CurvePoint,
    LeaderboardRow,
    read_comparisons,
    read_curves,
    read_leaderboard,
    write_comparisons,
    write_curves,
    write_leaderboard,
)
from claire.core.contracts.variant import Variant
from pydantic import ValidationError

NONE = Figure(value=None)


def leaderboard_row(**changes: object) -> LeaderboardRow:
    figures = {name: Figure(value=0.5, lower=0.25, upper=0.75) for name in METRICS}
    area = Figure(value=0.9, lower=0.8, upper=0.95, delong_lower=0.79, delong_upper=0.96)
    values = {
        "rank": 1, "rank_lower": 1.0, "rank_upper": 2.0, "variant": "v1", "winner": True, "reference": False,
        "complete": True, "folds": 3, "patients": 60, "differs": "", "auc_validation": None,
        "settings": {name: str(value) for name, value in Variant().model_dump().items()},
        "patient": figures | {"auc": area}, "scan": figures, "slice_auc": NONE, "slice_inherited_auc": NONE,
    }  # fmt: skip
    return LeaderboardRow.model_validate(values | changes)


def comparison_row() -> ComparisonRow:
    return ComparisonRow(
        against="reference", variant="v2", other="v1", folds=3, auc=0.9, auc_other=None, difference=-0.1, lower=-0.2,
        upper=0.0, p_bootstrap=0.04, delong_lower=None, delong_upper=None, p=None, p_holm=None,
    )  # fmt: skip


def change_cell(path: Path, column: str, cell: str) -> None:
    with path.open(newline="") as stream:
        header, row = csv.reader(stream)
    row[header.index(column)] = cell
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, row])


def test_a_leaderboard_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [leaderboard_row(), leaderboard_row(rank=2, variant="v2", winner=False, differs="seed=1, view=box")]
    assert read_leaderboard(write_leaderboard(tmp_path / "leaderboard.csv", rows)) == rows


def test_every_metric_has_three_columns_for_patients_and_for_scans() -> None:
    for metric in METRICS:
        for prefix in ("", "scan_"):
            assert {f"{prefix}{metric}{end}" for end in ("", "_lower", "_upper")} <= set(LEADERBOARD)
    assert len(set(LEADERBOARD)) == len(LEADERBOARD)


def test_flags_of_the_leaderboard_are_yes_or_no(tmp_path: Path) -> None:
    path = write_leaderboard(tmp_path / "leaderboard.csv", [leaderboard_row()])
    with path.open(newline="") as stream:
        (cells,) = csv.DictReader(stream)
    assert (cells["winner"], cells["reference"], cells["complete"]) == ("yes", "no", "yes")
    assert (cells["auc"], cells["auc_delong_lower"], cells["auc_validation"]) == ("0.9", "0.79", "")


@pytest.mark.parametrize(("column", "cell"), [("rank", "first"), ("auc_lower", "high"), ("winner", "perhaps")])
def test_a_wrong_cell_of_the_leaderboard_is_named(tmp_path: Path, column: str, cell: str) -> None:
    path = write_leaderboard(tmp_path / "leaderboard.csv", [leaderboard_row()])
    change_cell(path, column, cell)
    with pytest.raises(ClaireError, match=r"line 2 of leaderboard\.csv is not valid: ") as caught:
        read_leaderboard(path)
    assert column.removesuffix("_lower") in str(caught.value)
    assert cell not in str(caught.value)


def test_a_leaderboard_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.csv").write_text("rank,variant\n1,v1\n")
    with pytest.raises(UsageError, match="has no column winner"):
        read_leaderboard(tmp_path / "leaderboard.csv")


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValidationError, match="is not a metric"):
        leaderboard_row(scan={"kappa": NONE})


def test_comparisons_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = write_comparisons(tmp_path / "comparisons.csv", [comparison_row()])
    assert read_comparisons(path) == [comparison_row()]


def test_a_comparison_is_with_the_reference_or_the_winner(tmp_path: Path) -> None:
    path = write_comparisons(tmp_path / "comparisons.csv", [comparison_row()])
    change_cell(path, "against", "both")
    with pytest.raises(ClaireError, match=r"line 2 of comparisons\.csv is not valid: against"):
        read_comparisons(path)


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    roc = {"variant": "headline", "level": "patient", "curve": "roc", "label": "positive"}
    points = [
        CurvePoint(**roc, x=0.0, y=0.5, lower=0.4, upper=1.0),
        CurvePoint(variant="v1", level="slice", curve="pr", label="positive", fold=0, x=1.0, y=None),
    ]
    assert read_curves(write_curves(tmp_path / "curves.csv", points)) == points


def test_a_column_of_an_older_version_is_refused(tmp_path: Path) -> None:
    header = "variant,level,curve,class,fold,x,y,lower,upper\n"
    (tmp_path / "curves.csv").write_text(header + "v1,patient,roc,positive,,0,0,,\n")
    with pytest.raises(UsageError, match="has no column label"):
        read_curves(tmp_path / "curves.csv")
