"""`claire preprocess`: which slices stay, where their voxels lie in the patient, and the file for `cohort`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from claire.core.command.errors import RejectedScan
from claire.core.command.files import sha256_file
from claire.core.command.tables import read_csv
from claire.core.contracts.masks import write_masks
from claire.core.contracts.prepared import PreparedScan, read_prepared, read_voxels
from claire.core.contracts.scans import write_scans
from claire.core.imaging.volume import Volume
from claire.preprocess.prepare import (
    Filter,
    body_crop,
    lung_slices,
    prepare,
    prepared_affine,
    resize_hu,
    resize_mask,
)

from tests.support.chest import make_chest
from tests.support.command import claire
from tests.support.scans import lung_facts, scan_facts

ORIGINAL = Filter(0.038, 0.10, 8)


def write_inputs(folder: Path, scans: dict[str, tuple[Volume, np.ndarray, dict[str, Any]]]) -> list[str]:
    """Write a shard of scans and of masks; return the flags that name them."""
    paths = {name: folder / f"0002.{name}.zip" for name in ("scans", "lungs")}
    with write_scans(paths["scans"]) as volumes, write_masks(paths["lungs"]) as masks:
        for name, (volume, lungs, facts) in scans.items():
            volumes.add(scan_facts(name, len(lungs), **facts), volume)
            masks.add(name, Volume(lungs, volume.affine), lung_facts())
    return [argument for name, path in paths.items() for argument in (f"--{name}", str(path))]


def read_scan(path: Path, name: str) -> tuple[np.ndarray, np.ndarray, PreparedScan]:
    _, scans = read_prepared(path)
    (scan,) = [scan for scan in scans if scan.facts.scan == name]
    return *read_voxels(path, name), scan


def centre(weight: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the centre of mass in mm."""
    slices, rows, columns = (np.indices(weight.shape) * weight).sum((1, 2, 3)) / weight.sum()
    return (affine @ [columns, rows, slices, 1])[:3]


@pytest.fixture(scope="module")
def chest() -> tuple[Volume, np.ndarray]:
    return make_chest()


def test_a_scan_without_a_mask_was_rejected_or_the_masks_are_of_another_shard(
    chest: tuple[Volume, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = write_inputs(tmp_path, {"S1": (*chest, {})})
    for reason, code in (("no_lungs", 0), ("", 1)):
        with write_masks(tmp_path / "0002.lungs.zip") as masks:
            masks.add_rejected("S1", reason)
        assert claire("preprocess", [*flags, "--out", str(tmp_path / "out")]) == code
    assert "0002.lungs.zip has no mask of S1" in capsys.readouterr().err


def test_slices_with_little_lung_are_dropped() -> None:
    lungs = np.zeros((5, 100, 100), np.uint8)
    lungs[1, :10, :10] = 1
    lungs[2, ::20, ::20] = 1
    lungs[3, 20:60, 20:60] = 2
    lungs[4, 20:50, 20:50] = 1
    assert lung_slices(lungs, ORIGINAL).tolist() == [3]
    assert lung_slices(lungs, Filter(0.038, 0.05, 8)).tolist() == [3, 4]
    assert lung_slices(lungs, Filter(0.0, 0.0, 8)).tolist() == [1, 2, 3, 4]


def test_the_crop_holds_the_body_and_is_square_in_mm(chest: tuple[Volume, np.ndarray]) -> None:
    volume, lungs = chest
    row0, row1, column0, column1 = body_crop(volume, lungs, np.arange(10, 35))
    assert row1 - row0 == column1 - column0
    rows, columns = np.nonzero((volume.data[10:35] > -300).any(0))
    assert column0 <= columns.min() <= columns.max() < column1
    assert row0 <= rows.min() <= rows.max() < row1
    flat = Volume(volume.data[:, ::2], volume.affine @ np.diag([1, 2, 1, 1]))
    crop = body_crop(flat, lungs[:, ::2], np.arange(10, 35))
    assert 2 * (crop[1] - crop[0]) == pytest.approx(crop[3] - crop[2], abs=2)


def test_a_voxel_maps_back_to_the_patient(chest: tuple[Volume, np.ndarray]) -> None:
    volume, lungs = chest
    landmark = np.zeros_like(volume.data)
    landmark[20:23, 40:43, 70:74] = 1000
    place = centre(landmark, volume.affine)
    for size in (64, 150):
        plain, marked = (
            prepare(Volume(volume.data + extra, volume.affine), lungs, size, ORIGINAL)
            for extra in (np.int16(0), landmark)
        )
        # Half a voxel of the prepared grid would be 1 to 2.6 mm.
        assert np.allclose(centre(marked.hu - plain.hu, marked.affine), place, atol=0.3)


def test_a_mask_maps_back_to_the_patient(chest: tuple[Volume, np.ndarray]) -> None:
    volume, lungs = chest
    made = prepare(volume, lungs, 256, ORIGINAL)
    before, after = (
        (affine @ [*np.argwhere(mask == 2).mean(0)[::-1], 1])[:3]
        for mask, affine in ((lungs[made.slices], volume.affine @ _moved(made.slices[0])), (made.lungs, made.affine))
    )
    assert np.allclose(before, after, atol=0.5)


def _moved(slices: int) -> np.ndarray:
    moved = np.eye(4)
    moved[2, 3] = slices
    return moved


def test_resizing_keeps_hu_and_labels() -> None:
    image = np.full((60, 60), -850, np.int16)
    assert np.unique(resize_hu(image, (5, 55, 5, 55), 32)).tolist() == [-850]
    mask = np.tile(np.array([0, 1, 2], np.uint8).repeat(20), (60, 1))
    small = resize_mask(mask, (0, 60, 0, 60), 30)
    assert small[0].tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_a_crop_beyond_the_slice_is_filled_with_air() -> None:
    wide = resize_hu(np.full((20, 40), 40, np.int16), (-10, 30, 0, 40), 40)
    assert wide[:9].max() == -1024
    assert wide[12:28].min() == 40


def test_positions_come_from_ingest_where_it_noted_them() -> None:
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    origins = np.array([[0, 0, 0], [0, 0, 4.9], [0, 0, 10.1], [0, 0, 15]], float)
    affine_of_grid, positions = prepared_affine(affine, np.array([1, 2, 3]), (0, 64, 0, 64), 32, origins)
    assert positions.tolist() == pytest.approx([4.9, 10.1, 15])
    assert affine_of_grid[2, 2] == pytest.approx(5.05)
    assert affine_of_grid[:3, 3].tolist() == pytest.approx([-0.5, -0.5, 4.9])


def test_too_few_lung_slices_are_a_reject(chest: tuple[Volume, np.ndarray]) -> None:
    with pytest.raises(RejectedScan, match="too_few_lung_slices"):
        prepare(chest[0], chest[1], 32, Filter(0.038, 0.10, 44))


def test_the_file_holds_what_cohort_needs(chest: tuple[Volume, np.ndarray], tmp_path: Path, out: Path) -> None:
    volume, lungs = chest
    named = [None] * 20 + ["infected"] + [None] * 23
    flags = write_inputs(tmp_path, {"S1": (volume, lungs, {"slice_labels": named})})
    assert claire("preprocess", [*flags, "--size", "48", "--out", str(out)]) == 0
    hu, mask, scan = read_scan(out / "0002.prepared.h5", "S1")
    assert hu.shape == mask.shape == (len(scan.slices), 48, 48)
    assert (hu.dtype, mask.dtype) == (np.int16, np.uint8)
    assert (scan.facts.patient, scan.facts.label, scan.original_shape) == ("P1", "positive", volume.data.shape)
    assert scan.lungs.right_ml == 900.0
    assert scan.slice_labels[scan.slices.index(20)] == "infected"
    assert len(scan.slice_labels) == len(scan.slice_positions_mm) == len(scan.slices)
    assert read_csv(out / "0002.preprocess.rejects.csv") == []


def test_voxels_can_be_mapped_into_memory(chest: tuple[Volume, np.ndarray], tmp_path: Path, out: Path) -> None:
    flags = write_inputs(tmp_path, {"S1": (*chest, {})})
    claire("preprocess", [*flags, "--size", "32", "--out", str(out)])
    with h5py.File(out / "0002.prepared.h5") as file:
        assert file["scans/S1/hu"].chunks is None
        assert file["scans/S1/hu"].id.get_offset() is not None
        assert json.loads(bytes(file["document"][:])) == {"schema_version": 1, "size": 32}


def test_a_scan_with_few_lung_slices_is_set_aside(chest: tuple[Volume, np.ndarray], tmp_path: Path, out: Path) -> None:
    empty = np.zeros_like(chest[1])
    flags = write_inputs(tmp_path, {"S1": (*chest, {}), "S2": (chest[0], empty, {"line": 4})})
    assert claire("preprocess", [*flags, "--size", "32", "--out", str(out)]) == 0
    (row,) = read_csv(out / "0002.preprocess.rejects.csv")
    assert (row["scan"], row["line"], row["reason"]) == ("S2", "4", "too_few_lung_slices")
    with h5py.File(out / "0002.prepared.h5") as file:
        assert list(file["scans"]) == ["S1"]


def test_the_bytes_repeat(chest: tuple[Volume, np.ndarray], tmp_path: Path) -> None:
    flags = write_inputs(tmp_path, {"S1": (*chest, {})})
    hashes = set()
    for name in ("first", "second"):
        claire("preprocess", [*flags, "--size", "32", "--out", str(tmp_path / name)])
        hashes.add(sha256_file(tmp_path / name / "0002.prepared.h5"))
        time.sleep(1.1)
    assert len(hashes) == 1


def test_files_of_two_shards_are_refused(
    chest: tuple[Volume, np.ndarray], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(tmp_path, {"S1": (*chest, {})})
    other = (tmp_path / "0002.lungs.zip").rename(tmp_path / "0004.lungs.zip")
    assert (
        claire("preprocess", ["--scans", str(tmp_path / "0002.scans.zip"), "--lungs", str(other), "--out", str(out)])
        == 2
    )
    assert "--scans is of shard 0002, --lungs of shard 0004" in capsys.readouterr().err
