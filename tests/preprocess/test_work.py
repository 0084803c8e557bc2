"""A shard prepared: damaged archives, archives of two shards and masks of other scans are named, nothing is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from claire.core.command.errors import UsageError
from claire.core.contracts.masks import write_masks
from claire.core.contracts.prepared import read_prepared
from claire.core.contracts.rejects import read_rejects
from claire.core.contracts.scans import write_scans
from claire.core.imaging.volume import Volume
from claire.preprocess import Parameters, run
from claire.preprocess.work import slice_origins

from tests.support.chest import make_chest
from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, require_told
from tests.support.scans import lung_facts, scan_facts


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A shard of two chests, the second with lung in three slices only."""
    folder = tmp_path_factory.mktemp("shard")
    paths = {"scans": folder / "0002.scans.zip", "lungs": folder / "0002.lungs.zip"}
    volume, lungs = make_chest()
    little = lungs.copy()
    little[23:] = 0
    little[:20] = 0
    with write_scans(paths["scans"]) as scans, write_masks(paths["lungs"]) as masks:
        for line, (name, mask) in enumerate((("S1", lungs), ("S2", little))):
            scans.add(scan_facts(name, len(mask), shard="0002", line=line), volume)
            masks.add(name, Volume(mask, volume.affine), lung_facts())
    return paths


def preprocess(shard: dict[str, Path], out: Path, *flags: str, **replaced: Path) -> int:
    argv = [word for name, path in {**shard, **replaced}.items() for word in (f"--{name}", str(path))]
    return claire("preprocess", [*argv, "--size", "32", "--out", str(out), *flags])


def test_the_step_can_be_called_from_python(shard: dict[str, Path], out: Path) -> None:
    out.mkdir()
    run(Parameters(**shard, size=32, out=out))
    size, (scan,) = read_prepared(out / "0002.prepared.h5")
    assert (size, scan.facts.scan) == (32, "S1")
    (row,) = read_rejects([out / "0002.preprocess.rejects.csv"])
    assert (row.step, row.shard, row.line, row.scan) == ("preprocess", "0002", 1, "S2")
    assert (row.reason, row.detail) == ("too_few_lung_slices", "3 of 44 slices, at least 8 needed")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["scans", "lungs"])
def test_a_damaged_archive_is_named(
    shard: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    bad = damage(shard[name], how, tmp_path / "damaged")
    assert preprocess(shard, out, **{name: bad}) == 1
    step = {"scans": "claire ingest", "lungs": "claire segment"}[name]
    require_told(capsys.readouterr().err, "preprocess 0002", f"{bad.name} is not a complete archive", step)
    assert [*out.iterdir()] == []


def test_archives_of_two_shards_are_wrong_usage(shard: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "0003.lungs.zip"
    other.write_bytes(shard["lungs"].read_bytes())
    with pytest.raises(UsageError, match=r"--scans is of shard 0002, --lungs of shard 0003") as caught:
        run(Parameters(scans=shard["scans"], lungs=other, out=tmp_path))
    assert "two files of one shard" in caught.value.remedy


def test_a_mask_of_another_shape_is_refused(
    shard: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "0002.lungs.zip"
    with write_masks(path) as masks:
        for name in ("S1", "S2"):
            masks.add(name, Volume(np.ones((4, 8, 8), np.uint8), np.eye(4)), lung_facts())
    assert preprocess(shard, out, lungs=path) == 1
    require_told(capsys.readouterr().err, "preprocess 0002", "the mask of S1 has another shape", "claire segment")
    assert [*out.iterdir()] == []


def test_a_full_disk_leaves_no_half_written_shard(
    shard: dict[str, Path], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("claire.core.contracts.prepared.PreparedWriter.add", fail)
    assert preprocess(shard, out) == 1
    require_told(capsys.readouterr().err, "preprocess 0002", "the disk is full")
    assert [*out.iterdir()] == []


@pytest.mark.parametrize(("count", "known"), [(2, True), (3, False)])
def test_origins_are_taken_where_every_slice_has_one(count: int, known: bool) -> None:
    facts = scan_facts(slices=2, positions_mm=((1.0, 2.0, 3.0), (1.0, 2.0, 8.0)))
    origins = slice_origins(facts, count)
    assert (origins is not None) == known
    if origins is not None:
        assert origins.tolist() == [[-1.0, -2.0, 3.0], [-1.0, -2.0, 8.0]]
