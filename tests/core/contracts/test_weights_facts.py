"""The facts of a weights file are read without its weights."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from claire.core.command.errors import ClaireError
from claire.core.contracts.variant import Variant
from claire.core.contracts.weights import parse_weights, write_weights
from claire.core.contracts.weights_facts import WeightsFacts, parse_weights_facts, read_weights_facts
from hypothesis import given

from tests.support.damage import DAMAGES, damage, damaged

FACTS = WeightsFacts(run="v-f0", variant=Variant(), fold=0, classes=("negative", "positive"), cohort_sha256="c" * 64)
STATE = {"layer.weight": torch.arange(12.0).reshape(3, 4)}


@cache
def content() -> bytes:
    with TemporaryDirectory() as folder:
        return write_weights(Path(folder) / "w.safetensors", STATE, FACTS).read_bytes()


def test_facts_and_weights_come_from_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content())
    assert read_weights_facts(path) == FACTS
    state, facts = parse_weights(content(), "w")
    assert facts == FACTS
    assert torch.equal(state["layer.weight"], STATE["layer.weight"])


@pytest.mark.parametrize("how", ["empty", "foreign"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content())
    assert how in DAMAGES
    with pytest.raises(ClaireError, match=r"w\.safetensors is not a weights file"):
        read_weights_facts(damage(path, how, tmp_path / "damaged"))


def test_weights_that_are_cut_are_refused() -> None:
    with pytest.raises(ClaireError, match="weights is not a weights file"):
        parse_weights(content()[:-4], "weights")


def test_infinite_weights_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors", {"x": torch.tensor([float("inf")])}, FACTS)
    with pytest.raises(ClaireError, match="NaN or infinite"):
        parse_weights(path.read_bytes(), "w")


@given(damaged(content()))
def test_damage_is_a_message_or_harmless(bytes_left: bytes) -> None:
    with suppress(ClaireError):
        parse_weights_facts(BytesIO(bytes_left), "w")
    with suppress(ClaireError):
        parse_weights(bytes_left, "w")
