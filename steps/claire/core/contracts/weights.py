"""`<run>.safetensors`: the weights of a network, with the facts that are needed to build it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from claire.core.command.documents import parse_document
from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic
from claire.core.contracts.weights_facts import KEY, REMEDY, WeightsFacts, parse_weights_facts


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
    _refuse_infinite(state, path.name)
    return state, facts


def parse_weights(content: bytes, where: str) -> tuple[dict[str, Tensor], WeightsFacts]:
    """As `read_weights`, of the bytes of a weights file; `where` names it in errors."""
    facts = parse_weights_facts(io.BytesIO(content), where)
    try:
        state = load(content)
    except SafetensorError as error:
        raise ClaireError(f"{where} is not a weights file ({type(error).__name__})", REMEDY) from error
    _refuse_infinite(state, where)
    return state, facts


def _refuse_infinite(state: Mapping[str, Tensor], where: str) -> None:
    if not all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point()):
        raise ClaireError(f"{where} holds weights that are NaN or infinite", REMEDY)
