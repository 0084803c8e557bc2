"""The report's inputs: each one damaged, of another cohort or missing is named, and no page is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from claire.report.inputs import pictures_by_run, read_pictures, read_records

from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, require_told
from tests.support.report_inputs import World, record

TABLES = ("leaderboard", "metrics", "comparisons", "curves", "cohort_summary", "scans", "folds", "rejects")


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The inputs of a small phantom run."""
    return World(patients=18).write(tmp_path_factory.mktemp("inputs"))


def report(out: Path, flags: dict[str, Path], **replaced: Path) -> int:
    given = {**flags, **replaced}
    argv = [word for name, path in given.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    return claire("report", [*argv, "--out", str(out)])


def listing(folder: Path, *paths: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder / "list.txt"


@pytest.mark.parametrize("how", ["empty", "foreign"])
@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_named(
    flags: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    bad = damage(flags[name], how, tmp_path / "damaged")
    assert report(out, flags, **{name: bad}) in (1, 2)
    require_told(capsys.readouterr().err, "report", bad.name)
    assert [*out.iterdir()] == []


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["lesions", "records"])
def test_a_damaged_document_of_a_list_is_named(
    flags: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    first, *others = map(Path, flags[name].read_text().splitlines())
    bad = damage(first, how, tmp_path / "damaged")
    assert report(out, flags, **{name: listing(tmp_path / "lists", bad, *others)}) == 1
    require_told(capsys.readouterr().err, "report", bad.name, "again")
    assert [*out.iterdir()] == []


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_archive_of_pictures_is_named(
    flags: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    first, *others = map(Path, flags["overlays"].read_text().splitlines())
    bad = damage(first, how, tmp_path / "damaged")
    assert report(out, flags, overlays=listing(tmp_path / "lists", bad, *others)) == 1
    require_told(capsys.readouterr().err, "report", bad.name, "claire explain")
    assert [*out.iterdir()] == []


def test_files_of_two_cohorts_are_refused(
    flags: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "cohort.json"
    summary = json.loads(flags["cohort_summary"].read_text())
    other.write_text(json.dumps(summary | {"sha256": "d1" * 32}))
    assert report(out, flags, cohort_summary=other) == 2
    require_told(capsys.readouterr().err, "report", "metrics.json and cohort.json are from different cohorts")
    assert [*out.iterdir()] == []


def test_a_listed_file_that_is_lost_is_wrong_usage(
    flags: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = listing(tmp_path / "lists", tmp_path / "v1-f0.lesions.json")
    assert report(out, flags, lesions=lost) == 2
    assert "names no file: 'v1-f0.lesions.json'" in capsys.readouterr().err


def test_a_record_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    path = record(tmp_path, "train", "v1-f0", {}, {}, {})
    (tmp_path / "copy").mkdir()
    copy = record(tmp_path / "copy", "train", "v1-f0", {}, {}, {"v1-f0.run.zip": "1" * 64})
    assert len(read_records([path, copy])) == 1


def test_only_pictures_are_taken_from_an_archive(tmp_path: Path, flags: dict[str, Path]) -> None:
    archives = pictures_by_run([Path(line) for line in flags["overlays"].read_text().splitlines()])
    run, path = next(iter(archives.items()))
    assert path.name == f"{run}.overlays.zip"
    scan = json.loads(path.with_name(f"{run}.lesions.json").read_text())["scans"][0]
    pictures = read_pictures(path, [*scan["images"], "not there.png"])
    assert sorted(pictures) == sorted(scan["images"])
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
