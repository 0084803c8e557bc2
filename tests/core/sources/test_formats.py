"""The formats of scans: every format of a volume has a reader of its header and one of its voxels."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.contracts.shard_list import write_shard_list
from claire.core.sources.formats import DICOM, VOLUMES, kind_of
from claire.ingest.scan import VOXELS

from tests.support.command import claire
from tests.support.documents import listed_series


def test_a_shard_of_an_unknown_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").write_text("patient_id,label\n1,positive\n")
    (tmp_path / "key").write_text("0123456789abcdef")
    write_shard_list(tmp_path / "0000.shard.jsonl", [listed_series(kind="analyze")])
    flags = {"shard": "0000.shard.jsonl", "labels": "labels.csv", "key": "key", "source": "", "out": "out"}
    code = claire("ingest", [word for flag, name in flags.items() for word in (f"--{flag}", str(tmp_path / name))])
    assert code == 2
    assert "0000.shard.jsonl holds series of an unknown format" in capsys.readouterr().err


def test_every_volume_format_has_a_reader_of_voxels() -> None:
    assert set(VOLUMES) == set(VOXELS)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.nii", "nifti"), ("b.c.nii.gz", "nifti"), ("IM0001", DICOM), ("a.nii.json", DICOM)]
)
def test_the_suffix_tells_the_kind(name: str, kind: str) -> None:
    assert kind_of(Path(name)) == kind
