"""A network that reads a whole scan: a backbone, a linear head and, in 2D, a pooling over slices.

2D backbones see the slices of a scan one by one; a pooling over slices makes the scan's decision (multiple-instance
learning). 3D backbones see the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Mean and standard deviation of ImageNet's pictures in grey: as pretrained backbones expect.
GREY_MEAN, GREY_DEVIATION = 0.449, 0.226
ATTENTION_WIDTH = 128
#: Share of a scan's slices that `pooling: topk` averages.
TOP_SHARE = 0.25


@dataclass
class ScanOutput:
    """The output of a network for a batch of scans.

    `scan`: (B, classes) logits; `slices`: (B, D, classes) logits, None in 3D; `attention`: (B, D) weights that sum to
    1 over the slices, None without attention pooling.
    """

    scan: Tensor
    slices: Tensor | None = None
    attention: Tensor | None = None


class GatedAttention(nn.Module):
    """Weights of slices from their features (Ilse, Tomczak and Welling 2018, arXiv:1802.04712, equation 9)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, ATTENTION_WIDTH)
        self.gate = nn.Linear(width, ATTENTION_WIDTH)
        self.score = nn.Linear(ATTENTION_WIDTH, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, D) weights of (B, D, width) features."""
        gated = torch.tanh(self.value(features)) * torch.sigmoid(self.gate(features))
        return torch.softmax(self.score(gated).squeeze(-1), dim=1)


class ScanNetwork(nn.Module):
    """A backbone, a linear head and, in 2D, a pooling from slices to the scan.

    Input: (B, D, size, size) float32 in 0…1. In 2D every slice is a separate image; in 3D the backbone sees
    (B, channels, D, size, size). Grey is copied to `channels` and standardised. Poolings of the slices' logits z:

    - `attention`: Σ aᵢ zᵢ with gated attention a (Ilse 2018);
    - `mean`: the mean of z;
    - `topk`, `max`: per class the mean of the top quarter, or the maximum, of z − z₀, the evidence against the
      reference class 0, whose own logit is then 0: one diseased slice suffices, a healthy one is not evidence;
    - `inherited` (as in the original): log of the mean of the slices' probabilities.
    """

    def __init__(
        self, backbone: nn.Module, width: int, classes: int, dimensions: int, channels: int, pooling: str, features: str
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.attention = GatedAttention(width) if pooling == "attention" and dimensions == 2 else None
        self.classes, self.dimensions, self.channels, self.pooling = classes, dimensions, channels, pooling
        self._features = features

    @property
    def feature_module(self) -> nn.Module:
        """The last block with a spatial output, for Grad-CAM: (B·D, C, h, w) in 2D, (B, C, d, h, w) in 3D.

        Some backbones change that output in place afterwards (DenseNet): a hook that keeps it must clone it.
        """
        return self.backbone.get_submodule(self._features)

    def forward(self, volume: Tensor) -> ScanOutput:
        """Return the logits of a batch of scans (B, D, size, size), float32 in 0…1."""
        grey = (volume - GREY_MEAN) / GREY_DEVIATION
        if self.dimensions == 3:
            features: Tensor = self.backbone(_copy_channels(grey.unsqueeze(1), self.channels))
            with torch.autocast(volume.device.type, enabled=False):
                return ScanOutput(self.head(features.float()))
        features = self.backbone(_copy_channels(grey.flatten(0, 1).unsqueeze(1), self.channels))
        with torch.autocast(volume.device.type, enabled=False):
            slice_features: Tensor = features.float().unflatten(0, volume.shape[:2])
            return self.pool(slice_features)

    def pool(self, features: Tensor) -> ScanOutput:
        """Return the logits of scans from the features of their slices, (B, D, width); for 2D networks."""
        slices = self.head(features)
        if self.attention is not None:
            weights = self.attention(features)
            return ScanOutput((weights.unsqueeze(-1) * slices).sum(1), slices, weights)
        if self.pooling == "mean":
            return ScanOutput(slices.mean(1), slices)
        if self.pooling == "inherited":
            count = torch.tensor(float(slices.shape[1]), device=slices.device)
            return ScanOutput(torch.logsumexp(functional.log_softmax(slices, -1), 1) - count.log(), slices)
        evidence = slices - slices[..., :1]
        top_count = 1 if self.pooling == "max" else max(1, round(TOP_SHARE * int(slices.shape[1])))
        return ScanOutput(evidence.topk(top_count, dim=1).values.mean(1), slices)


def channels_last(network: ScanNetwork, dimensions: int) -> ScanNetwork:
    """Return the network with its weights in the fastest memory format for convolutions."""
    move: Any = network.to  # for mypy: torch declares no overload of `Module.to` with a memory format
    moved: ScanNetwork = move(memory_format=torch.channels_last if dimensions == 2 else torch.channels_last_3d)
    return moved


def _copy_channels(grey: Tensor, channels: int) -> Tensor:
    image = grey if channels == 1 else grey.expand(-1, channels, *grey.shape[2:])
    if torch.onnx.is_in_onnx_export():  # ONNX knows no memory formats
        return image
    return image.contiguous(memory_format=torch.channels_last if image.ndim == 4 else torch.channels_last_3d)
