"""The evaluation as its user meets trouble: damaged, foreign and mixed-up files, wrong columns, a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluate.helpers import OUTPUTS, run
from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, require_told
from tests.support.runs import World, told_apart, variants

FLAGS = {"--scans": "scans.csv", "--cohort-summary": "cohort.json"}


@pytest.fixture
def trained(world: World) -> World:
    world.train_all(variants(2), told_apart(1))
    return world


def evaluate(world: World, out: Path, **replaced: Path) -> int:
    """Evaluate with some input files replaced, by flag with underscores."""
    argv = world.tables()
    for name, path in replaced.items():
        argv[argv.index(f"--{name.replace('_', '-')}") + 1] = str(path)
    return claire("evaluate", [*argv, "--out", str(out), "--bootstrap", "100"])


def require_nothing(out: Path) -> None:
    assert [name for name in (*OUTPUTS, "evaluate.run.json") if (out / name).exists()] == []


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_run_is_named(trained: World, out: Path, capsys: pytest.CaptureFixture[str], how: str) -> None:
    trained.runs[3] = damage(trained.runs[3], how, trained.folder / "damaged")
    assert run(trained, out) == 1
    name = trained.runs[3].name
    require_told(capsys.readouterr().err, "evaluate", f"{name} is not a complete archive", "claire train")
    require_nothing(out)


@pytest.mark.parametrize("how", ["empty", "foreign"])
@pytest.mark.parametrize("flag", FLAGS)
def test_a_damaged_table_of_the_cohort_is_named(
    trained: World, out: Path, capsys: pytest.CaptureFixture[str], flag: str, how: str
) -> None:
    trained.tables()
    bad = damage(trained.folder / FLAGS[flag], how, trained.folder / "damaged")
    assert evaluate(trained, out, **{flag[2:].replace("-", "_"): bad}) in (1, 2)
    require_told(capsys.readouterr().err, "evaluate", FLAGS[flag])
    require_nothing(out)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("pixel_hash", "hash", "has no column pixel_hash"),
        ("phantom,pixel_hash", "phantom,pixel_hash,name", "has unknown columns: name"),
        (",negative,", ",Doe^Jane,", "contradicts the table of scans"),
        (",false,", ",Doe^Jane,", "line 2 of scans.csv is not valid: phantom"),
        ("P0000,", "P0001,", "contradicts the table of scans"),
    ],
)
def test_a_changed_table_of_scans_is_refused(
    trained: World, out: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, fault: str
) -> None:
    trained.tables()
    changed = trained.folder / "changed/scans.csv"
    changed.parent.mkdir()
    changed.write_text((trained.folder / "scans.csv").read_text().replace(old, new, 1))
    assert evaluate(trained, out, scans=changed) in (1, 2)
    error = capsys.readouterr().err
    require_told(error, "evaluate", fault)
    assert "Jane" not in error
    require_nothing(out)


def test_runs_of_two_cohorts_are_refused(trained: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variant = variants(3)[2]
    trained.pack(variant, 0, [], sha256="e" * 64)
    assert run(trained, out) == 1
    require_told(capsys.readouterr().err, "evaluate", f"run {variant.id}-f0 was trained on another cohort")
    require_nothing(out)


def test_runs_of_other_classes_are_refused(
    trained: World, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = World(tmp_path / "other", classes=("negative", "covid"))
    trained.runs.append(other.train(variants(3)[2], 0, told_apart(1)))
    assert run(trained, out) == 1
    require_told(capsys.readouterr().err, "evaluate", "predicts the classes negative, covid")
    require_nothing(out)


def test_a_manifest_that_names_a_lost_run_is_wrong_usage(
    trained: World, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.runs.append(trained.folder / "lost-f0.run.zip")
    assert run(trained, out) == 2
    assert "names no file: 'lost-f0.run.zip'" in capsys.readouterr().err
    require_nothing(out)


def test_a_full_disk_leaves_no_half_written_table(
    trained: World, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("claire.evaluate.work.write_metrics", fail)
    assert run(trained, out) == 1
    require_told(capsys.readouterr().err, "evaluate", "the disk is full")
    assert {path.name for path in out.iterdir()} == {"leaderboard.csv"}


def test_a_failed_evaluation_removes_the_record_of_an_earlier_one(trained: World, out: Path) -> None:
    assert run(trained, out) == 0
    assert (out / "evaluate.run.json").exists()
    trained.runs.append(trained.runs[0])
    assert run(trained, out) == 2
    assert not (out / "evaluate.run.json").exists()


@pytest.mark.parametrize("site", ["=1+1", "@home", "+A1", "-A1"])
def test_a_site_is_no_formula_in_any_table(world: World, out: Path, site: str) -> None:
    world.sites = (site, "b")
    world.train_all(variants(2), told_apart(1))
    assert run(world, out) == 0
    for path in [*out.glob("*.csv"), world.folder / "scans.csv"]:
        cells = [cell for line in path.read_text().splitlines() for cell in line.split(",")]
        assert site not in cells, path.name


@pytest.mark.parametrize("positive", ["=1+1", "@flu"])
def test_a_class_is_no_formula_in_any_table(world: World, out: Path, positive: str) -> None:
    world.classes = ("negative", positive)
    world.train_all(variants(2), told_apart(1))
    assert run(world, out) == 0
    cells = [cell for path in out.glob("*.csv") for line in path.read_text().splitlines() for cell in line.split(",")]
    assert positive not in cells
    assert f"'{positive}" in cells
