"""`claire segment`: masks and quality facts of a shard, scans set aside, repeatable bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from claire.core.command.files import sha256_file
from claire.core.command.tables import read_csv
from claire.core.contracts.masks import LungFacts, MasksReader
from claire.core.contracts.scans import ScansReader, write_scans
from claire.core.imaging.volume import Volume
from claire.segment import Parameters, run

from tests.support.chest import make_chest
from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, require_told
from tests.support.scans import scan_facts


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans: a chest, and a block of soft tissue without lungs."""
    path = tmp_path_factory.mktemp("shard") / "0003.scans.zip"
    chest, _ = make_chest()
    tissue = Volume(np.full((20, 48, 48), 40, np.int16), np.diag([-6, -6, 6, 1.0]))
    with write_scans(path) as scans:
        scans.add(scan_facts("S1", shard="0003"), chest)
        scans.add(scan_facts("S2", shard="0003", line=7), tissue)
    return path


@pytest.fixture(scope="module")
def done(shard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert claire("segment", ["--scans", str(shard), "--out", str(out)]) == 0
    return out


def test_a_mask_has_the_grid_of_its_scan(shard: Path, done: Path) -> None:
    with ScansReader(shard) as scans, MasksReader(done / "0003.lungs.zip") as lungs:
        mask, scan = lungs.volume("S1"), scans.volume("S1")
    assert (mask.data.shape, mask.data.dtype) == (scan.data.shape, np.uint8)
    assert np.allclose(mask.affine, scan.affine)
    assert set(np.unique(mask.data)) == {0, 1, 2}


def test_the_facts_are_documented(done: Path) -> None:
    with MasksReader(done / "0003.lungs.zip") as lungs:
        facts = lungs.facts("S1")
    section = (Path(__file__).parents[2] / "docs/outputs.md").read_text().split("\n## segment\n")[1].split("\n## ")[0]
    assert facts.scan == "S1"
    assert facts.lungs is not None
    assert facts.lungs.right_ml > facts.lungs.left_ml > 500
    assert [name for name in LungFacts.model_fields if f"`{name}`" not in section] == []


def test_a_scan_without_lungs_is_set_aside(done: Path) -> None:
    with MasksReader(done / "0003.lungs.zip") as lungs:
        assert lungs.scans() == ["S1"]
        assert lungs.facts("S2").rejected == "no_lungs"
    (row,) = read_csv(done / "0003.segment.rejects.csv")
    assert row | {"detail": ""} == {
        "step": "segment", "shard": "0003", "line": "7", "scan": "S2", "reason": "no_lungs", "detail": "",
    }  # fmt: skip


def test_the_record_counts_scans(done: Path) -> None:
    record = json.loads((done / "0003.segment.run.json").read_text())
    assert record["counts"] == {"scans": 1, "warned": 0, "cut_at_border": 0, "rejected": 1}


def test_the_bytes_repeat(shard: Path, done: Path, out: Path) -> None:
    claire("segment", ["--scans", str(shard), "--out", str(out)])
    for name in ("0003.lungs.zip", "0003.segment.rejects.csv"):
        assert sha256_file(out / name) == sha256_file(done / name)


def test_an_empty_shard_gives_empty_files(tmp_path: Path, out: Path) -> None:
    with write_scans(tmp_path / "0001.scans.zip"):
        pass
    assert claire("segment", ["--scans", str(tmp_path / "0001.scans.zip"), "--out", str(out)]) == 0
    with MasksReader(out / "0001.lungs.zip") as lungs:
        assert lungs.scans() == []
    assert read_csv(out / "0001.segment.rejects.csv") == []


def test_a_file_that_is_no_shard_is_refused(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0001.scans.zip").write_text("no zip")
    assert claire("segment", ["--scans", str(tmp_path / "0001.scans.zip"), "--out", str(out)]) == 1
    assert "0001.scans.zip is not a complete archive" in capsys.readouterr().err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_shard_is_named_with_the_step_to_run_again(
    shard: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    assert claire("segment", ["--scans", str(damage(shard, how, tmp_path)), "--out", str(out)]) == 1
    require_told(capsys.readouterr().err, "segment 0003", "0003.scans.zip is not a complete archive", "claire ingest")
    assert [*out.iterdir()] == []


def test_a_bug_of_ours_ends_the_step_and_is_no_patients_fault(
    shard: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("odd")

    monkeypatch.setattr("claire.segment.work.segment_lungs", fail)
    assert claire("segment", ["--scans", str(shard), "--out", str(out)]) == 1
    assert "unexpected KeyError" in capsys.readouterr().err
    assert [*out.iterdir()] == []


def test_the_step_can_be_called_from_python(shard: Path, done: Path, out: Path) -> None:
    out.mkdir()
    run(Parameters(scans=shard, out=out))
    assert (out / "0003.lungs.zip").read_bytes() == (done / "0003.lungs.zip").read_bytes()
