"""A network over a scan: attention and poolings from slices to the scan."""

from __future__ import annotations

import torch
from claire.core.networks.scan_network import ScanNetwork
from torch import nn


def network() -> ScanNetwork:
    """Return a small 2D network with attention, in evaluation mode."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ScanNetwork(backbone, 8, 2, 2, 3, "attention", "0").eval()


def volume() -> torch.Tensor:
    return torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))


def test_attention_is_a_weighting_of_the_slices() -> None:
    output = network()(volume())
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
    scan_network, scans = network(), volume()
    with torch.no_grad():
        assert torch.allclose(scan_network(scans).scan[:1], scan_network(scans[:1].flip(1)).scan, atol=1e-5)


def test_explain_finds_the_last_spatial_layer_by_its_name() -> None:
    assert isinstance(network().feature_module, nn.Conv2d)
