"""A cohort file whose content is not what was written is named, and one that was verified is not read again."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts import verified as module
from claire.core.contracts.cohort import content_sha256, open_cohort
from claire.core.contracts.verified import open_verified

from tests.support.damage import flip_a_voxel
from tests.support.synthetic import CohortFiles

OPEN = "import logging, sys; from pathlib import Path; from claire.core.contracts.verified import open_verified\n"
OPEN += "logging.basicConfig(level='INFO'); print('up', flush=True); sys.stdin.readline()\n"
OPEN += "open_verified(Path(sys.argv[1]), Path(sys.argv[2]))"


@pytest.fixture
def cohort(cohort_files: CohortFiles, tmp_path: Path) -> Path:
    """A copy of the cohort that a test may damage."""
    return Path(shutil.copy(cohort_files.cohort, tmp_path))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed from now on."""
    paths: list[Path] = []

    def count(path: Path, hash_content: Callable[[Path], str] = content_sha256) -> str:
        paths.append(path)
        return hash_content(path)

    monkeypatch.setattr(module, "content_sha256", count)
    return paths


def test_the_content_has_the_hash_that_was_written(cohort_files: CohortFiles) -> None:
    assert content_sha256(cohort_files.cohort) == cohort_files.sha256


def test_the_hash_is_the_same_in_blocks_smaller_than_a_scan(
    cohort_files: CohortFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claire.core.contracts.cohort.BLOCK_BYTES", 1000)
    assert content_sha256(cohort_files.cohort) == cohort_files.sha256


@pytest.mark.parametrize("with_store", [False, True])
def test_a_flipped_bit_is_named(cohort: Path, tmp_path: Path, with_store: bool) -> None:
    flip_a_voxel(cohort)
    with pytest.raises(ClaireError, match=r"cohort\.h5 is damaged, its checksum does not match: expected .{12}…, got"):
        open_verified(cohort, tmp_path / "store" if with_store else None)
    assert [*tmp_path.glob("store/verified/*")] == []


def test_a_changed_description_is_named(cohort: Path) -> None:
    content = cohort.read_bytes()
    cohort.write_bytes(content.replace(b'"label":"negative"', b'"label":"positive"', 1))
    assert open_cohort(cohort).scans[0].label == "positive"
    with pytest.raises(ClaireError, match="checksum"):
        open_verified(cohort, None)


def test_a_file_is_hashed_once_per_store(cohort: Path, tmp_path: Path, hashed: list[Path]) -> None:
    for _ in range(3):
        assert len(open_verified(cohort, tmp_path / "store").scans) == 18
    assert hashed == [cohort]
    (marker,) = (tmp_path / "store/verified").iterdir()
    assert marker.name == f"{open_cohort(cohort).sha256}.json"
    assert stat.S_IMODE(marker.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_link_is_the_same_file_and_a_copy_is_another(
    cohort: Path, tmp_path: Path, hashed: list[Path], link: Callable[[Path, Path], None]
) -> None:
    open_verified(cohort, tmp_path / "store")
    for job in ("a", "b"):
        (tmp_path / job).mkdir()
        link(tmp_path / job / "cohort.h5", cohort)
        open_verified(tmp_path / job / "cohort.h5", tmp_path / "store")
    assert hashed == [cohort]
    copy = Path(shutil.copy2(cohort, tmp_path / "copy.h5"))
    for path in (copy, cohort, copy, cohort):
        open_verified(path, tmp_path / "store")
    assert hashed == [cohort, copy]


def test_a_file_that_changed_is_hashed_again(cohort: Path, tmp_path: Path, hashed: list[Path]) -> None:
    open_verified(cohort, tmp_path / "store")
    os.utime(cohort)
    open_verified(cohort, tmp_path / "store")
    flip_a_voxel(cohort)
    with pytest.raises(ClaireError, match="checksum"):
        open_verified(cohort, tmp_path / "store")
    assert len(hashed) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": [1]}', b"\xff"])
def test_a_damaged_marker_says_nothing(cohort: Path, tmp_path: Path, hashed: list[Path], content: bytes) -> None:
    open_verified(cohort, tmp_path / "store")
    (marker,) = (tmp_path / "store/verified").iterdir()
    marker.write_bytes(content)
    open_verified(cohort, tmp_path / "store")
    open_verified(cohort, tmp_path / "store")
    assert len(hashed) == 2


def test_of_jobs_that_start_together_one_hashes(cohort: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, cohort, tmp_path / "store"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    jobs = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    assert [job.stdout.readline() for job in jobs] == ["up\n"] * 3
    for job in jobs:
        job.stdin.write("\n")
        job.stdin.flush()
    told = [job.communicate()[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 3
    assert sum("checksum verified" in text for text in told) == 1
