"""The healer on tiny networks: it turns them, within bounds, and leaves them untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from claire.explain.healing import healer as healing
from claire.explain.probe import log_odds_of

from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def loaders(trained: Trained, label: str) -> list:
    return [lambda nth=nth: trained.case(label, nth) for nth in range(4)]


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([value.flatten() for value in trained.probe.network.state_dict().values()])


def test_the_healer_turns_the_network_and_leaves_its_weights_alone(trained: Trained) -> None:
    before = weights(trained)
    called = [(load, 1) for load in loaders(trained, "positive")]
    healer = healing.train_healer(trained.probe, called, loaders(trained, "negative"), 40, seed=0)
    case = trained.case("positive")
    mask, infill = healer.heal(case)
    healed = healing.healed_hu(case.view.hu, mask, infill)
    odds = log_odds_of(trained.probe.evaluate([case.hu, torch.from_numpy(healed)], case.lungs), 1)
    assert odds[1] < odds[0] - 1
    assert torch.equal(weights(trained), before)
    assert healer.history[-1]["counterfactual"] < healer.history[0]["counterfactual"]


def test_masks_and_infills_keep_their_bounds(trained: Trained) -> None:
    healer = healing.Healer(healing.Generator(trained.variant.dimensions), torch.device("cpu"))
    case = trained.case("positive")
    mask, infill = healer.heal(case)
    assert mask.shape == infill.shape == case.view.hu.shape
    assert 0 <= mask.min() <= mask.max() <= 1
    assert not mask[~case.lungs.numpy()].any()
    assert -1051 <= infill.min() <= infill.max() <= -149


def test_the_same_seed_gives_the_same_healer(trained: Trained) -> None:
    called = [(load, 1) for load in loaders(trained, "positive")]
    masks = []
    for _ in range(2):
        torch.rand(3)
        healer = healing.train_healer(trained.probe, called, loaders(trained, "negative"), 3, seed=5)
        masks.append(healer.heal(trained.case("positive"))[0])
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("shape", [(5, 36, 36), (3, 30, 30)])
def test_odd_sizes_pass_through_generator_and_critic(shape: tuple[int, int, int]) -> None:
    hu, lungs = torch.full((1, *shape), -850.0), torch.ones((1, *shape), dtype=torch.bool)
    for dimensions in ("2D", "3D"):
        mask, _ = healing.Generator(dimensions)(hu, lungs, torch.zeros_like(lungs))
        assert mask.shape == (1, *shape)
        assert torch.isfinite(healing.Critic(dimensions)(hu, lungs)).all()
