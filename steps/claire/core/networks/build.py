"""Networks by name: a backbone of a library or of the user's own, its head replaced by one that reads a whole scan.

2D backbones see the slices of a scan one by one; a pooling over slices makes the scan's decision (multiple-instance
learning). 3D backbones see the volume. Any classifier whose last layer is linear will do: the head is found by running
the network once, not by a table of names.
"""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.variant import Variant, parse_variant
from claire.core.networks.architectures import require_known, unknown

#: Mean and deviation of ImageNet's pictures in grey: what pretrained backbones expect, and near zero mean for others.
GREY_MEAN, GREY_DEVIATION = 0.449, 0.226
ATTENTION_WIDTH = 128
#: Share of a scan's slices that `pooling: topk` averages.
TOP_SHARE = 0.25
#: What MONAI's networks call their numbers of input channels and of classes.
MONAI_SIGNATURES = (
    ("in_channels", "out_channels"),
    ("in_channels", "num_classes"),
    ("n_input_channels", "num_classes"),
)
HEADS = (nn.Linear, nn.Conv2d, nn.Conv3d)


@dataclass
class ScanOutput:
    """What a network says of a batch of scans.

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

    Input: (B, D, size, size) float32 in 0…1. In 2D every slice is an image of its own; in 3D the backbone sees
    (B, channels, D, size, size). Grey is copied to `channels` and standardised. Poolings of the slices' logits z:

    - `attention`: Σ aᵢ zᵢ with gated attention a (Ilse 2018);
    - `mean`: the mean of z;
    - `topk`, `max`: per class the mean of the top quarter, or the maximum, of z − z₀, the evidence against the
      reference class 0, whose own logit is then 0: one diseased slice suffices, a healthy one is no evidence;
    - `inherited` (the original's way): log of the mean of the slices' probabilities.
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
            features = self.backbone(_copy_channels(grey.unsqueeze(1), self.channels))
            with torch.autocast(volume.device.type, enabled=False):
                return ScanOutput(self.head(features.float()))
        features = self.backbone(_copy_channels(grey.flatten(0, 1).unsqueeze(1), self.channels))
        with torch.autocast(volume.device.type, enabled=False):
            return self.pool(features.float().unflatten(0, volume.shape[:2]))

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
        taken = 1 if self.pooling == "max" else max(1, round(TOP_SHARE * slices.shape[1]))
        return ScanOutput(evidence.topk(taken, dim=1).values.mean(1), slices)


def _copy_channels(grey: Tensor, channels: int) -> Tensor:
    image = grey if channels == 1 else grey.expand(-1, channels, *grey.shape[2:])
    return image.contiguous(memory_format=torch.channels_last if image.ndim == 4 else torch.channels_last_3d)


def build_network(variant: Variant, classes: int) -> ScanNetwork:
    """Return the untrained network of a variant; draws its weights from torch's global generator.

    Raises UsageError where the name is unknown (near matches are listed), the library cannot build it from channels
    alone, it is no classifier, or it cannot take the variant's size.
    """
    library, name = variant.architecture.split(":", 1)
    backbone, channels = BUILDERS[library](name, variant, classes)
    if isinstance(backbone, ScanNetwork):
        return backbone
    dimensions = 2 if variant.dimensions == "2D" else 3
    shape = (channels, *([variant.slices] if dimensions == 3 else []), variant.size, variant.size)
    trace = _run_once(backbone, shape, variant)
    width = _strip_head(backbone, trace) if library != "python" else trace.width
    pooling = "inherited" if variant.labels == "inherited" else variant.pooling
    made = ScanNetwork(backbone, width, classes, dimensions, channels, pooling, trace.features)
    return made.to(memory_format=torch.channels_last if dimensions == 2 else torch.channels_last_3d)


@dataclass(frozen=True)
class _Trace:
    """What one run of a backbone showed: names of its last linear layer and last spatial block, width of its output."""

    head: str | None
    features: str
    width: int


def _run_once(backbone: nn.Module, shape: tuple[int, ...], variant: Variant) -> _Trace:
    ran: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def watch(name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(
            lambda _m, _i, out: ran.append((name, module, tuple(out.shape))) if isinstance(out, Tensor) else None
        )

    hooks = [watch(name, module) for name, module in backbone.named_modules() if name]
    was_training = backbone.training
    try:
        with torch.no_grad():
            out = backbone.eval()(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        depth = f"{variant.slices} slices of " if variant.dimensions == "3D" else "slices of "
        raise UsageError(
            f"{variant.architecture} cannot take {depth}{variant.size}×{variant.size} pixels: "
            f"{str(error).splitlines()[0]}",
            "Give the variant another size or architecture; some networks take one size only.",
        ) from error
    finally:
        backbone.train(was_training)
        for hook in hooks:
            hook.remove()
    if not isinstance(out, Tensor) or out.ndim != 2:
        raise UsageError(
            f"{variant.architecture} is no classifier: its output is not one vector an image",
            "Name an architecture that classifies.",
        )
    return _Trace(_last_head(ran, out.shape[1]), _last_block(ran, len(shape) + 1, variant), out.shape[1])


def _last_head(ran: list[tuple[str, nn.Module, tuple[int, ...]]], width: int) -> str | None:
    return next(
        (name for name, module, shape in reversed(ran) if isinstance(module, HEADS) and shape[1] == width), None
    )


def _last_block(ran: list[tuple[str, nn.Module, tuple[int, ...]]], ndim: int, variant: Variant) -> str:
    passing = re.compile("Pool|Dropout|Identity|Flatten")
    times = Counter(name for name, _, _ in ran)
    spatial = [
        (name, shape)
        for name, module, shape in ran
        if len(shape) == ndim and times[name] == 1 and not passing.search(type(module).__name__)
    ]
    # Layers with the channels last (Swin) have fewer "channels" than "columns"; one pixel is no map.
    wishes = (lambda s: s[1] >= max(s[2:]) > 1, lambda s: max(s[2:]) > 1, lambda s: True)
    for wish in wishes:
        if fitting := [name for name, shape in spatial if wish(shape)]:
            return fitting[-1]
    raise UsageError(
        f"{variant.architecture} has no layer with a spatial output, so nothing could be explained",
        "Build it from convolutions.",
    )


def _strip_head(backbone: nn.Module, trace: _Trace) -> int:
    if trace.head is None:
        return trace.width
    parent, _, name = trace.head.rpartition(".")
    head = backbone.get_submodule(trace.head)
    setattr(backbone.get_submodule(parent), name, nn.Identity())
    return head.in_features if isinstance(head, nn.Linear) else head.in_channels


def _torchvision(name: str, variant: Variant, classes: int) -> tuple[nn.Module, int]:
    from torchvision import models

    require_known(variant.architecture, variant.dimensions)
    options: dict[str, Any] = {}
    if name in ("inception_v3", "googlenet"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": variant.size}
    elif name.startswith("maxvit"):
        options = {"input_size": (variant.size, variant.size)}
    try:
        return models.get_model(name, weights=None, **options), 3
    except (ValueError, AssertionError) as error:
        raise UsageError(f"torchvision:{name} at {variant.size} pixels: {error}", "Give another size.") from error


def _monai(name: str, variant: Variant, classes: int) -> tuple[nn.Module, int]:
    from monai.networks import nets

    known = {one: getattr(nets, one) for one in dir(nets) if callable(getattr(nets, one)) and not one.startswith("_")}
    dimensions = int(variant.dimensions[0])
    if re.fullmatch("efficientnet[-_]b[0-8]", name):
        return nets.EfficientNetBN(name.replace("_", "-"), pretrained=False, spatial_dims=dimensions, in_channels=1), 1
    if name not in known:
        raise unknown(variant.architecture, variant.dimensions)
    for inputs, outputs in MONAI_SIGNATURES:
        try:
            return known[name](**{"spatial_dims": dimensions, inputs: 1, outputs: classes}), 1
        except TypeError:
            continue
    raise UsageError(
        f"monai:{name} cannot be built from dimensions, channels and classes alone",
        "Name a classifier such as monai:DenseNet121, or wrap it as python:module:factory.",
    )


def _python(name: str, variant: Variant, classes: int) -> tuple[nn.Module, int]:
    module, _, factory = name.partition(":")
    try:
        make: Callable[[Variant, int], nn.Module] = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"python:{name} cannot be imported: {error}",
            "Write python:package.module:factory, and install the package or put its folder on PYTHONPATH.",
        ) from error
    try:
        made = make(variant, classes)
    except Exception as error:
        raise UsageError(f"python:{name} failed: {type(error).__name__}: {error}", "Mend the factory.") from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"python:{name} returned {type(made).__name__}, not a torch.nn.Module", "Return a network.")
    return made, 1


BUILDERS: dict[str, Callable[[str, Variant, int], tuple[nn.Module, int]]] = {
    "torchvision": _torchvision,
    "monai": _monai,
    "python": _python,
}


def load_network(weights: Path) -> tuple[ScanNetwork, Variant, dict[str, Any]]:
    """Return (network in eval mode, variant, facts) of a file that `train` wrote.

    `facts`: classes (list of names), fold (int), cohort (SHA-256) and run (name). Raises ClaireError where the file is
    damaged or none of ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(metadata["variant"])
        facts = {"classes": json.loads(metadata["classes"]), "fold": int(metadata["fold"])}
        facts |= {name: metadata[name] for name in ("cohort", "run")}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ClaireError(f"{weights.name} is no weights file of `claire train`", "Train this run again.") from error
    if not all(bool(torch.isfinite(one).all()) for one in state.values() if one.is_floating_point()):
        raise ClaireError(f"{weights.name} holds weights that are no numbers", "Train this run again.")
    variant = parse_variant(document["variant"], weights.name)
    network = build_network(variant, len(facts["classes"]))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ClaireError(
            f"{weights.name} does not fit {variant.architecture} as this version of its library builds it",
            "Use the versions that the training's record names, or train this run again.",
        ) from error
    return network.eval(), variant, facts
