"""A network as other programs take it: one tensor in, one tensor out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from claire.core.contracts.variant import Variant
from claire.core.networks.build import build_network
from claire.core.networks.scan_network import ScanNetwork


class Scores(nn.Module):
    """The probabilities of scans, (B, classes) float32, of their views, (B, slices, size, size) float32 in 0…1."""

    def __init__(self, network: ScanNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, views: Tensor) -> Tensor:
        """Return the probabilities of a batch of views."""
        return torch.softmax(self.network(views).scan.float(), -1)


def scores(variant: Mapping[str, Any], classes: int) -> Scores:
    """Return the untrained network of the settings of a variant, in eval mode; a MONAI bundle names this function."""
    return Scores(build_network(Variant.model_validate(variant), classes)).eval()
