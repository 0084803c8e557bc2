"""`plan.json`: written compact, read back, refused where it is not one."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.plan import Plan, read_plan, write_plan

PLAN = Plan(name="x", fold_count=3, trainings=6, epochs=60, variants=("v1", "v2"), pretraining=(-1, 0))


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    assert read_plan(write_plan(tmp_path / "plan.json", PLAN)) == PLAN


def test_a_plan_is_one_line_for_the_engines(tmp_path: Path) -> None:
    assert write_plan(tmp_path / "plan.json", PLAN).read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [('"fold_count":3', '"folds":3', "fold_count"), ('"epochs":60', '"epochs":"many"', "epochs"), ("{", "", "JSON")],
)
def test_a_damaged_plan_is_named_with_its_fault(tmp_path: Path, old: str, new: str, part: str) -> None:
    path = write_plan(tmp_path / "plan.json", PLAN)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ClaireError, match=rf"plan\.json.*{part}"):
        read_plan(path)
