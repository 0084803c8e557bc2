"""Networks by name, networks of the user's own, weights loaded again."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.variant import Variant
from claire.core.contracts.weights import write_weights
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.networks.build import build_network, load_network
from claire.core.networks.scan_network import ScanNetwork
from torch import nn

SLICES, SIZE = 4, 64


def variant(architecture: str = "torchvision:resnet18", **more: object) -> Variant:
    return Variant(**{"architecture": architecture, "size": SIZE, "slices": SLICES, **more})


def volume(scans: int = 2, size: int = SIZE, slices: int = SLICES) -> torch.Tensor:
    return torch.rand(scans, slices, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "architecture",
    [
        "torchvision:resnet18", "torchvision:densenet121", "torchvision:resnext50_32x4d", "torchvision:vgg11",
        "torchvision:efficientnet_b0", "torchvision:convnext_tiny", "torchvision:squeezenet1_1", "torchvision:swin_t",
        "monai:DenseNet121", "monai:resnet10", "monai:efficientnet_b0",
    ],
)  # fmt: skip
def test_a_2d_network_reads_slices_and_maps_their_features(architecture: str) -> None:
    network = build_network(variant(architecture), classes=3).eval()
    maps: list[torch.Size] = []
    network.feature_module.register_forward_hook(lambda _m, _i, out: maps.append(out.shape))
    with torch.no_grad():
        output = network(volume())
    assert output.scan.shape == (2, 3)
    assert output.slices is not None
    assert output.slices.shape == (2, SLICES, 3)
    assert maps[0][0] == 2 * SLICES
    assert maps[0][1] >= maps[0][2] > 1


def test_inception_is_built_without_its_second_head() -> None:
    network = build_network(variant("torchvision:inception_v3", size=96), classes=2).train()
    assert network(volume(size=96)).scan.shape == (2, 2)


@pytest.mark.parametrize("architecture", ["monai:resnet10", "torchvision:r3d_18"])
def test_a_3d_network_reads_the_volume(architecture: str) -> None:
    network = build_network(variant(architecture, dimensions="3D", slices=8, size=32), classes=2).eval()
    maps: list[torch.Size] = []
    network.feature_module.register_forward_hook(lambda _m, _i, out: maps.append(out.shape))
    output = network(volume(size=32, slices=8))
    assert (output.scan.shape, output.slices, output.attention) == ((2, 2), None, None)
    assert len(maps[0]) == 5


@pytest.mark.parametrize(
    ("architecture", "near"),
    [
        ("torchvision:resnt18", "resnet18"),
        ("monai:Densenet12", "DenseNet121"),
        ("torchvision:deeplabv3_resnet50", "resnet50"),
        ("torchvision:r3d_18", "such as torchvision:"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(architecture: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        build_network(variant(architecture), classes=2)


def test_a_network_that_is_not_a_classifier_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be built"):
        build_network(variant("monai:UNet"), classes=2)


def test_a_size_that_does_not_fit_is_named() -> None:
    with pytest.raises(UsageError, match="32×32"):
        build_network(variant("torchvision:inception_v3", size=32), classes=2)


def own_module(**factories: object) -> str:
    """Make a module of functions importable; return its name."""
    module = ModuleType("own_networks_of_a_test")
    module.__dict__.update(factories)
    sys.modules[module.__name__] = module
    return module.__name__


def test_a_network_of_ones_own_is_a_backbone() -> None:
    def factory(variant: Variant, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    network = build_network(variant(f"python:{own_module(factory=factory)}:factory"), classes=2)
    assert network.head.in_features == 8
    assert network(volume()).scan.shape == (2, 2)


def test_ones_own_scan_network_is_taken_as_it_is() -> None:
    network = ScanNetwork(nn.Flatten(), 4, 2, 2, 1, "mean", "")
    name = own_module(factory=lambda variant, classes: network)
    assert build_network(variant(f"python:{name}:factory"), classes=2) is network


@pytest.mark.parametrize("name", ["no_such_module:factory", "json:factory", "json:dumps"])
def test_an_invalid_factory_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        build_network(variant(f"python:{name}"), classes=2)


def test_a_factory_that_fails_is_a_usage_error() -> None:
    name = own_module(factory=lambda variant, classes: 1 // 0)
    with pytest.raises(UsageError, match="failed: ZeroDivisionError"):
        build_network(variant(f"python:{name}:factory"), classes=2)


def test_a_backbone_without_a_spatial_output_is_refused() -> None:
    name = own_module(factory=lambda variant, classes: nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 3)))
    with pytest.raises(UsageError, match="no layer with a spatial output"):
        build_network(variant(f"python:{name}:factory"), classes=2)


def test_weights_are_loaded_into_the_network_they_are_of(tmp_path: Path) -> None:
    network = build_network(variant(), classes=3)
    facts = WeightsFacts(run="r", variant=variant(), fold=0, classes=("a", "b", "c"), cohort_sha256="")
    loaded, read = load_network(write_weights(tmp_path / "r.safetensors", network.state_dict(), facts))
    assert read == facts
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(volume()).scan, network.eval()(volume()).scan)


def test_weights_of_another_network_do_not_fit(tmp_path: Path) -> None:
    state = build_network(variant(), classes=2).state_dict()
    facts = WeightsFacts(run="r", variant=variant(), fold=0, classes=("a", "b", "c"), cohort_sha256="")
    with pytest.raises(ClaireError, match=r"r\.safetensors does not fit torchvision:resnet18"):
        load_network(write_weights(tmp_path / "r.safetensors", state, facts))
