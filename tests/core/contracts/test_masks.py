"""The lung masks of a shard: masks and reasons are read as they were written, damage is named."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import write_archive
from claire.core.contracts.masks import MaskFacts, MasksReader, write_masks
from claire.core.imaging.volume import Volume, to_nifti_gz
from hypothesis import given, settings

from tests.support.damage import DAMAGES, damaged
from tests.support.scans import lung_facts

MASK = Volume(np.arange(24).reshape(2, 3, 4).astype(np.uint8) % 3, np.diag([-0.7, -0.7, 5.0, 1.0]))
FACTS = lung_facts(warnings=("cut at the upper border",))


def write(path: Path) -> Path:
    with write_masks(path) as masks:
        masks.add("S1", MASK, FACTS)
        masks.add_rejected("S2", "no_lungs")
    return path


def test_masks_are_read_as_they_were_written(tmp_path: Path) -> None:
    with MasksReader(write(tmp_path / "0000.lungs.zip")) as masks:
        assert masks.scans() == ["S1"]
        assert masks.facts("S1") == MaskFacts(scan="S1", lungs=FACTS)
        assert masks.facts("S2") == MaskFacts(scan="S2", rejected="no_lungs")
        assert np.array_equal(masks.volume("S1").data, MASK.data)
        assert masks.volume("S1").data.dtype == np.uint8
        assert np.allclose(masks.volume("S1").affine, MASK.affine)


def test_the_bytes_repeat(tmp_path: Path) -> None:
    assert write(tmp_path / "a.zip").read_bytes() == write(tmp_path / "b.zip").read_bytes()


def test_masks_that_failed_leave_no_file(tmp_path: Path) -> None:
    odd = Volume(MASK.data.astype(np.complex64), MASK.affine[:2])
    with pytest.raises(Exception, match=r"affine|shape|4"), write_masks(tmp_path / "0000.lungs.zip") as masks:
        masks.add("S1", odd, FACTS)
    assert [*tmp_path.iterdir()] == []


def test_a_scan_that_segment_never_saw_is_named(tmp_path: Path) -> None:
    with MasksReader(write(tmp_path / "0000.lungs.zip")) as masks:
        with pytest.raises(ClaireError, match=r"0000\.lungs\.zip is damaged: S3\.json cannot be read"):
            masks.facts("S3")
        with pytest.raises(ClaireError, match=r"0000\.lungs\.zip is damaged: S2\.nii\.gz cannot be read"):
            masks.volume("S2")


def test_facts_of_another_shape_are_refused(tmp_path: Path) -> None:
    with write_archive(tmp_path / "0000.lungs.zip") as archive:
        archive.add("S1.nii.gz", to_nifti_gz(MASK))
        archive.add("S1.json", MaskFacts(scan="S1", lungs=FACTS).to_json().replace("right_ml", "volume"))
    with (
        MasksReader(tmp_path / "0000.lungs.zip") as masks,
        pytest.raises(ClaireError, match=r"0000\.lungs\.zip: S1\.json is not valid: lungs\.right_ml: Field required"),
    ):
        masks.facts("S1")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_archive_is_named_with_the_step_to_run_again(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "0000.lungs.zip")
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(ClaireError, match=r"0000\.lungs\.zip is not a complete archive") as caught:
        MasksReader(path)
    assert "claire segment" in caught.value.remedy


@cache
def whole() -> bytes:
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "whole.zip").read_bytes()


@settings(max_examples=300)
@given(damaged(whole()))
def test_damage_never_ends_in_an_unforeseen_error(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "0000.lungs.zip"
        path.write_bytes(content)
        with suppress(ClaireError), MasksReader(path) as masks:
            for scan in masks.scans():
                assert masks.facts(scan).scan
                assert masks.volume(scan).data.size
