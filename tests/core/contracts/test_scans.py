"""The scans of a shard: what is written is what is read, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import write_archive
from claire.core.contracts.scans import ScanFacts, ScansReader, write_scans
from claire.core.imaging.volume import Volume, to_nifti_gz

AFFINE = np.array([[-0.7, 0, 0, 100], [0, -0.7, 0, 120], [0, 0, 5, -300], [0, 0, 0, 1]], float)
FACTS = ScanFacts(
    scan="S1",
    shard="0001",
    line=3,
    patient="P1",
    label="positive",
    spacing_mm=(5.0, 0.7, 0.7),
    pixel_hash="00",
    sop_uids=("2.25.1", None),
    positions_mm=((0.0, 0.0, 0.0), (0.0, 0.0, 5.0)),
    slice_labels=(None, "lesion"),
)
VOLUME = Volume(np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4), AFFINE)


def write(path: Path) -> Path:
    with write_scans(path) as scans:
        scans.add(FACTS, VOLUME)
    return path


def test_scans_round_trip_and_repeat_byte_by_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "0001.scans.zip")
    assert path.read_bytes() == write(tmp_path / "again.scans.zip").read_bytes()
    with ScansReader(path) as shard:
        assert (shard.scans(), shard.facts("S1")) == (["S1"], FACTS)
        assert np.array_equal(shard.volume("S1").data, VOLUME.data)
        assert np.allclose(shard.volume("S1").affine, AFFINE)


@pytest.mark.parametrize("name", ["../S1.nii.gz", "S 1.nii.gz"])
def test_a_shard_with_a_name_that_is_no_scans_is_refused(tmp_path: Path, name: str) -> None:
    with write_archive(tmp_path / "0001.scans.zip") as archive:
        archive.add(name, b"")
    with ScansReader(tmp_path / "0001.scans.zip") as shard, pytest.raises(ClaireError, match="not a scan's"):
        shard.scans()


def test_a_scan_that_is_damaged_or_missing_names_its_shard(tmp_path: Path) -> None:
    with write_archive(tmp_path / "0001.scans.zip") as archive:
        archive.add("S1.nii.gz", to_nifti_gz(VOLUME)[:-9])
        archive.add("S2.nii.gz", b"no image")
    with ScansReader(tmp_path / "0001.scans.zip") as shard:
        assert shard.scans() == ["S1", "S2"]
        for scan in shard.scans():
            with pytest.raises(ClaireError, match=f"0001.scans.zip is damaged: {scan}.json"):
                shard.facts(scan)
            with pytest.raises(ClaireError, match=f"0001.scans.zip is damaged: scan {scan}"):
                shard.volume(scan)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"patient": None}, "patient"), ({"split": "dev"}, "split"), ({"name": "Doe"}, "name"), ({"line": "x"}, "line")],
)
def test_facts_that_are_not_as_described_are_refused(tmp_path: Path, change: dict, word: str) -> None:
    with write_archive(tmp_path / "0001.scans.zip") as archive:
        archive.add("S1.nii.gz", to_nifti_gz(VOLUME))
        archive.add("S1.json", json.dumps(FACTS.model_dump(mode="json") | change))
    told = rf"0001\.scans\.zip: S1\.json is not valid: {word}"
    with ScansReader(tmp_path / "0001.scans.zip") as shard, pytest.raises(ClaireError, match=told) as caught:
        shard.facts("S1")
    assert "Doe" not in str(caught.value)


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "0001.scans.zip").write_text("no zip")
    with pytest.raises(ClaireError, match=r"0001\.scans\.zip"):
        ScansReader(tmp_path / "0001.scans.zip")
