"""Weights files of others: loaded where names and shapes match, with a report of what did not match."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from claire.core.command.errors import ClaireError
from claire.core.networks.scan_network import ScanNetwork

WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
#: What damaged files raise while they are read; files of torch before 1.6 have no checksum.
DAMAGE = (
    *(SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, struct.error, pickle.UnpicklingError),
)
PREFIXES = ("module.", "backbone.", "model.", "network.")


@dataclass(frozen=True)
class Filled:
    """Names of the network's weights that a file filled, of those it did not, and of the file's own that are unused."""

    loaded: tuple[str, ...]
    untouched: tuple[str, ...]
    unused: tuple[str, ...]


def load_pretrained(network: ScanNetwork, path: Path) -> Filled:
    """Fill a network from a safetensors file or a torch state dict, by name and shape; return what was filled.

    Names are tried as they are, as the backbone's, and without the prefixes of common wrappers; the DenseNet names of
    old files (`norm.1` for `norm1`) are known. A head of another shape is left as it is. Raises ClaireError where the
    file cannot be read without running code in it, or fills no weight of the backbone.
    """
    tensors = {_current_name(name): value for name, value in read_tensors(path).items()}
    network_state = network.state_dict()
    names = {name: target for name in tensors if (target := _target(name, tensors[name], network_state)) is not None}
    loaded = {target: tensors[name] for name, target in names.items()}
    if not any(name.startswith("backbone.") for name in loaded):
        raise ClaireError(
            f"{path.name} fills no weight of this network: none of its {len(tensors)} names and shapes matches",
            "Give the weights file of the variant's architecture.",
        )
    network.load_state_dict(loaded, strict=False)
    counters = tuple(name for name in network_state if name.endswith("num_batches_tracked"))
    untouched = tuple(name for name in network_state if name not in loaded and name not in counters)
    return Filled(tuple(loaded), untouched, tuple(name for name in tensors if name not in names))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch file that `weights_only` can read.

    Raises ClaireError for anything else: unpickling can run code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise ClaireError(
            f"{path.name} is not a weights file that can be read safely ({type(error).__name__})",
            "Save the state dict alone, as safetensors or with torch.save(model.state_dict(), …).",
        ) from error
    return {name: value for name, value in _unwrap(content).items() if isinstance(value, Tensor)}


def _unwrap(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        return {}
    inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
    return content if inner is None else inner


def _current_name(name: str) -> str:
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)", r"\1", name)


def _target(name: str, value: Tensor, network_state: Mapping[str, Tensor]) -> str | None:
    bare = name
    for prefix in PREFIXES:
        bare = bare.removeprefix(prefix)
    for candidate in (name, f"backbone.{name}", f"backbone.{bare}"):
        if candidate in network_state and network_state[candidate].shape == value.shape:
            return candidate
    return None
