"""`<run>.safetensors`: the weights of a network, with the facts that are needed to build it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from claire.core.command.documents import parse_document
from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic
from claire.core.contracts.weights_facts import KEY, REMEDY, WeightsFacts


def write_weights(path: Path, state: Mapping[str, Tensor], facts: WeightsFacts) -> Path:
    """Write weights as safetensors, with the same bytes for the same weights.

    All facts are in one entry of the metadata: the library writes several entries in random order.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic(path) as stream:
        stream.write(save(tensors, {KEY: facts.to_canonical_json()}))
    return path


def read_weights(path: Path) -> tuple[dict[str, Tensor], WeightsFacts]:
    """Return (state, facts); executes no code in it. Raises ClaireError if it is damaged or from another program."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ClaireError(f"{path.name} is not a weights file ({type(error).__name__})", REMEDY) from error
    if KEY not in metadata:
        raise ClaireError(f"{path.name} is not a weights file of `claire train`", REMEDY)
    facts = parse_document(metadata[KEY], WeightsFacts, path.name, REMEDY)
    if not all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point()):
        raise ClaireError(f"{path.name} holds weights that are NaN or infinite", REMEDY)
    return state, facts
