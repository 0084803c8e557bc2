"""Networks by name: a backbone of a library or of the user's own, its head replaced by one that reads a whole scan.

Any classifier whose last layer is linear will do: the head is found by running the network once, not by a table of
names.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.variant import Variant
from claire.core.contracts.weights import WeightsFacts, read_weights
from claire.core.networks.architectures import require_known, unknown
from claire.core.networks.scan_network import ScanNetwork

#: What MONAI's networks call their numbers of input channels and of classes.
MONAI_SIGNATURES = (
    ("in_channels", "out_channels"),
    ("in_channels", "num_classes"),
    ("n_input_channels", "num_classes"),
)
HEADS = (nn.Linear, nn.Conv2d, nn.Conv3d)


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


def load_network(path: Path) -> tuple[ScanNetwork, WeightsFacts]:
    """Return (network in eval mode, facts) of a weights file. Raises ClaireError where it is damaged or misfits."""
    state, facts = read_weights(path)
    network = build_network(facts.variant, len(facts.classes))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ClaireError(
            f"{path.name} does not fit {facts.variant.architecture} as this version of its library builds it",
            "Use the versions that the training's record names, or train this run again.",
        ) from error
    return network.eval(), facts
