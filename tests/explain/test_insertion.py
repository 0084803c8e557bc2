"""Lesions set into other lungs: what they add, where, and within the lungs alone."""

from __future__ import annotations

import numpy as np
import pytest
from claire.explain.insertion import all_set_in, implants, set_in

from tests.support.lungs import SHAPE, SPOT, VOXEL_ML, affine, case_of, two_lungs

CENTRE = np.array([7.0, 20.0, 10.0])


def test_an_implant_is_what_a_lesion_adds_to_clean_lung() -> None:
    (implant,) = implants(case_of(*two_lungs((SPOT, -400.0))))
    assert implant.side == 2
    assert implant.hu.max() == pytest.approx(450, abs=5)
    assert (implant.hu > 400).sum() == 108


def test_a_lesion_is_set_in_at_its_centre_and_its_volume_told() -> None:
    (implant,) = implants(case_of(*two_lungs((SPOT, -400.0))))
    healthy = case_of(*two_lungs())
    hu, size = set_in(healthy.prepared_hu, healthy, implant, CENTRE)
    changed = hu != healthy.prepared_hu
    assert changed[7, 20, 10]
    assert np.argwhere(changed).mean(0) == pytest.approx(CENTRE, abs=0.6)
    assert size == pytest.approx(changed.sum() * VOXEL_ML)
    assert np.abs(hu[7, 20, 10] + 400) < 10


def test_nothing_is_set_outside_the_lungs_or_the_volume() -> None:
    (implant,) = implants(case_of(*two_lungs((SPOT, -400.0))))
    healthy = case_of(*two_lungs())
    for corner in ([0, 8, 4], [11, 31, 35], [0, 0, 0]):
        hu, _ = set_in(healthy.prepared_hu, healthy, implant, np.array(corner, float))
        assert not (hu != healthy.prepared_hu)[healthy.prepared_lungs == 0].any()
        assert hu.shape == SHAPE


def test_a_finer_grid_takes_the_same_millilitres() -> None:
    (implant,) = implants(case_of(*two_lungs((SPOT, -400.0))))
    hu, lungs = two_lungs()
    fine = case_of(
        np.repeat(hu, 2, 0), np.repeat(lungs, 2, 0), affine=affine(np.diag([1, 1, 0.5, 1])), slices=tuple(range(24))
    )
    _, size = set_in(fine.prepared_hu, fine, implant, np.array([14.0, 20.0, 10.0]))
    _, coarse = set_in(*(lambda case: (case.prepared_hu, case))(case_of(*two_lungs())), implant, CENTRE)
    assert size == pytest.approx(coarse, rel=0.25)


def test_all_lesions_come_to_the_same_places_of_the_same_lung() -> None:
    donor = implants(case_of(*two_lungs((SPOT, -400.0), (np.s_[6:9, 14:22, 6:12], -300.0))))
    healthy = case_of(*two_lungs())
    changed = all_set_in(healthy, donor) > healthy.prepared_hu + 200
    assert changed[3, 14, 26]
    assert changed[7, 17, 9]
    assert not changed[10].any()


def test_lesions_do_not_become_denser_than_soft_tissue() -> None:
    donor = implants(case_of(*two_lungs((SPOT, 40.0))))
    ill = case_of(*two_lungs((SPOT, 40.0)))
    assert all_set_in(ill, donor)[ill.prepared_lungs > 0].max() <= 100
