"""The cohort file and the folds: what is written is what is read."""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.tables import write_csv
from claire.core.contracts.cohort import Scan, open_cohort, write_cohort
from claire.core.contracts.folds import FoldRow, read_folds, write_folds
from hypothesis import given, settings
from pydantic import ValidationError

from tests.support.damage import DAMAGES, damage, damaged
from tests.support.locks import held_open
from tests.support.synthetic import CLASSES, SIZE, CohortFiles, make_cohort, voxels


def test_a_cohort_is_read_as_it_was_written(cohort_files: CohortFiles) -> None:
    cohort = open_cohort(cohort_files.cohort)
    assert (cohort.classes, cohort.sha256, len(cohort.scans)) == (CLASSES, cohort_files.sha256, 18)
    for i in (0, 7, 17):
        hu, lungs = cohort.voxels(cohort.scans[i])
        expected = voxels(i, i % 2 == 1)
        assert np.array_equal(hu, expected[0])
        assert np.array_equal(lungs, expected[1])
        assert cohort.target(cohort.scans[i]) == i % 2


def test_voxels_are_mapped_and_read_only(cohort_files: CohortFiles) -> None:
    hu, _ = open_cohort(cohort_files.cohort).voxels(open_cohort(cohort_files.cohort).scans[3])
    assert isinstance(hu, np.memmap)
    assert not hu.flags.writeable


def test_the_same_input_gives_the_same_bytes(cohort_files: CohortFiles, tmp_path: Path) -> None:
    again = make_cohort(tmp_path)
    assert again.cohort.read_bytes() == cohort_files.cohort.read_bytes()
    assert again.sha256 == cohort_files.sha256


def test_the_hash_covers_voxels_and_description(cohort_files: CohortFiles, tmp_path: Path) -> None:
    cohort = open_cohort(cohort_files.cohort)
    scan = cohort.scans[0].model_copy(update={"first": 0})
    hu, lungs = (block.copy() for block in cohort.voxels(scan))

    def sha(scan: Scan, hu: np.ndarray) -> str:
        return write_cohort(tmp_path / "x.h5", [scan], CLASSES, SIZE, [(hu, lungs)])

    positive = scan.model_copy(update={"label": "positive"})
    assert len({sha(scan, hu), sha(positive, hu), sha(scan, hu + np.int16(1))}) == 3


def test_a_scan_survives_its_document(cohort_files: CohortFiles) -> None:
    scan = open_cohort(cohort_files.cohort).scans[5]
    again = Scan.model_validate_json(scan.model_dump_json())
    assert again.model_dump(mode="json") == scan.model_dump(mode="json")
    assert again.spacing_mm == (10.0, 8.0, 8.0)


def test_scans_are_found_by_patient(cohort_files: CohortFiles) -> None:
    cohort = open_cohort(cohort_files.cohort)
    assert [scan.scan for scan in cohort.by_patient({"P000000000002", "P000000000001"})] == [
        "S000000000001",
        "S000000000002",
    ]


@pytest.mark.parametrize("keep", [0, 100, 30000])
def test_a_broken_cohort_is_named(cohort_files: CohortFiles, tmp_path: Path, keep: int) -> None:
    (tmp_path / "cohort.h5").write_bytes(cohort_files.cohort.read_bytes()[:keep])
    with pytest.raises(ClaireError, match=r"cohort\.h5"):
        open_cohort(tmp_path / "cohort.h5")


def test_a_block_of_another_shape_leaves_no_cohort(cohort_files: CohortFiles, tmp_path: Path) -> None:
    scan = open_cohort(cohort_files.cohort).scans[0].model_copy(update={"first": 0})
    block = np.zeros((1, SIZE, SIZE), np.int16), np.zeros((1, SIZE, SIZE), np.uint8)
    with pytest.raises(ClaireError, match=scan.scan):
        write_cohort(tmp_path / "cohort.h5", [scan], CLASSES, SIZE, [block])
    assert list(tmp_path.iterdir()) == []


def test_folds_round_trip_and_have_roles(tmp_path: Path) -> None:
    rows = [FoldRow(patient=f"P{i}", label="a", split="", fold=i % 3) for i in range(6)]
    rows.append(FoldRow(patient="P9", label="a", split="external", fold=None))
    folds = read_folds(write_folds(tmp_path / "folds.csv", rows))
    roles = folds.roles(2)
    assert (folds.count, roles["test"], roles["validation"]) == (3, {"P2", "P5"}, {"P0", "P3"})
    assert (roles["train"], roles["external"]) == ({"P1", "P4"}, {"P9"})
    assert (folds.split_of("P9"), folds.split_of("P1")) == ("external", "")


@pytest.mark.parametrize(
    ("rows", "error", "word"),
    [
        ([{"patient": "P1", "fold": 0}, {"patient": "P1", "fold": 1}], UsageError, "duplicate"),
        ([{"patient": "P1", "split": "dev"}], ClaireError, "line 2 of folds.csv is not valid: split"),
        ([{"patient": "P1", "fold": "x"}], ClaireError, "line 2 of folds.csv is not valid: fold"),
        ([{"patient": "P1"}], UsageError, "neither"),
    ],
)
def test_folds_that_cannot_be_are_refused(
    tmp_path: Path, rows: list[dict], error: type[ClaireError], word: str
) -> None:
    with pytest.raises(error, match=word):
        read_folds(write_csv(tmp_path / "folds.csv", FoldRow.columns(), rows))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_cohort_names_the_step_to_run_again(cohort_files: CohortFiles, tmp_path: Path, how: str) -> None:
    path = damage(cohort_files.cohort, how, tmp_path)
    with pytest.raises(ClaireError, match=r"cohort\.h5 is not a cohort file") as caught:
        open_cohort(path)
    assert "claire cohort" in caught.value.remedy


def test_a_file_of_another_program_is_no_cohort(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "cohort.h5", "w") as file:
        file["hu"] = np.zeros((1, 4, 4), "<i2")
    with pytest.raises(ClaireError, match=r"cohort\.h5 is not a cohort file: KeyError"):
        open_cohort(tmp_path / "cohort.h5")


def test_a_missing_cohort_is_named_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(ClaireError, match=r"cohort\.h5 is not a cohort file: .*No such file"):
        open_cohort(tmp_path / "cohort.h5")


def test_a_cohort_that_another_process_holds_open_can_be_read(cohort_files: CohortFiles, tmp_path: Path) -> None:
    path = Path(shutil.copy(cohort_files.cohort, tmp_path))
    with held_open(path):
        assert open_cohort(path).sha256 == cohort_files.sha256


def test_a_scan_of_another_geometry_is_refused(cohort_files: CohortFiles) -> None:
    values = open_cohort(cohort_files.cohort).scans[0].model_dump(mode="json")
    for affine in ([[1.0, 0, 0]], [[float("nan")] * 4] * 4, {"rows": 4}, "identity"):
        with pytest.raises(ValidationError, match=r"4×4 matrix of finite numbers|could not convert"):
            Scan.model_validate(values | {"affine": affine})


@cache
def whole() -> bytes:
    with TemporaryDirectory() as folder:
        return make_cohort(Path(folder), patients=3).cohort.read_bytes()


@settings(max_examples=150)
@given(damaged(whole()))
def test_damage_never_ends_in_an_unforeseen_error(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cohort.h5"
        path.write_bytes(content)
        with suppress(ClaireError):
            cohort = open_cohort(path)
            assert {hu.shape for hu, _ in map(cohort.voxels, cohort.scans)} == {(8, SIZE, SIZE)}
