"""Maps and the network as a function of HU, on tiny networks of either kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop
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
from torch.autograd.function import FunctionCtx

from tests.support.explaining import CPU, FLAT, SOLID, Trained, train_tiny
from tests.support.lungs import case_of, two_lungs
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


def hooked(network: nn.Module) -> bool:
    """Return whether any hook is left on a network."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for module in network.modules() for kind in kinds)


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
    assert not hooked(network)


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


def test_random_maps_of_scans_are_independent() -> None:
    """One pattern for all scans would be a map of where lesions lie, not of chance."""
    made = untrained("resnet18")
    cases = [case_of(*two_lungs(), FLAT.model_copy(update={"size": 40, "slices": 12}), scan=f"S{i}") for i in range(2)]
    maps = [attribution.saliency_maps(made, case, case.view.hu, 1, ["random"], 1, 0)["random"] for case in cases]
    inside = cases[0].view.lungs > 0
    assert abs(np.corrcoef(maps[0][inside], maps[1][inside])[0, 1]) < 0.2


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


def test_the_last_block_is_seen_with_the_gradient_of_the_log_odds() -> None:
    features = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [0.0, 0.0]]]])
    activation, slope = attribution._last_block(Picked(), features, 1)
    assert torch.equal(activation, features)
    assert torch.equal(slope, torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2))


def test_grad_cam_and_grad_cam_pp_equal_a_computation_by_hand() -> None:
    """The second channel speaks against the class: it lowers Grad-CAM, and Grad-CAM++ leaves it out."""
    activation = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [0.0, 0.0]]]])
    slope = torch.tensor([[[[2.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, 0.0]]]])
    # Mean gradients 3/4 and −1/4.
    by_hand = torch.tensor([[[[0.75 - 0.5, 0.0], [0.0, 2.25]]]])
    torch.testing.assert_close(attribution._class_activation(activation, slope), by_hand)
    # ΣA = 4, so α = 4 / (2·4 + 8·4) = 1/10 and 1 / (2·1 + 1·4) = 1/6: the weight is 2/10 + 1/6 = 11/30.
    by_hand = 11 / 30 * torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])
    torch.testing.assert_close(attribution._class_activation_pp(activation, slope), by_hand)


def test_occlusion_equals_filling_each_patch_by_hand(trained: Trained) -> None:
    case, base, inside = trained.case("positive"), healthy(trained), trained.case("positive").lungs.numpy()
    found, depth, side = one_map(trained, "occlusion"), 1 if trained.variant.dimensions == "2D" else 2, 4
    odds = log_odds_of(trained.probe.scan_logits(case), 1)
    patches = [tuple(slice(start - start % n, start - start % n + n) for start, n in zip(place, (depth, side, side),
               strict=True)) for place in np.argwhere(inside)[::97]]  # fmt: skip
    for patch in patches:
        hu = case.hu.numpy().copy()
        hu[patch] = np.where(inside, base, hu)[patch]
        fall = odds - log_odds_of(trained.probe.evaluate([torch.from_numpy(hu)], case.lungs), 1)[0]
        np.testing.assert_allclose(found[patch][inside[patch]], fall, atol=2e-5)


class GuidedReLU(torch.autograd.Function):
    """ReLU whose gradient passes only where it is positive (Springenberg 2015)."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: torch.Tensor) -> torch.Tensor:
        output = values.clamp(min=0)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: FunctionCtx, slope: torch.Tensor) -> torch.Tensor:
        return slope.clamp(min=0) * (ctx.saved_tensors[0] > 0)


@pytest.mark.parametrize(("architecture", "agreement"), [("resnet18", 1.0), ("densenet121", 0.99)])
def test_guided_backpropagation_equals_another_one(
    architecture: str, agreement: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ReLUs in place, and called repeatedly (ResNet), are guided; DenseNet's last, functional one is not."""
    made = untrained(architecture)
    image = torch.rand(1, 4, 64, 64)
    found = GuidedBackprop(attribution._LogOdds(made, 1)).attribute(image.clone().requires_grad_(True))
    assert not hooked(made.network)
    monkeypatch.setattr("torch.nn.functional.relu", lambda values, inplace=False: GuidedReLU.apply(values))
    image.requires_grad_(True)
    (expected,) = torch.autograd.grad(log_odds(made.logits_of_input(image), 1).sum(), image)
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] >= agreement - 1e-5


def test_guided_grad_cam_is_the_same_in_chunks(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = one_map(trained, "guided_grad_cam")
    monkeypatch.setattr(probe, "CHUNK_VOXELS", 2 * 32 * 32)
    np.testing.assert_allclose(one_map(trained, "guided_grad_cam"), whole, rtol=1e-4, atol=1e-9)


def untrained(architecture: str) -> probe.Probe:
    """Return a network of torchvision with random weights."""
    torch.manual_seed(0)
    variant = FLAT.model_copy(update={"architecture": f"torchvision:{architecture}", "pooling": "attention"})
    return probe.Probe(build_network(variant, 2), variant, CPU)


def test_log_odds_of_three_classes_are_one_against_the_rest() -> None:
    logits = np.log([[0.2, 0.3, 0.5]])
    assert log_odds_of(logits, 2)[0] == pytest.approx(0)
    assert decide(probe.probabilities(logits), None).tolist() == [2]


@pytest.mark.parametrize("name", ["grad_cam", "grad_cam_pp", "guided_grad_cam", "smoothgrad", "occlusion"])
@pytest.mark.parametrize("architecture", ["resnet18", "densenet121"])
def test_maps_leave_backbones_alone_that_alter_their_features_in_place(
    trained: Trained, architecture: str, name: str
) -> None:
    case, made = trained.case("positive"), untrained(architecture)
    state, before = [value.clone() for value in made.network.state_dict().values()], made.scan_logits(case)
    found = attribution.saliency_maps(made, case, healthy(trained), 1, [name], 1, 0)[name]
    assert found.shape == case.view.hu.shape
    assert np.isfinite(found).all()
    assert not hooked(made.network)
    assert all(map(torch.equal, state, made.network.state_dict().values()))
    np.testing.assert_array_equal(made.scan_logits(case), before)
