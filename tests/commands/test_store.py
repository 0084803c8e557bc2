"""The look into a store: what it holds, damage, what can go."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.record import Record
from claire.core.command.store import open_entry

from tests.support.command import claire


@pytest.fixture
def store(tmp_path: Path) -> Path:
    entry = open_entry(tmp_path / "store", "train", {"seed": 1})

    def write(folder: Path) -> None:
        with Record("train", "a", folder, {}, {}) as record:
            (folder / "a.zip").write_text("result")
            record.output(folder / "a.zip")

    entry.obtain(write, tmp_path / "out")
    return tmp_path / "store"


def result_of(store: Path) -> Path:
    (path,) = [path for path in (store / "train").iterdir() if not path.suffix]
    return path


def test_a_whole_store_is_listed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claire("store", [str(store), "--verify"]) == 0
    assert "train           1 finished" in capsys.readouterr().out


def test_damage_is_named_and_pruned_once_it_is_aside(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = result_of(store)
    (path / "a.zip").chmod(0o600)
    (path / "a.zip").write_text("resulT")
    assert claire("store", [str(store), "--verify"]) == 1
    assert path.name in capsys.readouterr().err
    assert open_entry(store, "train", {"seed": 1}).drop_if_damaged()
    assert claire("store", [str(store), "--prune"]) == 0
    assert [*(store / "train").iterdir()] == []


def test_whole_results_and_checkpoints_are_never_pruned(store: Path) -> None:
    path = result_of(store)
    path.with_name(f"{'0' * 64}.partial").mkdir()
    path.with_name(f"{path.name}.abc.new").mkdir()
    assert claire("store", [str(store), "--prune"]) == 0
    assert sorted(each.suffix for each in (store / "train").iterdir()) == ["", ".partial"]
