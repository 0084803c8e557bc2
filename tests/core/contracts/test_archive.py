"""Zip archives: the same bytes each time, and damage named by file and member."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import ArchiveReader, stem_of, write_archive


def write(path: Path) -> Path:
    with write_archive(path) as archive:
        archive.add("b.json", "{}")
        archive.add("a.bin", b"\0" * 50)
    return path


def test_an_archive_repeats_byte_by_byte(tmp_path: Path) -> None:
    assert write(tmp_path / "a.zip").read_bytes() == write(tmp_path / "b.zip").read_bytes()


def test_members_are_read_as_they_were_written(tmp_path: Path) -> None:
    with ArchiveReader(write(tmp_path / "a.zip"), "Again.") as archive:
        assert archive.names() == ["b.json", "a.bin"]
        assert (archive.read("b.json"), archive.read("a.bin")) == (b"{}", b"\0" * 50)


def test_an_archive_that_failed_leaves_nothing(tmp_path: Path) -> None:
    def half_written() -> None:
        with write_archive(tmp_path / "a.zip") as archive:
            archive.add("a", b"half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        half_written()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 60, 200])
def test_a_broken_archive_is_named_with_a_remedy(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "0001.scans.zip")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ClaireError, match=r"0001\.scans\.zip is not a complete archive") as caught:
        ArchiveReader(path, "Run it again.")
    assert caught.value.remedy == "Run it again."


def test_a_member_that_is_damaged_or_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"\0" * 50, b"\0" * 49 + b"x"))
    with ArchiveReader(path, "") as archive:
        for name in ("a.bin", "c.bin"):
            with pytest.raises(ClaireError, match=f"a.zip is damaged: {name} cannot be read"):
                archive.read(name)


def test_the_stem_ends_at_the_first_dot() -> None:
    assert stem_of(Path("out/0007.scans.zip")) == "0007"
