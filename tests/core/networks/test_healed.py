"""Healed copies and holes: what is filled, with what, how often, and that it repeats."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.networks.healed import (
    CLEAN,
    COPIES,
    HOLES,
    OPACITY,
    Alteration,
    altered,
    draw_alterations,
    make_healable,
)
from claire.core.networks.view import View

from tests.support.lungs import SHAPE, SPOT, affine, two_lungs

EVERY = np.arange(SHAPE[0])


def view() -> View:
    hu, lungs = two_lungs((SPOT, -300.0))
    noise = np.random.default_rng(0).normal(0, 20, hu.shape)
    return View((hu + noise).astype(np.float32), lungs, EVERY, affine())


def filled(healed: bool, infill: str = "constant", seed: int = 0, slices: np.ndarray = EVERY) -> np.ndarray:
    made = view()
    hu = np.rint(made.hu).astype(np.int16)[slices]
    return altered(hu, make_healable(made), slices, Alteration(healed, infill, seed))


@pytest.mark.parametrize("infill", ["constant", "noise"])
def test_a_healed_copy_has_lung_in_place_of_its_opacities_and_is_else_the_same(infill: str) -> None:
    made = view()
    before, after, healable = np.rint(made.hu).astype(np.int16), filled(True, infill), make_healable(made)
    assert np.abs(after[SPOT].mean() + 850) < 15
    assert np.array_equal(after[healable.lung != OPACITY], before[healable.lung != OPACITY])
    assert (healable.lung == OPACITY)[SPOT].all()
    spread = after[SPOT].std()
    assert spread < 5 if infill == "constant" else 10 < spread < 40


def test_holes_spare_the_opacities() -> None:
    made = view()
    before, lung = np.rint(made.hu).astype(np.int16), make_healable(made).lung
    for seed in range(5):
        changed = filled(False, seed=seed) != before
        assert changed.any()
        assert (lung[changed] == CLEAN).all()


def test_the_same_seed_gives_the_same_copy_of_any_slices() -> None:
    assert np.array_equal(filled(True, "noise", 3), filled(True, "noise", 3))
    assert not np.array_equal(filled(True, "noise", 3), filled(True, "noise", 4))
    part = np.array([2, 4, 4, 9])
    assert filled(True, "constant", slices=part).shape == (4, *SHAPE[1:])


def test_scans_are_altered_as_often_as_stated_by_both_infills() -> None:
    drawn = [draw_alterations(np.random.default_rng(seed)) for seed in range(2000)]
    copies = [alteration for one in drawn for alteration in one[1:] if alteration]
    holed = [one[0] for one in drawn if one[0]]
    assert len(copies) / 2000 == pytest.approx(COPIES, abs=0.05)
    assert len(holed) / 2000 == pytest.approx(HOLES, abs=0.05)
    assert all(copy.healed for copy in copies)
    assert not any(hole.healed for hole in holed)
    assert {copy.infill for copy in copies} == {"constant", "noise"}
