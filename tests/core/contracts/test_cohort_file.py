"""The cohort file, the folds and the view: what is written is what is read, in the right place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.tables import write_csv
from claire.core.contracts.cohort import Cohort, Scan, open_cohort, scan_from, write_cohort
from claire.core.contracts.folds import COLUMNS, read_folds, write_folds
from claire.core.contracts.variant import Variant, Window
from claire.core.networks.view import AIR_HU, apply_window, lung_box, make_view, normalise, pick_slices
from hypothesis import given
from hypothesis import strategies as st

from tests.support.synthetic import CLASSES, SIZE, SLICES, CohortFiles, make_cohort, voxels


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
    scan = replace(cohort.scans[0], first=0)
    hu, lungs = (block.copy() for block in cohort.voxels(scan))

    def sha(scan: Scan, hu: np.ndarray) -> str:
        return write_cohort(tmp_path / "x.h5", [scan], CLASSES, SIZE, [(hu, lungs)])

    assert len({sha(scan, hu), sha(replace(scan, label="positive"), hu), sha(scan, hu + np.int16(1))}) == 3


def test_a_scan_survives_its_document(cohort_files: CohortFiles) -> None:
    scan = open_cohort(cohort_files.cohort).scans[5]
    again = scan_from(scan.document())
    assert again.document() == scan.document()
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
    scan = replace(open_cohort(cohort_files.cohort).scans[0], first=0)
    block = np.zeros((1, SIZE, SIZE), np.int16), np.zeros((1, SIZE, SIZE), np.uint8)
    with pytest.raises(ClaireError, match=scan.scan):
        write_cohort(tmp_path / "cohort.h5", [scan], CLASSES, SIZE, [block])
    assert list(tmp_path.iterdir()) == []


def test_folds_round_trip_and_have_roles(tmp_path: Path) -> None:
    rows = [{"patient": f"P{i}", "label": "a", "site": "", "split": "", "fold": i % 3} for i in range(6)]
    rows.append({"patient": "P9", "label": "a", "site": "", "split": "external", "fold": None})
    folds = read_folds(write_folds(tmp_path / "folds.csv", rows))
    roles = folds.roles(2)
    assert (folds.count, roles["test"], roles["validation"]) == (3, {"P2", "P5"}, {"P0", "P3"})
    assert (roles["train"], roles["external"]) == ({"P1", "P4"}, {"P9"})


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([{"patient": "P1", "fold": 0}, {"patient": "P1", "fold": 1}], "twice"),
        ([{"patient": "P1", "split": "dev"}], "dev"),
        ([{"patient": "P1"}], "neither"),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path: Path, rows: list[dict], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        read_folds(write_csv(tmp_path / "folds.csv", COLUMNS, rows))


@given(st.integers(1, 400), st.integers(1, 200))
def test_picked_slices_are_in_order_and_spread(count: int, wanted: int) -> None:
    rows = pick_slices(count, wanted)
    assert len(rows) == wanted
    assert rows[0] >= 0
    assert rows[-1] < count
    steps = np.diff(rows)
    assert steps.size == 0 or steps.max() - steps.min() <= 1


def test_a_window_maps_hu_to_zero_and_one() -> None:
    image = apply_window(np.array([-2000, -1250, -500, 250, 3000]), Window())
    assert image.tolist() == [0, 0, 0.5, 1, 1]


def test_normalisation_by_slice_stretches_each(cohort_files: CohortFiles) -> None:
    image = normalise(voxels(1, True)[0], Variant(normalisation="slice"))
    assert np.allclose(image.min((1, 2)), 0)
    assert np.allclose(image.max((1, 2)), 1)


def test_the_lung_box_is_square_and_holds_all_lung() -> None:
    lungs = np.zeros((2, 40, 50), np.uint8)
    lungs[0, 10:20, 5], lungs[1, 30, 40] = 1, 2
    row0, row1, column0, column1 = lung_box(lungs)
    assert row1 - row0 == column1 - column0
    assert lungs[:, row0:row1, column0:column1].sum() == lungs.sum()


@pytest.fixture(scope="module")
def cohort(cohort_files: CohortFiles) -> Cohort:
    return open_cohort(cohort_files.cohort)


@pytest.mark.parametrize("dimensions", ["2D", "3D"])
@pytest.mark.parametrize("view", ["whole", "lungs", "box"])
def test_a_view_has_the_variants_shape(cohort: Cohort, dimensions: str, view: str) -> None:
    variant = Variant(dimensions=dimensions, view=view, size=20, slices=5)
    seen = make_view(cohort, cohort.scans[1], variant)
    image = seen.image(variant)
    assert seen.hu.shape == seen.lungs.shape == image.shape == (5, 20, 20)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1


def test_the_lungs_view_blackens_the_rest(cohort: Cohort) -> None:
    variant = Variant(view="lungs", size=32, slices=8)
    seen = make_view(cohort, cohort.scans[1], variant)
    outside = seen.image(variant)[seen.lungs == 0]
    assert np.all(outside == apply_window(np.array([AIR_HU]), variant.window))


@pytest.mark.parametrize("dimensions", ["2D", "3D"])
@pytest.mark.parametrize("view", ["whole", "box"])
@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_view_knows_where_its_voxels_lie(cohort: Cohort, dimensions: str, view: str, size: int) -> None:
    scan = cohort.scans[0]
    seen = make_view(cohort, scan, Variant(dimensions=dimensions, view=view, size=size, slices=SLICES))

    def centroid_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
        z, y, x = np.argwhere(mask).mean(0)
        return (affine @ (x, y, z, 1))[:3]

    for side in (1, 2):
        there = centroid_mm(cohort.voxels(scan)[1] == side, scan.affine)
        assert np.allclose(centroid_mm(seen.lungs == side, seen.affine), there, atol=4)


def test_voxels_of_a_view_keep_the_volume(cohort: Cohort) -> None:
    scan = cohort.scans[0]
    lung_ml = (cohort.voxels(scan)[1] > 0).sum() * np.prod(scan.spacing_mm) / 1000
    for slices in (4, 8):
        seen = make_view(cohort, scan, Variant(view="whole", size=64, slices=slices))
        assert (seen.lungs > 0).sum() * seen.voxel_ml == pytest.approx(lung_ml, rel=0.05)


def test_an_intervention_is_normalised_like_the_scan(cohort: Cohort) -> None:
    variant = Variant(view="lungs", size=32, slices=8)
    seen = make_view(cohort, cohort.scans[1], variant)
    assert np.array_equal(seen.image(variant, seen.hu.copy()), seen.image(variant))
