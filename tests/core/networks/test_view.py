"""The view of a scan: slices, box and grid, and where its voxels lie."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.variant import Variant, Window
from claire.core.imaging.volume import AIR_HU
from claire.core.networks.view import Projection, apply_window, cut_hu, lung_box, make_view, pick_slices, triangles
from hypothesis import given
from hypothesis import strategies as st

from tests.support.synthetic import SLICES, CohortFiles


@given(st.integers(1, 400), st.integers(1, 200))
def test_picked_slices_are_in_order_and_spread(count: int, picked: int) -> None:
    rows = pick_slices(count, picked)
    assert len(rows) == picked
    assert rows[0] >= 0
    assert rows[-1] < count
    steps = np.diff(rows)
    assert steps.size == 0 or steps.max() - steps.min() <= 1


def test_a_window_maps_hu_to_zero_and_one() -> None:
    image = apply_window(np.array([-2000, -1250, -500, 250, 3000]), Window())
    assert image.tolist() == [0, 0, 0.5, 1, 1]


def test_the_lung_box_is_square_and_holds_all_lung() -> None:
    lungs = np.zeros((2, 40, 50), np.uint8)
    lungs[0, 10:20, 5], lungs[1, 30, 40] = 1, 2
    row0, row1, column0, column1 = lung_box(lungs)
    assert row1 - row0 == column1 - column0
    assert lungs[:, row0:row1, column0:column1].sum() == lungs.sum()


def test_a_scan_without_lung_is_seen_whole() -> None:
    assert lung_box(np.zeros((2, 40, 50), np.uint8)) == (0, 40, 0, 50)


@given(st.integers(1, 80), st.integers(1, 80))
def test_resampling_keeps_a_constant(old: int, new: int) -> None:
    matrix = triangles(old, new)
    assert (matrix.shape, matrix.dtype) == ((new, old), np.float32)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def cohort(cohort_files: CohortFiles) -> Cohort:
    return open_cohort(cohort_files.cohort)


@pytest.mark.parametrize("dimensions", ["2D", "3D"])
@pytest.mark.parametrize("view", ["whole", "lungs", "box"])
def test_a_view_has_the_variants_shape(cohort: Cohort, dimensions: str, view: str) -> None:
    variant = Variant(dimensions=dimensions, view=view, size=20, slices=5)
    scan_view, hu = make_view(cohort, cohort.scans[1], variant), cut_hu(cohort, cohort.scans[1], variant)
    assert scan_view.hu.shape == scan_view.lungs.shape == hu.shape == (5, 20, 20)
    assert (scan_view.hu.dtype, hu.dtype) == (np.float32, np.int16)
    assert np.array_equal(scan_view.hu, np.rint(scan_view.hu))


@pytest.mark.parametrize("view", ["whole", "lungs", "box"])
def test_only_the_lungs_view_is_air_outside_the_lungs(cohort: Cohort, view: str) -> None:
    variant = Variant(view=view, size=32, slices=8)
    scan_view, hu = make_view(cohort, cohort.scans[1], variant), cut_hu(cohort, cohort.scans[1], variant)
    outside = scan_view.lungs == 0
    assert np.array_equal(hu[~outside], scan_view.hu[~outside])
    assert np.all(hu[outside] == AIR_HU) == (view == "lungs")


@pytest.mark.parametrize("dimensions", ["2D", "3D"])
@pytest.mark.parametrize("view", ["whole", "box"])
@pytest.mark.parametrize("size", [24, 32, 64])
def test_the_affine_of_a_view_locates_its_voxels(cohort: Cohort, dimensions: str, view: str, size: int) -> None:
    scan = cohort.scans[0]
    scan_view = make_view(cohort, scan, Variant(dimensions=dimensions, view=view, size=size, slices=SLICES))

    def centroid_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
        z, y, x = np.argwhere(mask).mean(0)
        return (affine @ (x, y, z, 1))[:3]

    for side in (1, 2):
        expected = centroid_mm(cohort.voxels(scan)[1] == side, scan.affine)
        assert np.allclose(centroid_mm(scan_view.lungs == side, scan_view.affine), expected, atol=4)


def test_a_view_measures_in_mm_and_ml(cohort: Cohort) -> None:
    scan_view = make_view(cohort, cohort.scans[0], Variant(view="whole", size=32, slices=4))
    assert scan_view.spacing_mm == pytest.approx((20.0, 8.0, 8.0))
    assert scan_view.voxel_ml == pytest.approx(20 * 8 * 8 / 1000)


@pytest.mark.parametrize("dimensions", ["2D", "3D"])
def test_how_a_network_sees_a_scan_is_linear_and_equals_the_view(cohort: Cohort, dimensions: str) -> None:
    variant = Variant(dimensions=dimensions, view="box", size=20, slices=5)
    scan = cohort.scans[1]
    hu, lungs = cohort.voxels(scan)
    seen = Projection.of(lungs, variant)
    other = np.random.default_rng(0).normal(0, 100, hu.shape).astype(np.float32)
    np.testing.assert_allclose(seen.apply(hu + other), seen.apply(hu) + seen.apply(other), atol=0.01)
    view = make_view(cohort, scan, variant)
    np.testing.assert_array_equal(np.rint(seen.apply(hu)), view.hu)
    np.testing.assert_array_equal(seen.labels(lungs), view.lungs)
    np.testing.assert_array_equal(seen.affine(scan), view.affine)


@pytest.mark.parametrize("dimensions", ["2D", "3D"])
def test_a_map_of_the_view_comes_back_where_it_lies_in_the_scan(cohort: Cohort, dimensions: str) -> None:
    variant = Variant(dimensions=dimensions, view="box", size=40, slices=SLICES)
    hu, lungs = cohort.voxels(cohort.scans[1])
    seen = Projection.of(lungs, variant)
    row0, row1, column0, column1 = seen.box
    back = seen.back(seen.apply(hu))
    assert back.shape == hu.shape
    assert not back[:, :row0].any()
    inner = np.s_[:, row0 + 2 : row1 - 2, column0 + 2 : column1 - 2]
    assert np.corrcoef(back[inner].ravel(), hu[inner].ravel())[0, 1] > 0.95
