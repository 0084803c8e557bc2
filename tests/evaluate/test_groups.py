"""Subgroups with small cells hidden, and guards."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.evaluate.groups import attribute, merge_small

from tests.evaluate.helpers import evaluated
from tests.support.runs import World, told_apart, variants


def test_subgroups_count_patients_and_hide_small_cells(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows[:3] = [row.model_copy(update={"sex": "O"}) for row in rows[:3]]
    subgroups = evaluated(world, out, rows=rows).subgroups
    sexes = [group for group in subgroups if group.attribute == "sex" and group.predictor == "headline"]
    assert sum(group.n for group in sexes) == 60
    assert "O" not in {group.group for group in sexes}
    assert all(group.auc is None or group.auc.lower <= group.auc.value for group in sexes)
    assert {group.attribute for group in subgroups} == {"sex", "age_band", "vendor", "kernel", "thickness", "site"}


def test_a_count_below_five_is_hidden_but_for_phantoms(tmp_path: Path) -> None:
    shown = {}
    for phantom in (False, True):
        world = World(tmp_path / str(phantom), phantom=phantom, patients=24)
        world.train_all(variants(1), told_apart(1))
        # Of seven patients from another site, three are positive.
        rows = [row.model_copy(update={"site": "far" if i < 7 else "near"}) for i, row in enumerate(world.rows())]
        subgroups = evaluated(world, tmp_path / f"out-{phantom}", rows=rows).subgroups
        (group,) = [group for group in subgroups if (group.group, group.predictor) == ("far", "headline")]
        assert group.auc is None
        assert group.note == "under 5 patients of a class"
        shown[phantom] = group.patients
    assert shown == {False: {"negative": None, "positive": None}, True: {"negative": 4, "positive": 3}}


@pytest.mark.parametrize(
    ("thickness", "group"),
    [(None, "unknown"), (0.6, "up to 1 mm"), (1.0, "up to 1 mm"), (1.25, "over 1 to 2 mm"), (3.0, "over 2 to 3 mm"),
     (5.0, "over 3 mm")],
)  # fmt: skip
def test_thickness_is_grouped(world: World, thickness: float | None, group: str) -> None:
    row = world.rows()[0].model_copy(update={"thickness_mm": thickness})
    assert attribute([row], "thickness") == group


def test_a_patient_whose_scans_differ_is_in_several(world: World) -> None:
    first, second = (world.rows()[0].model_copy(update={"kernel": kernel}) for kernel in ("soft", "sharp"))
    assert attribute([first, second], "kernel") == "several"
    assert attribute([first, first], "kernel") == "soft"
    assert attribute([first.model_copy(update={"kernel": ""})], "kernel") == "unknown"


def test_merged_groups_cannot_be_subtracted() -> None:
    groups = {"a": set(range(2)), "b": set(range(2, 10)), "c": set(range(10, 40))}
    assert {name: len(members) for name, members in merge_small(groups).items()} == {"c": 30, "others (merged)": 10}
    assert merge_small({"c": groups["c"]}) == {"c": groups["c"]}


def test_a_site_with_one_label_fires_a_guard(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows = [row.model_copy(update={"site": "clinic" if row.label == "positive" else "screening"}) for row in rows]
    fired = [guard for guard in evaluated(world, out, rows=rows).guards if guard.fired]
    assert [guard.name for guard in fired] == ["one_label_site"]
    assert {finding.what for finding in fired[0].findings} == {"clinic", "screening"}
