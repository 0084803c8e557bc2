"""`<run>.safetensors`: the same bytes for the same weights, refused where it is damaged or not one of ours."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from claire.core.command.errors import ClaireError
from claire.core.contracts.variant import Variant
from claire.core.contracts.weights import read_weights, write_weights
from claire.core.contracts.weights_facts import WeightsFacts
from hypothesis import given, settings
from safetensors.torch import load_file, save_file

from tests.support.damage import DAMAGES, damaged

FACTS = WeightsFacts(run="v-f0", variant=Variant(), fold=0, classes=("negative", "positive"), cohort_sha256="c" * 64)
STATE = {f"layer{i}.weight": torch.arange(12.0).reshape(3, 4) + i for i in range(9)}


def test_weights_survive_their_file(tmp_path: Path) -> None:
    state, facts = read_weights(write_weights(tmp_path / "w.safetensors", STATE, FACTS))
    assert facts == FACTS
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], value) for name, value in STATE.items())


def test_a_layer_in_another_memory_format_is_written_as_its_values(tmp_path: Path) -> None:
    value = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    path = write_weights(tmp_path / "w.safetensors", {"x": value}, FACTS)
    assert torch.equal(load_file(path)["x"], value)


def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.core.contracts.test_weights import *; "
        "write_weights(Path(sys.argv[1]), STATE, FACTS)"
    )
    paths = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for path in paths:
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=Path(__file__).parents[3])
    first = write_weights(tmp_path / "here.safetensors", STATE, FACTS).read_bytes()
    assert {path.read_bytes() for path in paths} == {first}


def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(ClaireError, match="not a weights file"):
        read_weights(tmp_path / "w.safetensors")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors", STATE, FACTS)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ClaireError, match="not a weights file"):
        read_weights(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_another_program_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file(STATE, tmp_path / "w.safetensors", metadata)
    with pytest.raises(ClaireError, match="claire train"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path = write_weights(tmp_path / "w.safetensors", {"x": torch.tensor([1.0, value])}, FACTS)
    with pytest.raises(ClaireError, match="NaN or infinite"):
        read_weights(path)


def test_counters_are_not_taken_for_weights(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors", {"count": torch.tensor(3)}, FACTS)
    assert read_weights(path)[0]["count"] == 3


def test_facts_of_another_schema_are_refused(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors", {"claire": FACTS.to_json().replace('"run"', '"name"')})
    with pytest.raises(ClaireError, match=r"w\.safetensors is not valid"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_names_what_to_do(tmp_path: Path, how: str) -> None:
    path = write_weights(tmp_path / "v-f0.safetensors", STATE, FACTS)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(ClaireError, match=r"v-f0\.safetensors is not a weights file") as caught:
        read_weights(path)
    assert caught.value.remedy == "Train this run again."


def test_two_writes_are_the_same_bytes_whatever_the_order_of_the_weights(tmp_path: Path) -> None:
    turned = dict(reversed(STATE.items()))
    paths = [write_weights(tmp_path / f"{i}.safetensors", state, FACTS) for i, state in enumerate((STATE, STATE))]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    state, _ = read_weights(write_weights(tmp_path / "t.safetensors", turned, FACTS))
    assert all(torch.equal(state[name], value) for name, value in STATE.items())


@cache
def whole() -> bytes:
    with TemporaryDirectory() as folder:
        return write_weights(Path(folder) / "w.safetensors", STATE, FACTS).read_bytes()


@settings(max_examples=200)
@given(damaged(whole()))
def test_damage_never_ends_in_an_unforeseen_error(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v-f0.safetensors"
        path.write_bytes(content)
        with suppress(ClaireError):
            assert read_weights(path)[1].fold == FACTS.fold
