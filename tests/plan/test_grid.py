"""Grids as people write them: any text is a grid or one clear message, and every setting is a variant's."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from claire.core.command.errors import UsageError
from claire.core.contracts.plan import read_plan
from claire.core.contracts.variant import Settings, Variant, read_variant
from claire.plan import Parameters, run
from claire.plan.grid import Grid, expand, load_grid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import damaged

GRIDS = Path(__file__).parents[2] / "configs/grids"
GOOD = yaml.safe_dump({"name": "test", "base": {"epochs": 3}, "axes": {"seed": [0, 1], "view": ["box", "lungs"]}})
SAME_FOLDER = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: Lines that YAML reads in surprising ways.
ODD = (
    "name: 2020-13-45", "name: 2020-01-01", "base: {seed: !!int x}", "axes: {seed: [1e5, .inf, .nan]}", "? [a]\n: b",
    "base: &a {epochs: *a}", "axes: {epochs: [1:30, 0o17, 0x1F]}", "base: {class_weights: no}", "name: !!binary '='",
    "<<: {name: x}", "base: {window: {centre: -500, width: -1}}", "--- {}\n--- {}", "name: \"\\ud800\"", "axes: [1, 2]",
)  # fmt: skip


def load(folder: Path, content: bytes) -> Grid:
    (folder / "grid.yml").write_bytes(content)
    return load_grid(folder / "grid.yml")


def require_grid_or_message(folder: Path, content: bytes) -> None:
    with suppress(UsageError):
        assert all(isinstance(variant, Variant) for variant in expand(load(folder, content)))


@SAME_FOLDER
@given(damaged(GOOD.encode()))
def test_a_damaged_grid_is_one_or_one_message(tmp_path: Path, content: bytes) -> None:
    require_grid_or_message(tmp_path, content)


@SAME_FOLDER
@given(st.text(st.sampled_from("name: bseaxd{}[]-,*&!|>?#'\"\n0.~"), max_size=60))
def test_any_text_is_a_grid_or_one_message(tmp_path: Path, text: str) -> None:
    require_grid_or_message(tmp_path, text.encode())


@pytest.mark.parametrize("line", ODD)
def test_what_yaml_reads_in_surprising_ways_is_a_grid_or_one_message(tmp_path: Path, line: str) -> None:
    require_grid_or_message(tmp_path, line.encode())
    require_grid_or_message(tmp_path, f"name: test\n{line}\n".encode())


@pytest.mark.parametrize("text", ["[" * 1200, "a: " * 2000, "{a: " * 1200])
def test_a_bottomless_grid_is_one_message(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"grid\.yml"):
        load(tmp_path, text.encode())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.lists(st.integers(0, 3), min_size=1, max_size=3),
            "view": st.lists(st.sampled_from(["whole", "lungs", "box"]), min_size=1, max_size=3),
            "labels": st.lists(st.sampled_from(["multiple-instance", "inherited"]), min_size=1, max_size=2),
            "schedule": st.lists(st.sampled_from(["constant", "step", "cosine"]), min_size=1, max_size=3),
            "step_size": st.lists(st.integers(1, 3), min_size=1, max_size=3),
        },
    )
)
def test_every_variant_of_a_grid_is_one_of_its_combinations_and_stands_once(axes: dict[str, list[object]]) -> None:
    variants = expand(Grid.model_validate({"name": "test", "axes": axes}))
    assert len({variant.id for variant in variants}) == len(variants) > 0
    idle = {"step_size", "pooling"}
    for variant in variants:
        assert all(getattr(variant, name) in values for name, values in axes.items() if name not in idle)
        assert variant.step_size in axes.get("step_size", [10]) or variant.schedule != "step"
        assert variant.step_size == Settings.model_fields["step_size"].default or variant.schedule == "step"


@pytest.mark.parametrize("name", ["sample", "smoke"])
def test_a_grid_of_the_project_is_planned_from_python(tmp_path: Path, name: str) -> None:
    run(Parameters(grid=GRIDS / f"{name}.yml", fold_count=3, out=tmp_path))
    plan = read_plan(tmp_path / "plan.json")
    assert [read_variant(tmp_path / f"{each}.variant.json").id for each in plan.variants] == [*plan.variants]
    assert plan.trainings == 3 * len(plan.variants)
