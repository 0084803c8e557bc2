"""Maps and the network as a function of HU, on tiny networks of either kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from claire.core.contracts.lesions import METHODS
from claire.core.contracts.variant import Variant
from claire.core.imaging.infill import lung_statistics
from claire.core.networks.build import build_network
from claire.core.networks.input import to_input
from claire.core.networks.scan_network import ScanOutput
from claire.core.networks.view import cut_hu
from claire.core.statistics.decisions import decide
from claire.explain import probe
from claire.explain.maps import attribution
from claire.explain.probe import log_odds, log_odds_of
from torch import nn

from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def healthy(trained: Trained) -> np.ndarray:
    view = trained.case("positive").view
    return lung_statistics(view.hu, view.lungs, view.spacing_mm).mean


def one_map(trained: Trained, name: str, steps: int = 8, seed: int = 0) -> np.ndarray:
    case = trained.case("positive")
    return attribution.saliency_maps(trained.probe, case, healthy(trained), 1, [name], steps, seed)[name]


def lesion(trained: Trained) -> np.ndarray:
    case = trained.case("positive")
    return (case.view.hu > -600) & (case.view.lungs > 0)


@pytest.mark.parametrize("change", [{}, {"view": "lungs"}, {"normalisation": "slice"}])
def test_the_differentiable_input_is_the_one_that_training_saw(trained: Trained, change: dict) -> None:
    if trained.variant.dimensions == "3D" and "normalisation" in change:
        change = {}
    variant: Variant = trained.variant.model_copy(update=change)
    case = trained.case("positive")
    cut = torch.from_numpy(cut_hu(trained.cohort, case.scan, variant))
    seen = to_input(case.hu, variant, case.lungs)
    np.testing.assert_allclose(seen.numpy(), to_input(cut, variant).numpy(), atol=1e-6)


def test_slices_embedded_one_by_one_and_pooled_give_the_same_logits(
    cohort_files: CohortFiles, trained: Trained
) -> None:
    case = trained.case("positive")
    if trained.probe.slicewise:
        features = trained.probe.embed(list(case.hu), list(case.lungs))
        pooled = trained.probe.pool([torch.stack(features)])[0]
        np.testing.assert_allclose(pooled, trained.probe.scan_logits(case), atol=1e-5)
    else:
        assert trained.variant.dimensions == "3D"


def test_gradients_of_many_slices_are_the_same_in_chunks(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    case = trained.case("positive")

    def slope() -> torch.Tensor:
        image = to_input(case.hu, trained.variant, case.lungs)[None].requires_grad_(True)
        return torch.autograd.grad(log_odds(trained.probe.logits_of_input(image), 1).sum(), image)[0]

    whole = slope()
    monkeypatch.setattr(probe, "CHUNK_VOXELS", 2 * 32 * 32)
    torch.testing.assert_close(slope(), whole)


def test_every_map_is_a_method_of_the_contract() -> None:
    assert set(attribution.MAPS) | {"interventions", "healing"} == set(METHODS)
    assert set(attribution.FEW) <= set(attribution.MAPS)


@pytest.mark.parametrize("name", list(attribution.MAPS))
def test_a_map_lies_on_the_grid_repeats_itself_and_leaves_the_network_alone(trained: Trained, name: str) -> None:
    case, network = trained.case("positive"), trained.probe.network
    state, before = [value.clone() for value in network.state_dict().values()], trained.probe.scan_logits(case)
    first, second = one_map(trained, name), one_map(trained, name)
    assert first.shape == case.view.hu.shape
    assert np.isfinite(first).all()
    assert first.any()
    np.testing.assert_array_equal(first, second)
    assert all(map(torch.equal, state, network.state_dict().values()))
    np.testing.assert_array_equal(trained.probe.scan_logits(case), before)
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize(
    "name", ["gradient", "integrated_gradients", "grad_cam", "grad_cam_pp", "guided_grad_cam", "occlusion"]
)
def test_a_map_is_strongest_at_the_lesion(trained: Trained, name: str) -> None:
    found = one_map(trained, name)
    peak = np.array(np.unravel_index(int(found.argmax()), found.shape))
    assert np.abs(np.argwhere(lesion(trained)) - peak).max(1).min() <= 2


def test_integrated_gradients_add_up_to_the_change_of_the_log_odds(trained: Trained) -> None:
    case = trained.case("positive")
    total = one_map(trained, "integrated_gradients", steps=32).sum()
    filled = torch.where(case.lungs, torch.from_numpy(healthy(trained)), case.hu)
    odds = log_odds_of(trained.probe.evaluate([case.hu, filled], case.lungs), 1)
    assert total == pytest.approx(odds[0] - odds[1], rel=0.1)


@pytest.mark.parametrize("name", ["hu_raw", "hu_smoothed", "random", "edges", "occlusion"])
def test_baselines_stay_within_the_lungs(trained: Trained, name: str) -> None:
    values = one_map(trained, name)
    assert not values[trained.case("positive").view.lungs == 0].any()
    assert name == "occlusion" or (values >= 0).all()


def test_random_maps_follow_their_seed(trained: Trained) -> None:
    assert not np.array_equal(one_map(trained, "random", seed=1), one_map(trained, "random", seed=2))


class Picked(nn.Module):
    """Two feature maps, of which the score is the sum of the first and minus the second."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()

    def forward(self, image: torch.Tensor) -> ScanOutput:
        total = self.features(image).sum((2, 3))
        return ScanOutput(torch.stack([total[:, 1], total[:, 0]], 1), None)

    @property
    def feature_module(self) -> nn.Module:
        return self.features


def test_grad_cam_and_its_successor_are_those_of_their_papers() -> None:
    features = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [0.0, 0.0]]]])
    activation, slope = attribution._last_block(Picked(), features, 1)
    assert torch.equal(activation, features)
    assert torch.equal(slope, torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2))


def test_log_odds_of_three_classes_are_one_against_the_rest() -> None:
    logits = np.log([[0.2, 0.3, 0.5]])
    assert log_odds_of(logits, 2)[0] == pytest.approx(0)
    assert decide(probe.probabilities(logits), None).tolist() == [2]


@pytest.mark.parametrize("name", ["grad_cam", "grad_cam_pp", "guided_grad_cam", "smoothgrad"])
@pytest.mark.parametrize("architecture", ["resnet18", "densenet121"])
def test_maps_work_on_backbones_that_alter_their_features_in_place(
    trained: Trained, architecture: str, name: str
) -> None:
    variant = FLAT.model_copy(update={"architecture": f"torchvision:{architecture}", "pooling": "attention"})
    case = trained.case("positive")
    made = probe.Probe(build_network(variant, 2).eval(), variant, trained.probe.device)
    found = attribution.saliency_maps(made, case, healthy(trained), 1, [name], 1, 0)[name]
    assert found.shape == case.view.hu.shape
    assert np.isfinite(found).all()
