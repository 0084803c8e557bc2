"""What enters the cohort: refusals keep the rejects, name no cell of a table, and leave nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from claire.cohort import Parameters, run
from claire.core.command.errors import ClaireError
from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.prepared import write_prepared
from claire.core.contracts.rejects import REASONS, Reject, read_rejects, write_rejects

from tests.cohort.test_cohort import SIZE, Folder, Scanned, rejected, some, write_shard
from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, require_told

Scans = list[Scanned]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def torn_label(scans: Scans) -> Scans:
    return [*scans, Scanned(70, 1, "covid")]


def torn_split(scans: Scans) -> Scans:
    return [*scans, Scanned(70, 1, "normal", {"split": "test"})]


def same_voxels(scans: Scans) -> Scans:
    return [*scans, Scanned(70, 70, "normal", {"pixel_hash": f"{1:064x}"})]


def one_class(scans: Scans) -> Scans:
    return [scan for scan in scans if scan.label == "covid"]


def unknown_classes(scans: Scans) -> Scans:
    return [Scanned(scan.number, scan.patient, {"covid": "a", "normal": "b"}[scan.label]) for scan in scans]


def few_patients(scans: Scans) -> Scans:
    return scans[:4]


@pytest.mark.parametrize(
    "change", [torn_label, torn_split, same_voxels, one_class, unknown_classes, few_patients, lambda scans: []]
)
def test_every_refusal_leaves_the_rejects_and_says_where_they_are(
    folder: Folder, capsys: pytest.CaptureFixture[str], change: Callable[[Scans], Scans]
) -> None:
    rejects = [rejected("gantry_tilt", 3), rejected("not_chosen", 1)]
    assert folder.run(change(some()), rejects=rejects) in (1, 2)
    require_told(capsys.readouterr().err, "cohort", "rejects.csv in --out lists the 2 series")
    assert [path.name for path in folder.out.iterdir()] == ["rejects.csv"]
    assert [row.reason for row in read_rejects([folder.out / "rejects.csv"])] == ["not_chosen", "gantry_tilt"]


def test_duplicates_are_in_the_rejects_of_a_refused_cohort(folder: Folder) -> None:
    scans = [*some(), Scanned(70, 1, "normal", {"pixel_hash": f"{1:064x}"}), Scanned(71, 2, "normal")]
    assert folder.run(scans) == 1
    (row,) = read_rejects([folder.out / "rejects.csv"])
    assert (row.reason, row.detail, row.line) == ("duplicate", "same voxels as S000000000001", 70)


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_count_against_the_limit_only_where_a_scan_was_lost(folder: Folder, reason: str) -> None:
    rejects = [rejected(reason, n) for n in range(13)]
    assert folder.run(some(), rejects=rejects) == (1 if REASONS[reason].lost else 0)


@pytest.mark.parametrize(("limit", "code"), [("0", 1), ("0.2", 0), ("0.19", 1), ("1", 0)])
def test_the_limit_is_a_share_of_the_scans_that_could_have_entered(folder: Folder, limit: str, code: int) -> None:
    rejects = [rejected("not_hu", n) for n in range(3)] + [rejected("not_chosen", n) for n in range(90)]
    assert folder.run(some(), rejects=rejects, flags=["--max-reject-fraction", limit]) == code


def test_no_known_negative_class_asks_for_classes(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.run(unknown_classes(some())) == 2
    require_told(capsys.readouterr().err, "cohort", "the classes are a, b: none of them", "--classes 'a,b'")
    assert folder.run(unknown_classes(some()), flags=["--classes", "b,a"]) == 0
    assert open_cohort(folder.out / "cohort.h5").classes == ("b", "a")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_prepared_shard_is_named(folder: Folder, capsys: pytest.CaptureFixture[str], how: str) -> None:
    shard = damage(write_shard(folder.path / "0000.prepared.h5", some()), how, folder.path / "damaged")
    assert folder.run_files([shard]) == 1
    require_told(capsys.readouterr().err, "cohort", "0000.prepared.h5 is not a prepared shard", "claire preprocess")
    assert [*folder.out.iterdir()] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("step,shard,line,scan,reason\n", "has no column detail"),
        ("step,shard,line,scan,reason,detail\ningest,0,1,S1,Doe^Jane,x\n", "line 2 of 0000.ingest.rejects.csv"),
        ("step,shard,line,scan,reason,detail\ningest,0,Doe^Jane,S1,not_hu,x\n", "is not valid: line"),
        ("step,shard,line,scan,reason,detail,name\ningest,0,1,S1,not_hu,x,Doe^Jane\n", "unknown columns: name"),
        ("", "has no column step"),
    ],
)
def test_a_faulty_table_of_rejects_is_named_without_its_cells(
    folder: Folder, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    shard = write_shard(folder.path / "0000.prepared.h5", some())
    (folder.path / "prepared.txt").write_text(f"{shard}\n")
    table = folder.path / "0000.ingest.rejects.csv"
    table.write_text(text)
    (folder.path / "rejects.txt").write_text(f"{table}\n")
    listings = ["--prepared", str(folder.path / "prepared.txt"), "--reject-tables", str(folder.path / "rejects.txt")]
    assert claire("cohort", [*listings, "--out", str(folder.out), "--fold-count", "3"]) in (1, 2)
    error = capsys.readouterr().err
    require_told(error, "cohort", fault)
    assert "Jane" not in error


def test_a_missing_shard_is_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.path / "prepared.txt").write_text(f"{folder.path / '0000.prepared.h5'}\n")
    table = write_rejects(folder.path / "0000.ingest.rejects.csv", [])
    (folder.path / "rejects.txt").write_text(f"{table}\n")
    listings = ["--prepared", str(folder.path / "prepared.txt"), "--reject-tables", str(folder.path / "rejects.txt")]
    assert claire("cohort", [*listings, "--out", str(folder.out)]) == 2
    assert "names no file: '0000.prepared.h5'" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_no_cohort(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> tuple[np.ndarray, np.ndarray]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("claire.core.contracts.members.read_voxels", fail)
    assert folder.run(some()) == 1
    require_told(capsys.readouterr().err, "cohort", "the disk is full", "Free some space")
    assert [path.name for path in folder.out.iterdir()] == ["rejects.csv"]


def called_from_python(folder: Folder, shards: Sequence[Path], rejects: Sequence[Reject] = ()) -> None:
    folder.out.mkdir()
    tables = [write_rejects(folder.path / "0000.ingest.rejects.csv", rejects)]
    run(Parameters(prepared=shards, reject_tables=tables, fold_count=3, out=folder.out))


def test_the_step_can_be_called_from_python(folder: Folder) -> None:
    called_from_python(folder, [write_shard(folder.path / "0000.prepared.h5", some())], [rejected("not_hu")])
    assert len(open_cohort(folder.out / "cohort.h5").scans) == 12
    assert len(read_rejects([folder.out / "rejects.csv"])) == 1


def test_a_cohort_without_scans_is_refused_from_python_too(folder: Folder) -> None:
    with write_prepared(folder.path / "0000.prepared.h5", SIZE):
        pass
    with pytest.raises(ClaireError, match="no scan is left for the cohort") as caught:
        called_from_python(folder, [folder.path / "0000.prepared.h5"])
    assert caught.value.exit_code == 1
