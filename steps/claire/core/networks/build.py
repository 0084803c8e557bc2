"""Networks by name: a backbone from a library or from the user, with its head replaced by one for whole scans.

Any classifier whose last layer is linear works: the head is found by a forward pass, not in a table of names.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.variant import Variant
from claire.core.contracts.weights import parse_weights, read_weights
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.networks.architectures import require_known, unknown_network
from claire.core.networks.scan_network import ScanNetwork, channels_last

#: MONAI's argument names for the numbers of input channels and classes.
MONAI_SIGNATURES = (
    ("in_channels", "out_channels"),
    ("in_channels", "num_classes"),
    ("n_input_channels", "num_classes"),
)
HEADS = (nn.Linear, nn.Conv2d, nn.Conv3d)
#: Layers that only pass on the features of the previous layer.
PASSING = re.compile("Pool|Dropout|Identity|Flatten")


def build_network(variant: Variant, classes: int) -> ScanNetwork:
    """Return the untrained network of a variant; draws its weights from torch's global generator.

    Raises UsageError if the name is unknown (near matches are listed), the library cannot build it from channels
    only, it is not a classifier, or it cannot take the variant's size.
    """
    library, name = variant.architecture.split(":", 1)
    backbone, channels = BUILDERS[library](name, variant, classes)
    if isinstance(backbone, ScanNetwork):
        return backbone
    dimensions = 2 if variant.dimensions == "2D" else 3
    shape = (channels, *([variant.slices] if dimensions == 3 else []), variant.size, variant.size)
    trace = _trace(backbone, shape, variant)
    width = _remove_head(backbone, trace) if library != "python" else trace.width
    pooling = "inherited" if variant.labels == "inherited" else variant.pooling
    network = ScanNetwork(backbone, width, classes, dimensions, channels, pooling, trace.features)
    return channels_last(network, dimensions)


@dataclass(frozen=True)
class _Layer:
    """A layer in a forward pass, with the shape of its output."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Trace:
    """Names of the last linear layer and of the last spatial block of a backbone, and the width of its output."""

    head: str | None
    features: str
    width: int


def _trace(backbone: nn.Module, shape: tuple[int, ...], variant: Variant) -> _Trace:
    layers, output = _forward_pass(backbone, shape, variant)
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise UsageError(
            f"{variant.architecture} is not a classifier: expected one vector per image",
            "Name an architecture that classifies.",
        )
    width = output.shape[1]
    return _Trace(_last_head(layers, width), _last_block(layers, len(shape) + 1, variant), width)


def _forward_pass(backbone: nn.Module, shape: tuple[int, ...], variant: Variant) -> tuple[list[_Layer], object]:
    """Return the layers in the order of their calls, and the output for one input of zeros."""
    layers: list[_Layer] = []

    def watch(name: str, module: nn.Module) -> RemovableHandle:
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                layers.append(_Layer(name, module, tuple(output.shape)))

        return module.register_forward_hook(note)

    hooks = [watch(name, module) for name, module in backbone.named_modules() if name]
    was_training = backbone.training
    try:
        with torch.no_grad():
            return layers, backbone.eval()(torch.zeros(1, *shape))
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


def _last_head(layers: list[_Layer], width: int) -> str | None:
    heads = [layer.name for layer in layers if isinstance(layer.module, HEADS) and layer.shape[1] == width]
    return heads[-1] if heads else None


def _last_block(layers: list[_Layer], ndim: int, variant: Variant) -> str:
    """Return the name of the last layer with a spatial output that is called once."""
    calls = Counter(layer.name for layer in layers)
    spatial = [
        layer
        for layer in layers
        if len(layer.shape) == ndim and calls[layer.name] == 1 and not PASSING.search(type(layer.module).__name__)
    ]
    # Layers with the channels last (Swin) have fewer "channels" than "columns"; one pixel is not a map.
    criteria: tuple[Callable[[tuple[int, ...]], bool], ...] = (
        lambda shape: shape[1] >= max(shape[2:]) > 1,
        lambda shape: max(shape[2:]) > 1,
        lambda shape: True,
    )
    for criterion in criteria:
        if names := [layer.name for layer in spatial if criterion(layer.shape)]:
            return names[-1]
    raise UsageError(
        f"{variant.architecture} has no layer with a spatial output: its decisions could not be explained",
        "Build it from convolutions.",
    )


def _remove_head(backbone: nn.Module, trace: _Trace) -> int:
    """Replace the last linear layer by the identity; return the width of its input."""
    if trace.head is None:
        return trace.width
    parent, _, name = trace.head.rpartition(".")
    head: Any = backbone.get_submodule(trace.head)
    setattr(backbone.get_submodule(parent), name, nn.Identity())
    width: int = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    return width


# Libraries of networks are imported when a variant names them: MONAI takes several seconds.


def _torchvision(name: str, variant: Variant, _classes: int) -> tuple[nn.Module, int]:
    require_known(variant.architecture, variant.dimensions)
    options: dict[str, Any] = {}
    if name in ("inception_v3", "googlenet"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": variant.size}
    elif name.startswith("maxvit"):
        options = {"input_size": (variant.size, variant.size)}
    try:
        return importlib.import_module("torchvision.models").get_model(name, weights=None, **options), 3
    except (ValueError, AssertionError) as error:
        raise UsageError(
            f"torchvision:{name} cannot be built for {variant.size} pixels: {error}", "Give another size."
        ) from error


def _monai(name: str, variant: Variant, classes: int) -> tuple[nn.Module, int]:
    nets = importlib.import_module("monai.networks.nets")
    dimensions = int(variant.dimensions[0])
    if re.fullmatch("efficientnet[-_]b[0-8]", name):
        return nets.EfficientNetBN(name.replace("_", "-"), pretrained=False, spatial_dims=dimensions, in_channels=1), 1
    network = getattr(nets, name, None)
    if name.startswith("_") or not callable(network):
        raise unknown_network(variant.architecture, variant.dimensions)
    for inputs, outputs in MONAI_SIGNATURES:
        try:
            return network(**{"spatial_dims": dimensions, inputs: 1, outputs: classes}), 1
        except TypeError:
            continue
    raise UsageError(
        f"monai:{name} cannot be built from dimensions, channels and classes alone",
        "Name a classifier such as monai:DenseNet121, or wrap it as python:module:factory.",
    )


def _python(name: str, variant: Variant, classes: int) -> tuple[nn.Module, int]:
    module, _, factory = name.partition(":")
    try:
        build: Callable[[Variant, int], object] = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"python:{name} cannot be imported: {error}",
            "Write python:package.module:factory, and install the package or put its folder on PYTHONPATH.",
        ) from error
    try:
        backbone = build(variant, classes)
    except Exception as error:
        raise UsageError(f"python:{name} failed: {type(error).__name__}: {error}", "Correct the factory.") from error
    if not isinstance(backbone, nn.Module):
        raise UsageError(
            f"python:{name} returned another type: expected torch.nn.Module, got {type(backbone).__name__}",
            "Return a network.",
        )
    return backbone, 1


#: Builders by library: each returns (backbone, number of its input channels). A library is added here.
BUILDERS: dict[str, Callable[[str, Variant, int], tuple[nn.Module, int]]] = {
    "torchvision": _torchvision,
    "monai": _monai,
    "python": _python,
}


def load_network(path: Path) -> tuple[ScanNetwork, WeightsFacts]:
    """Return (network in eval mode, facts) of a weights file. Raises ClaireError if it is damaged or does not fit."""
    return _loaded(*read_weights(path), path.name)


def parse_network(content: bytes, where: str) -> tuple[ScanNetwork, WeightsFacts]:
    """As `load_network`, of the bytes of a weights file, such as a member of a model; `where` names it in errors."""
    return _loaded(*parse_weights(content, where), where)


def _loaded(state: Mapping[str, Tensor], facts: WeightsFacts, where: str) -> tuple[ScanNetwork, WeightsFacts]:
    network = build_network(facts.variant, len(facts.classes))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ClaireError(
            f"{where} does not fit {facts.variant.architecture} as this version of its library builds it",
            "Use the versions that the training's record names, or train this run again.",
        ) from error
    return network.eval(), facts
