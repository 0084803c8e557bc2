"""`claire plan`: grids become variants and trainings, or one clear message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from claire.core.command.errors import UsageError
from claire.core.contracts.plan import Plan, read_plan
from claire.core.contracts.variant import Settings, Variant, read_variant, read_variants
from claire.plan import Parameters, run
from claire.plan.grid import MOST_VARIANTS, PRESETS, Grid, expand, grid_schema, load_grid
from claire.plan.work import make_plan

from tests.support.command import claire

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "configs/grids").glob("*.yml"))


def variants(**grid: object) -> list[Variant]:
    return expand(Grid.model_validate({"name": "test", **grid}))


class Folder:
    """Runs the step on a grid in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path, path / "out"

    def run(self, grid: object, *flags: str) -> int:
        text = grid if isinstance(grid, str) else yaml.safe_dump({"name": "test", **grid})
        (self.path / "grid.yml").write_text(text)
        return claire(
            "plan", ["--grid", str(self.path / "grid.yml"), "--fold-count", "3", "--out", str(self.out), *flags]
        )

    def weights(self, *names: str) -> tuple[str, str]:
        for name in names:
            (self.path / name).write_text(name)
        (self.path / "weights.txt").write_text("".join(f"{self.path / name}\n" for name in names))
        return "--pretrained", str(self.path / "weights.txt")

    def plan(self) -> Plan:
        return read_plan(self.out / "plan.json")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_axes_are_multiplied() -> None:
    expanded = variants(axes={"learning_rate": [1e-3, 1e-4], "pooling": ["mean", "max", "topk"]})
    assert [(v.pooling, v.learning_rate) for v in expanded] == [
        (p, r) for p in ("mean", "max", "topk") for r in (1e-3, 1e-4)
    ]


def test_parts_of_a_union_inherit_and_override() -> None:
    expanded = variants(
        base={"epochs": 3, "size": 64},
        axes={"learning_rate": [1e-3, 1e-4]},
        union=[{"base": {"size": 32}}, {"axes": {"learning_rate": [1e-2], "seed": [0, 1]}}],
    )
    assert [(v.epochs, v.size, v.learning_rate, v.seed) for v in expanded] == [
        (3, 32, 1e-3, 0),
        (3, 32, 1e-4, 0),
        (3, 64, 1e-2, 0),
        (3, 64, 1e-2, 1),
    ]


def test_excluded_combinations_are_dropped_before_they_are_checked() -> None:
    expanded = variants(
        axes={"dimensions": ["2D", "3D"], "labels": ["inherited", "multiple-instance"]},
        exclude=[{"dimensions": "3D", "labels": "inherited"}],
    )
    assert [(v.dimensions, v.labels) for v in expanded] == [
        ("2D", "inherited"),
        ("2D", "multiple-instance"),
        ("3D", "multiple-instance"),
    ]


def test_an_exclusion_sees_defaults() -> None:
    assert [v.seed for v in variants(axes={"seed": [1, 2]}, exclude=[{"seed": 1, "dimensions": "2D"}])] == [2]


def test_duplicates_collapse() -> None:
    assert len(variants(axes={"learning_rate": [1e-3, "1e-3", 0.001]}, union=[{}, {"base": {"size": 224}}])) == 1


def test_settings_without_effect_make_no_variants() -> None:
    expanded = variants(axes={"schedule": ["step", "cosine"], "step_size": [5, 10]})
    assert [(v.schedule, v.step_size) for v in expanded] == [("step", 5), ("step", 10), ("cosine", 10)]
    assert len(variants(base={"labels": "inherited"}, axes={"pooling": ["mean", "max"]})) == 1


def test_a_preset_yields_to_base_and_axes() -> None:
    expanded = variants(preset="original-2021", base={"size": 64}, axes={"learning_rate": [1e-3]})[0]
    assert (expanded.size, expanded.learning_rate, expanded.labels, expanded.normalisation) == (
        64,
        1e-3,
        "inherited",
        "slice",
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_variants(name: str) -> None:
    assert Variant(**PRESETS[name])
    assert name in Grid.model_json_schema()["properties"]["preset"]["anyOf"][0].values()


def test_the_published_grid_has_its_108_variants() -> None:
    expanded = expand(load_grid(ROOT / "configs/grids/claire-108.yml"))
    assert len({v.id for v in expanded}) == 108
    shared = {
        (v.optimiser, v.epochs, v.patience, v.class_weights, v.schedule, v.batch_size, v.labels) for v in expanded
    }
    assert shared == {("adam", 50, 10, True, "step", 32, "inherited")}


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_grids_of_this_repository_fit_their_schema(path: Path) -> None:
    assert load_grid(path).name == path.stem
    schema = json.loads((ROOT / "configs/grids/grid.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema, jsonschema.Draft202012Validator)
    assert expand(load_grid(path))


def test_the_schema_is_that_of_the_code() -> None:
    stored = json.loads((ROOT / "configs/grids/grid.schema.json").read_text())
    assert stored == grid_schema(), "write json.dumps(claire.plan.grid.grid_schema(), indent=1) to grid.schema.json"


@pytest.mark.parametrize(
    "bad", [{"axes": {"rat": [1]}}, {"axes": {"learning_rate": []}}, {"base": {"size": 1}}, {"union": [1]}]
)
def test_the_schema_refuses_what_the_code_refuses(bad: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", **bad}, grid_schema())


def test_a_plan_is_written_with_a_file_a_variant(folder: Folder) -> None:
    assert folder.run({"axes": {"learning_rate": [1e-3, 1e-4]}}, "--seed", "7") == 0
    plan = folder.plan()
    files = sorted(path.name for path in folder.out.glob("*.variant.json"))
    assert files == sorted(f"{name}.variant.json" for name in plan.variants)
    assert [read_variant(folder.out / f"{name}.variant.json").learning_rate for name in plan.variants] == [1e-3, 1e-4]
    assert (plan.fold_count, plan.trainings, plan.epochs, plan.pretraining) == (3, 6, 300, (-1, -1))
    assert {read_variant(folder.out / name).seed for name in files} == {7}
    record = json.loads((folder.out / "plan.run.json").read_text())
    assert sorted(record["outputs"]) == sorted([*files, "plan.json", "variants.zip"])
    assert [*read_variants(folder.out / "variants.zip")] == [*plan.variants]


def test_a_plan_repeats_byte_by_byte(folder: Folder) -> None:
    grid = {"axes": {"learning_rate": [1e-3, 1e-4], "seed": [1, 2]}}
    assert folder.run(grid) == 0
    first = {path.name: path.read_bytes() for path in folder.out.iterdir() if "run.json" not in path.name}
    assert folder.run(grid) == 0
    assert first == {path.name: path.read_bytes() for path in folder.out.iterdir() if "run.json" not in path.name}


def test_pretraining_names_a_given_file(folder: Folder) -> None:
    grid = {"axes": {"pretraining": ["none", "weights:b.pth", "weights:a.pth"]}}
    assert folder.run(grid, *folder.weights("a.pth", "b.pth")) == 0
    positions = {
        read_variant(folder.out / f"{name}.variant.json").pretraining: position
        for name, position in zip(folder.plan().variants, folder.plan().pretraining, strict=True)
    }
    assert positions == {"none": -1, "weights:a.pth": 0, "weights:b.pth": 1}


def test_the_engines_can_read_the_largest_plan() -> None:
    many = [Variant(seed=seed) for seed in range(MOST_VARIANTS)]
    plan = make_plan("x" * 40, many, 100, [])
    assert len(plan.to_canonical_json()) < 64 * 1024


def test_the_list_shows_variants_and_cost_and_writes_nothing(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.run({"base": {"size": 64}, "axes": {"learning_rate": [1e-3, 1e-4]}}, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "size 64" in lines[0]
    assert lines[2].split() == ["variant", "learning_rate"]
    assert [line.split()[1] for line in lines[3:5]] == ["0.001", "0.0001"]
    assert lines[-1] == "test: 2 variants x 3 folds = 6 trainings, at most 300 epochs"
    assert list(folder.out.iterdir()) == []


def test_the_published_grid_costs_540_trainings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grid = str(ROOT / "configs/grids/claire-108.yml")
    assert claire("plan", ["--grid", grid, "--fold-count", "5", "--list", "--out", str(tmp_path)]) == 0
    assert "108 variants x 5 folds = 540 trainings, at most 27000 epochs" in capsys.readouterr().out


#: A few lines that expand to ten million values.
BOMB = "name: x\na: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("grid", "parts"),
    [
        ({"axis": {}}, ["grid.yml", "unknown key 'axis'", "did you mean 'axes'"]),
        ({"axes": {"lr": [1]}}, ["grid.yml", "unknown key 'axes.lr'"]),
        ({"base": {"learning_rates": 1}}, ["unknown key 'base.learning_rates'", "did you mean 'learning_rate'"]),
        ({"base": {"rates": 1}}, ["unknown key 'base.rates'", "did you mean 'learning_rate'"]),
        ({"axes": {"rate": [1]}}, ["unknown key 'axes.rate'", "did you mean 'learning_rate'?"]),
        ({"base": {"batch": 1}}, ["unknown key 'base.batch'", "did you mean 'batch_size'?"]),
        ({"axes": {"learning_rate": 1e-3}}, ["axes.learning_rate", "list"]),
        ({"axes": {"learning_rate": []}}, ["axes.learning_rate"]),
        ({"axes": {"learning_rate": [1e-3, "fast"]}}, ["axes.learning_rate.1", "'fast'"]),
        ({"union": [{"base": {"size": 1}}]}, ["union.0.base.size"]),
        ({"preset": "original-2020"}, ["preset", "original-2021"]),
        ({"name": "two words"}, ["name"]),
        ({"base": {"dimensions": "3D", "labels": "inherited"}}, ["inherited"]),
        ({"base": {"seed": 1}, "exclude": [{"seed": 1}]}, ["excludes all"]),
        (
            {"axes": {"seed": list(range(100)), "epochs": list(range(1, 101))}},
            ["at most 4000 combinations", "got 10000"],
        ),
        ({"base": {"pretraining": "weights:a.pth"}}, ["weights:a.pth", "(none)"]),
        ("name: a\nname: b\n", ["grid.yml, line 2", "'name' is a duplicate"]),
        ("name: [a\n", ["grid.yml, line"]),
        ("", ["grid.yml", "empty"]),
        ("- a\n", ["grid.yml"]),
        ("name: \x01", ["grid.yml", "not YAML"]),
        ("{[1]: 2}", ["grid.yml"]),
        (BOMB, ["grid.yml", "100000 values"]),
        ("[" * 5000, ["grid.yml", "nested too deeply"]),
        ({"base": {"architecture": "torchvision:resnet19"}}, ["2D", "resnet19", "such as torchvision:resnet1"]),
        ({"base": {"architecture": "torchvision:resnet18", "dimensions": "3D"}}, ["3D", "torchvision:"]),
        ("name: a\nbase: {epochs: yes}\n", ["base.epochs", "number"]),
        ("name: a\naxes: {learning_rate: [on]}\n", ["axes.learning_rate.0", "number"]),
        ({"base": {"seed": 1e23}}, ["base.seed"]),
        ("1: 2", ["grid.yml"]),
    ],
)
def test_an_invalid_grid_gives_one_message(
    folder: Folder, capsys: pytest.CaptureFixture[str], grid: object, parts: list[str]
) -> None:
    assert folder.run(grid) == 2
    message = capsys.readouterr().err
    assert [part for part in parts if part not in message] == []
    assert "Traceback" not in message
    assert len(message.splitlines()) >= 2
    assert list(folder.out.iterdir()) == []


@pytest.mark.parametrize(
    "flags", [["--fold-count", "2"], ["--fold-count", "0"], ["--seed", "-1"], ["--pretrained", "gone.txt"]]
)
def test_invalid_flags_are_refused(folder: Folder, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    assert folder.run({}, *flags) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_record_names_the_folds_to_explain(folder: Folder) -> None:
    assert folder.run({}, "--explain-folds", "0,2") == 0
    record = json.loads((folder.out / "plan.run.json").read_text())
    assert record["parameters"]["explain_folds"] == [0, 2]
    assert folder.run({}, "--explain-folds", "none") == 0


@pytest.mark.parametrize("folds", ["3", "0,5", "-1"])
def test_a_fold_to_explain_that_does_not_exist_is_refused_before_anything_is_submitted(
    folder: Folder, capsys: pytest.CaptureFixture[str], folds: str
) -> None:
    assert folder.run({}, f"--explain-folds={folds}") == 2
    assert f"expected 0 to 2, got {folds.split(',')[-1]}" in capsys.readouterr().err
    assert list(folder.out.iterdir()) == []


def test_two_weights_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="weights file a is a duplicate"):
        make_plan("x", [Variant(pretraining="weights:a")], 3, ["a", "a"])


def test_every_setting_is_described() -> None:
    assert [name for name, known in Settings.model_fields.items() if not known.description] == []


def test_a_plan_can_be_made_from_python(folder: Folder) -> None:
    (folder.path / "grid.yml").write_text("name: x\n")
    run(Parameters(grid=folder.path / "grid.yml", fold_count=3, explain_folds=(2,), out=folder.out))
    assert folder.plan().trainings == 3


def test_plan_imports_nothing_heavy() -> None:
    argv = ["plan", "--grid", "configs/grids/claire-108.yml", "--fold-count", "5", "--list"]
    heavy = "[m for m in ('torch', 'numpy', 'h5py', 'sklearn') if m in sys.modules]"
    code = f"import sys; from claire.__main__ import main; main({argv}); print({heavy})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert process.stdout.splitlines()[-1] == "[]"
