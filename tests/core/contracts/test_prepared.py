"""The prepared scans of a shard: what is written is what is read, the same bytes each time, damage named."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.prepared import PreparedScan, read_prepared, read_voxels, write_prepared
from hypothesis import given, settings

from tests.support.damage import DAMAGES, damaged
from tests.support.documents import prepared_scan
from tests.support.locks import held_open

SIZE = 16


def voxels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (3, SIZE, SIZE)
    return rng.integers(-1024, 400, shape).astype(np.int16), rng.integers(0, 3, shape).astype(np.uint8)


def write(path: Path, *names: str) -> Path:
    with write_prepared(path, SIZE) as shard:
        for seed, name in enumerate(names):
            shard.add(prepared_scan(name, line=seed), *voxels(seed))
    return path


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write(tmp_path / "0002.prepared.h5", "S2", "S1")


def plain(scan: PreparedScan) -> str:
    return scan.to_canonical_json()


def test_scans_are_read_as_they_were_written_in_their_order(shard: Path) -> None:
    size, scans = read_prepared(shard)
    assert size == SIZE
    assert [plain(scan) for scan in scans] == [
        plain(prepared_scan(name, line=line)) for line, name in enumerate(("S2", "S1"))
    ]
    for seed, name in enumerate(("S2", "S1")):
        for read, written in zip(read_voxels(shard, name), voxels(seed), strict=True):
            assert np.array_equal(read, written)
            assert read.dtype == written.dtype


def test_the_bytes_repeat(shard: Path, tmp_path: Path) -> None:
    assert write(tmp_path / "again.h5", "S2", "S1").read_bytes() == shard.read_bytes()


def test_a_shard_without_scans_is_one(tmp_path: Path) -> None:
    assert read_prepared(write(tmp_path / "0000.prepared.h5")) == (SIZE, [])


def test_labels_of_kept_slices_are_taken_from_the_scan() -> None:
    labels = (None, "clear", None, "lesion", *[None] * 5)
    assert prepared_scan(slice_labels=labels).slice_labels == ("clear", None, "lesion")
    assert prepared_scan().slice_labels == (None, None, None)


@pytest.mark.parametrize("shape", [(2, SIZE, SIZE), (3, SIZE, SIZE + 1)])
def test_voxels_of_another_shape_leave_no_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    odd = np.zeros(shape, np.int16), np.zeros(shape, np.uint8)
    with (
        pytest.raises(ValueError, match=r"expected \(3, 16, 16\)"),
        write_prepared(tmp_path / "0000.prepared.h5", SIZE) as shard,
    ):
        shard.add(prepared_scan(), *odd)
    assert [*tmp_path.iterdir()] == []


def test_a_scan_that_is_not_there_names_the_shard(shard: Path) -> None:
    with pytest.raises(ClaireError, match=r"0002\.prepared\.h5 is not a prepared shard"):
        read_voxels(shard, "S9")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_shard_is_named_with_the_step_to_run_again(shard: Path, how: str) -> None:
    shard.write_bytes(DAMAGES[how](shard.read_bytes()))
    with pytest.raises(ClaireError, match=r"0002\.prepared\.h5 is not a prepared shard") as caught:
        read_prepared(shard)
    assert "claire preprocess" in caught.value.remedy


def test_a_file_of_another_program_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "0000.prepared.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(ClaireError, match=r"0000\.prepared\.h5 is not a prepared shard: KeyError"):
        read_prepared(tmp_path / "0000.prepared.h5")


def test_a_shard_that_another_process_holds_open_can_be_read(shard: Path) -> None:
    with held_open(shard):
        assert [scan.facts.scan for scan in read_prepared(shard)[1]] == ["S2", "S1"]
        assert read_voxels(shard, "S1")[0].shape == (3, SIZE, SIZE)


def test_the_description_of_a_scan_is_checked_and_named(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        document = file["scans/S1/document"][:].tobytes().replace(b'"patient"', b'"surname"')
        file["scans/S1/document"][:] = np.frombuffer(document, "u1")
    with pytest.raises(ClaireError, match=r"0002\.prepared\.h5: scan S1 is not valid: facts\.patient") as caught:
        read_prepared(shard)
    assert "P1" not in str(caught.value)


@cache
def whole() -> bytes:
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "whole.h5", "S1").read_bytes()


@settings(max_examples=150)
@given(damaged(whole()))
def test_damage_never_ends_in_an_unforeseen_error(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "0000.prepared.h5"
        path.write_bytes(content)
        with suppress(ClaireError):
            size, scans = read_prepared(path)
            for scan in scans:
                hu, lungs = read_voxels(path, scan.facts.scan)
                assert hu.shape == lungs.shape == (3, size, size)
