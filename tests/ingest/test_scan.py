"""One series as a scan: what sets it aside, what ends the step, and what of its header may leave the site."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from claire.core.contracts.rejects import read_rejects
from claire.core.contracts.shard_list import read_shard_list

from tests.ingest.helpers import Done, everything, go, make
from tests.support.command import claire
from tests.support.damage import require_told
from tests.support.dicom_maker import chest, edit

#: Functions of ours that are called once the voxels of a scan are there.
AFTER_DECODING = ("known_vendor", "known_kernel", "age_band", "label_days", "ScanFacts", "Volume", "check_hu")


def set_aside(done: Done) -> tuple[int, list[str], int]:
    return done.code, done.reasons, len(done.scans())


@pytest.mark.parametrize("value", ["YES", "yes ", "Yes"])
def test_burned_in_annotation_is_set_aside(tmp_path: Path, value: str) -> None:
    make(tmp_path, tags={"BurnedInAnnotation": value})
    assert set_aside(go(tmp_path)) == (0, ["burned_in"], 0)


def test_one_slice_with_burned_in_annotation_is_enough(tmp_path: Path) -> None:
    make(tmp_path, tags={"BurnedInAnnotation": "NO"})
    edit(sorted((tmp_path / "in/a").iterdir())[11], BurnedInAnnotation="YES")
    done = go(tmp_path)
    assert set_aside(done) == (0, ["burned_in"], 0)
    assert done.rejects[0]["detail"] == "BurnedInAnnotation is YES"


@pytest.mark.parametrize("value", ["NO", ""])
def test_no_burned_in_annotation_is_a_scan(tmp_path: Path, value: str) -> None:
    make(tmp_path, tags={"BurnedInAnnotation": value})
    assert set_aside(go(tmp_path)) == (0, [], 1)


@pytest.mark.parametrize("name", AFTER_DECODING)
@pytest.mark.parametrize("error", [KeyError, ValueError, OSError])
def test_a_bug_of_ours_ends_the_step_and_is_no_patients_fault(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    error: type[Exception],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("Doe^Jane")

    make(tmp_path, hu=chest(20))
    monkeypatch.setattr(f"claire.ingest.scan.{name}", fail)
    done = go(tmp_path)
    told = capsys.readouterr().err
    assert done.code == 1
    assert f"unexpected {error.__name__} at test_scan.py" in told
    assert "Jane" not in told
    assert [path.name for path in done.out.iterdir() if ".ingest." in path.name or path.suffix == ".zip"] == []


@pytest.mark.parametrize("error", [KeyError, TypeError])
@pytest.mark.parametrize("name", ["find_label", "find_patient"])
def test_a_bug_before_the_voxels_ends_the_step_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise error("odd")

    make(tmp_path, hu=chest(20))
    monkeypatch.setattr(f"claire.ingest.scan.{name}", fail)
    assert go(tmp_path).code == 1


PLANTED: dict[str, Any] = {
    "Manufacturer": "SIEMENS Klinikum Waldfrieden 19570812",
    "ManufacturerModelName": "SOMATOM Force Operator Huber 20200319",
    "ConvolutionKernel": "B30f Huber",
}
SECRETS = ("klinikum", "waldfrieden", "1957", "huber", "operator", "20200319", "2020-03-19")


def test_free_text_of_the_scanner_does_not_leave_the_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, tags=PLANTED)
    done = go(tmp_path, "--log-level", "debug")
    facts = done.scan()[1]
    assert (facts.vendor, facts.model, facts.kernel) == ("Siemens", "Somatom Force", "")
    text = everything(done.out) + capsys.readouterr().err.lower()
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("keyword", PLANTED)
@pytest.mark.parametrize("text", ["Klinikum Waldfrieden", "Huber, Anna", "20200319", "=HYPERLINK(1)", "\x1b[2J"])
def test_what_is_no_scanner_at_all_is_dropped(tmp_path: Path, keyword: str, text: str) -> None:
    make(tmp_path, hu=chest(20), tags={keyword: text})
    facts = go(tmp_path).scan()[1]
    kept = (facts.vendor, facts.model, facts.kernel)[[*PLANTED].index(keyword)]
    assert kept == ("other" if keyword == "Manufacturer" else "")


def with_missing_file(folder: Path) -> None:
    next((folder / "in/a").iterdir()).unlink()


def with_cut_header(folder: Path) -> None:
    path = next((folder / "in/a").iterdir())
    path.write_bytes(path.read_bytes()[:200])


def with_text(folder: Path) -> None:
    next((folder / "in/a").iterdir()).write_text("moved to the archive")


@pytest.mark.parametrize("change", [with_missing_file, with_cut_header, with_text])
def test_a_file_that_changed_after_index_sets_its_series_aside(tmp_path: Path, change: Any) -> None:
    make(tmp_path)
    done = go(tmp_path)
    change(tmp_path)
    assert again(tmp_path, done) == 0
    assert set_aside(done) == (0, ["unreadable"], 0)


def again(folder: Path, done: Done, *flags: str) -> int:
    """Ingest the same shard once more."""
    given = {"--source": "in", "--shard": "out/0000.shard.jsonl", "--labels": "labels.csv", "--key": "key"}
    argv = [word for flag, name in given.items() for word in (flag, str(folder / name))]
    return claire("ingest", [*argv, "--out", str(done.out), *flags])


def test_a_series_that_stands_in_the_shard_twice_enters_once(tmp_path: Path) -> None:
    make(tmp_path, hu=chest(20))
    done = go(tmp_path)
    path = done.out / "0000.shard.jsonl"
    line, last = path.read_text().splitlines()
    path.write_text("\n".join([line, line.replace('"line": 0', '"line": 1'), last.replace("1", "2")]) + "\n")
    assert len(read_shard_list(path)) == 2
    assert again(tmp_path, done) == 0
    assert [(row["line"], row["reason"], row["detail"]) for row in done.rejects] == [
        ("1", "inconsistent", "the series is a duplicate in the shard")
    ]
    assert len(done.scans()) == 1


def test_a_damaged_shard_list_ends_the_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, hu=chest(20))
    done = go(tmp_path)
    path = done.out / "0000.shard.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert again(tmp_path, done) == 1
    require_told(capsys.readouterr().err, "ingest 0000", "shard 0000.shard.jsonl is incomplete", "claire index")


def test_folders_whose_names_are_not_utf8_are_read(tmp_path: Path) -> None:
    make(tmp_path, name=os.fsdecode(b"R\xf6ntgen"), hu=chest(20))
    done = go(tmp_path, "--private", str(tmp_path / "private"))
    assert set_aside(done) == (0, [], 1)
    assert r"R\udcf6ntgen" in (tmp_path / "private/0000.private.csv").read_text()


def test_the_line_of_the_shard_is_that_of_scan_and_rejects(tmp_path: Path) -> None:
    for number, slices in enumerate((20, 5, 21, 6)):
        make(tmp_path, name=f"{number}", study=f"1.5.{number}", series=f"1.6.{number}", hu=chest(slices))
    done = go(tmp_path)
    instances = {line.line: line.instances for line in read_shard_list(done.out / "0000.shard.jsonl")}
    assert [(facts.line, len(volume.data)) for volume, facts in done.scans()] == [(0, 20), (2, 21)]
    rejects = read_rejects([done.out / "0000.ingest.rejects.csv"])
    assert [(row.line, instances[row.line or 0]) for row in rejects] == [(1, 5), (3, 6)]
    assert {facts.shard for _, facts in done.scans()} == {row.shard for row in rejects} == {"0000"}


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    make(tmp_path, hu=chest(20))
    monkeypatch.setattr("claire.core.contracts.scans.ScansWriter.add", fail)
    done = go(tmp_path)
    assert done.code == 1
    require_told(capsys.readouterr().err, "ingest 0000", "the disk is full", "Free some space")
    assert [path.name for path in done.out.iterdir() if "scans" in path.name or "ingest" in path.name] == []
