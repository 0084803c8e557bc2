"""Networks by name, poolings, the file of weights that `train` writes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.variant import Variant
from claire.core.networks import architectures
from claire.core.networks.build import ScanNetwork, build_network, load_network
from claire.train.pretrained import load_pretrained
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


def test_attention_is_a_weighting_of_the_slices() -> None:
    output = build_network(variant(), classes=2).eval()(volume())
    assert output.attention is not None
    assert torch.allclose(output.attention.sum(1), torch.ones(2))
    assert torch.allclose((output.attention.unsqueeze(-1) * output.slices).sum(1), output.scan, atol=1e-6)


def pooled(slices: list[list[float]], pooling: str) -> torch.Tensor:
    network = ScanNetwork(nn.Identity(), 2, 2, 2, 1, pooling, "")
    network.head = nn.Identity()
    return network.pool(torch.tensor([slices])).scan[0]


def test_the_top_quarter_of_the_evidence_decides() -> None:
    slices = [[0.0, 3.0], [1.0, 3.0], [9.0, 0.0], [0.0, -5.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [2.0, 2.0]]
    assert pooled(slices, "topk").tolist() == [0.0, 2.5]
    assert pooled(slices, "max").tolist() == [0.0, 3.0]


def test_inherited_labels_average_probabilities() -> None:
    slices = [[0.0, 2.0], [1.0, -1.0], [0.0, 0.0]]
    expected = torch.softmax(torch.tensor(slices), -1).mean(0)
    assert torch.allclose(torch.softmax(pooled(slices, "inherited"), -1), expected)
    assert torch.allclose(pooled(slices, "mean"), torch.tensor(slices).mean(0))


def test_the_order_of_slices_and_the_other_scans_do_not_matter() -> None:
    network = build_network(variant(), classes=2).eval()
    scans = volume()
    with torch.no_grad():
        assert torch.allclose(network(scans).scan[:1], network(scans[:1].flip(1)).scan, atol=1e-5)


def test_the_lists_of_names_are_those_of_the_libraries() -> None:
    from monai.networks import nets
    from torchvision import models

    assert models.list_models(module=models) == architectures.TORCHVISION_2D
    assert models.list_models(module=models.video) == architectures.TORCHVISION_3D
    assert [name for name in architectures.MONAI if not (hasattr(nets, name) or "efficientnet_b" in name)] == []


@pytest.mark.parametrize(
    ("architecture", "near"),
    [
        ("torchvision:resnt18", "resnet18"),
        ("monai:Densenet12", "DenseNet121"),
        ("torchvision:deeplabv3_resnet50", "resnet50"),
        ("torchvision:r3d_18", "Near"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(architecture: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        build_network(variant(architecture), classes=2)


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be built"):
        build_network(variant("monai:UNet"), classes=2)


def test_a_size_that_a_network_cannot_take_is_named() -> None:
    with pytest.raises(UsageError, match="32×32"):
        build_network(variant("torchvision:inception_v3", size=32), classes=2)


def own_module(**factories: object) -> str:
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
    made = ScanNetwork(nn.Flatten(), 4, 2, 2, 1, "mean", "")
    name = own_module(factory=lambda variant, classes: made)
    assert build_network(variant(f"python:{name}:factory"), classes=2) is made


@pytest.mark.parametrize("name", ["no_such_module:factory", "json:factory", "json:dumps"])
def test_a_factory_that_is_none_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        build_network(variant(f"python:{name}"), classes=2)


def test_weights_of_another_task_fill_the_backbone(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    given = resnet18(weights=None)
    torch.save({"state_dict": {f"module.{k}": v for k, v in given.state_dict().items()}}, tmp_path / "w.pth")
    network = build_network(variant(), classes=2)
    report = load_pretrained(network, tmp_path / "w.pth")
    assert torch.equal(network.backbone.conv1.weight, given.conv1.weight)
    assert set(report.unused) == {"module.fc.weight", "module.fc.bias"}
    assert {name.split(".")[0] for name in report.untouched} == {"head", "attention"}


def test_the_densenet_names_of_old_files_are_known(tmp_path: Path) -> None:
    network = build_network(variant("torchvision:densenet121"), classes=2)
    name = "features.denseblock1.denselayer1.norm.1.weight"
    torch.save({name: torch.full((64,), 7.0)}, tmp_path / "w.pth")
    load_pretrained(network, tmp_path / "w.pth")
    assert network.backbone.features.denseblock1.denselayer1.norm1.weight.unique().tolist() == [7.0]


def test_weights_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ClaireError, match="fills no weight"):
        load_pretrained(build_network(variant(), classes=2), tmp_path / "w.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ClaireError, match="read safely"):
        load_pretrained(build_network(variant(), classes=2), tmp_path / "w.pth")


def test_a_file_that_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v-f0.safetensors").write_bytes(b"no weights")
    with pytest.raises(ClaireError, match="no weights file"):
        load_network(tmp_path / "v-f0.safetensors")
