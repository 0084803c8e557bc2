"""The content key of a training in the store: what `train` stores its result under, and `collect` looks for."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from claire.core.command.sources import step_hash
from claire.core.contracts.variant import Variant, VariantDocument
from claire.core.networks.architectures import own_source

LIBRARIES = ("torch", "torchvision", "monai")
#: The kinds of device (`devices.Device.kind`) that each name may stand for.
_KINDS = {"cpu": ("cpu-bf16", "cpu-fp32"), "cuda": ("cuda-bf16", "cuda-fp16")}


def training_key(
    variant: Variant, fold: int, cohort_sha256: str, folds_sha256: str, pretrained_sha256: str | None, device_kind: str
) -> dict[str, Any]:
    """Return everything that the result of a training depends on; its hash is the key in the store."""
    return {
        "source": step_hash("train"),
        "libraries": versions(),
        "variant": VariantDocument.of(variant).model_dump(mode="json"),
        "architecture": own_source(variant.architecture),
        "cohort": cohort_sha256,
        "folds": folds_sha256,
        "fold": fold,
        "pretrained": pretrained_sha256,
        "device": device_kind,
    }


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a training."""
    return {name: version(name) for name in LIBRARIES}


def device_kinds(name: str) -> tuple[str, ...]:
    """Return the kinds of device that trainings with `--device <name>` may run on, wherever that is; GPUs first."""
    return _KINDS["cuda"] + _KINDS["cpu"] if name == "auto" else _KINDS[name]
