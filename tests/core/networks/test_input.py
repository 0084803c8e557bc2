"""HU to network input: window, view, normalisation, and gradients through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from claire.core.contracts.variant import Variant, Window
from claire.core.imaging.volume import AIR_HU
from claire.core.networks.input import to_input, window
from claire.core.networks.view import apply_window

from tests.support.synthetic import voxels


def hu() -> torch.Tensor:
    return torch.from_numpy(voxels(1, True)[0])


def lungs() -> torch.Tensor:
    return torch.from_numpy(voxels(1, True)[1] > 0)


def test_the_input_is_windowed_and_clipped() -> None:
    image = to_input(torch.tensor([-2000, -1250, -500, 250, 3000]), Variant())
    assert (image.dtype, image.tolist()) == (torch.float32, [0, 0, 0.5, 1, 1])


def test_windowed_values_are_not_clipped() -> None:
    assert window(torch.tensor([-2000.0, 1000.0]), Variant()).tolist() == [-0.5, 1.5]


def test_pictures_and_networks_have_the_same_window() -> None:
    variant = Variant(window=Window(centre=40, width=400))
    np.testing.assert_allclose(to_input(hu(), variant).numpy(), apply_window(hu().numpy(), variant.window), atol=1e-6)


def test_normalisation_by_slice_stretches_each() -> None:
    image = to_input(hu(), Variant(normalisation="slice"))
    assert torch.allclose(image.amin((1, 2)), torch.tensor(0.0))
    assert torch.allclose(image.amax((1, 2)), torch.tensor(1.0))


def test_a_slice_of_one_value_is_not_divided_by_zero() -> None:
    assert to_input(torch.full((1, 4, 4), -500), Variant(normalisation="slice")).unique().tolist() == [0.0]


@pytest.mark.parametrize("view", ["whole", "box", "lungs"])
def test_only_the_lungs_view_is_air_outside_the_lungs(view: str) -> None:
    variant = Variant(view=view)
    image = to_input(hu().float(), variant, lungs())
    air = to_input(torch.tensor(float(AIR_HU)), variant)
    assert bool((image[~lungs()] == air).all()) == (view == "lungs")
    assert torch.equal(image[lungs()], to_input(hu(), variant)[lungs()])


def test_gradients_reach_the_hu_within_window_and_lungs() -> None:
    volume = hu().float().requires_grad_(True)
    to_input(volume, Variant(view="lungs"), lungs()).sum().backward()
    assert volume.grad is not None
    assert torch.allclose(volume.grad[lungs()], torch.tensor(1 / 1500))
    assert volume.grad[~lungs()].unique().tolist() == [0.0]
