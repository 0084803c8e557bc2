"""The store: published whole or not at all, read-only, linked out, harmless to share."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.record import Record
from claire.core.command.store import Entry, open_entry


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return open_entry(tmp_path / "store", "train", {"seed": 1})


def publish(entry: Entry, content: str = "result") -> None:
    with entry.publishing() as folder:
        write(folder, content)


def write(folder: Path, content: str = "result", name: str = "a.zip") -> None:
    with Record("train", "a", folder, {}, {}) as record:
        (folder / name).write_text(content)
        record.output(folder / name)


def fetched(entry: Entry, out: Path) -> list[Path]:
    return entry.fetch(out)


def test_a_result_comes_out_as_it_went_in(entry: Entry, tmp_path: Path) -> None:
    assert not entry.finished
    publish(entry)
    assert entry.finished
    paths = fetched(entry, tmp_path / "out")
    assert [path.name for path in paths] == ["a.zip", "a.train.run.json"]
    assert paths[0].read_text() == "result"


@pytest.mark.parametrize("damage", [lambda path: path.write_text("resu"), Path.unlink])
def test_a_damaged_result_is_moved_aside_and_made_again(entry: Entry, damage: Callable[[Path], object]) -> None:
    publish(entry)
    assert not entry.drop_if_damaged()
    for path in (entry.folder, entry.folder / "a.zip"):
        path.chmod(0o755)
    damage(entry.folder / "a.zip")
    assert entry.drop_if_damaged()
    assert not entry.finished
    publish(entry)
    assert not entry.drop_if_damaged()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"outputs": []}', b'{"outputs": {"b.zip": "00"}}', b"\xff"])
def test_a_result_with_a_damaged_record_is_moved_aside(entry: Entry, content: bytes) -> None:
    publish(entry)
    entry.folder.chmod(0o755)
    (entry.folder / "a.train.run.json").chmod(0o644)
    (entry.folder / "a.train.run.json").write_bytes(content)
    assert entry.drop_if_damaged()
    assert [path.suffix for path in entry.folder.parent.iterdir()] == [".damaged"]


def test_a_result_is_copied_so_that_nothing_leads_into_the_store(entry: Entry, tmp_path: Path) -> None:
    publish(entry)
    path = fetched(entry, tmp_path / "out")[0]
    assert not path.samefile(entry.folder / "a.zip")
    assert not path.is_symlink()
    assert stat.S_IMODE((entry.folder / "a.zip").stat().st_mode) == 0o400
    assert stat.S_IMODE(entry.folder.stat().st_mode) == 0o500


def test_voxels_between_data_steps_are_linked(entry: Entry, tmp_path: Path) -> None:
    entry.obtain(lambda folder: write(folder, name="0000.scans.zip"), tmp_path / "out")
    assert (tmp_path / "out/0000.scans.zip").samefile(entry.folder / "0000.scans.zip")


def test_nobody_else_may_enter_the_store(entry: Entry, tmp_path: Path) -> None:
    publish(entry)
    folders = (tmp_path / "store", entry.folder.parent)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
    assert [path for path in entry.folder.rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_store_that_stood_open_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    folder.chmod(0o777)
    open_entry(tmp_path, "train", {})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_across_file_systems_voxels_are_copied(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    with entry.publishing() as folder:
        write(folder, name="cohort.h5")
    monkeypatch.setattr(os, "link", refuse)
    paths = fetched(entry, tmp_path / "out")
    assert [path.name for path in paths] == ["cohort.h5", "a.train.run.json"]
    assert paths[0].read_text() == "result"
    assert not paths[0].samefile(entry.folder / "cohort.h5")


def test_results_of_an_earlier_run_in_the_folder_are_replaced(entry: Entry, tmp_path: Path) -> None:
    publish(entry)
    fetched(entry, tmp_path / "out")
    assert fetched(entry, tmp_path / "out")[0].read_text() == "result"


def test_a_failure_publishes_nothing_and_leaves_the_checkpoint(entry: Entry) -> None:
    entry.partial.mkdir()
    with pytest.raises(ZeroDivisionError), entry.publishing():
        raise ZeroDivisionError
    assert [path.name for path in entry.folder.parent.iterdir()] == [entry.partial.name]


def test_a_finished_result_needs_no_checkpoint(entry: Entry) -> None:
    entry.partial.mkdir()
    publish(entry)
    assert [path.name for path in entry.folder.parent.iterdir()] == [entry.folder.name]


def test_of_two_that_finish_at_once_the_first_counts(entry: Entry) -> None:
    with entry.publishing() as late:
        publish(entry, "first")
        (late / "a.zip").write_text("second")
    assert (entry.folder / "a.zip").read_text() == "first"
    assert len(list(entry.folder.parent.iterdir())) == 1


def test_many_at_once_corrupt_nothing(entry: Entry) -> None:
    workers = [threading.Thread(target=publish, args=(entry, "x" * 10000)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (entry.folder / "a.zip").read_text() == "x" * 10000
    assert len(list(entry.folder.parent.iterdir())) == 1


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    entries = {open_entry(tmp_path, "train", {"seed": seed, "fold": fold}) for seed in (0, 1) for fold in (0, 1)}
    assert len(entries) == 4


def test_a_relative_store_is_refused() -> None:
    with pytest.raises(UsageError, match="relative"):
        open_entry(Path("store"), "train", {})


def test_a_store_that_cannot_be_written_is_told_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClaireError, match="cannot be written"):
        open_entry(tmp_path / "file" / "store", "train", {})


def test_of_two_that_begin_at_once_the_second_takes_the_result(entry: Entry, tmp_path: Path) -> None:
    made: list[Path] = []

    def slowly(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.5)
        write(folder)

    workers = [threading.Thread(target=entry.obtain, args=(slowly, tmp_path / f"out{k}")) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1
    assert [(tmp_path / f"out{k}/a.zip").read_text() for k in range(4)] == ["result"] * 4
    assert [path.name for path in entry.folder.parent.iterdir()] == [entry.folder.name]
