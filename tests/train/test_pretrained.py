"""Weights files of others: filled by name and shape, reported, refused where they cannot be read safely."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from claire.core.command.errors import ClaireError
from claire.core.contracts.variant import Variant
from claire.core.networks.build import build_network
from claire.train.pretrained import load_pretrained, read_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from tests.support.damage import damaged

RESNET = Variant(architecture="torchvision:resnet18", size=64, slices=4)
DENSENET = RESNET.model_copy(update={"architecture": "torchvision:densenet121"})


def test_weights_of_another_task_fill_the_backbone(tmp_path: Path) -> None:
    other = resnet18(weights=None)
    torch.save({"state_dict": {f"module.{k}": v for k, v in other.state_dict().items()}}, tmp_path / "w.pth")
    network = build_network(RESNET, classes=2)
    filled = load_pretrained(network, tmp_path / "w.pth")
    assert torch.equal(network.backbone.conv1.weight, other.conv1.weight)
    assert set(filled.unused) == {"module.fc.weight", "module.fc.bias"}
    assert {name.split(".")[0] for name in filled.untouched} == {"head", "attention"}


def test_the_densenet_names_of_old_files_are_known(tmp_path: Path) -> None:
    network = build_network(DENSENET, classes=2)
    name = "features.denseblock1.denselayer1.norm.1.weight"
    torch.save({name: torch.full((64,), 7.0)}, tmp_path / "w.pth")
    load_pretrained(network, tmp_path / "w.pth")
    assert network.backbone.features.denseblock1.denselayer1.norm1.weight.unique().tolist() == [7.0]


def test_weights_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ClaireError, match="fills no weight"):
        load_pretrained(build_network(RESNET, classes=2), tmp_path / "w.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ClaireError, match="read safely"):
        load_pretrained(build_network(RESNET, classes=2), tmp_path / "w.pth")


def test_a_safetensors_file_is_read_too(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.full((64, 3, 7, 7), 2.0)}, tmp_path / "w.safetensors")
    network = build_network(RESNET, classes=2)
    assert load_pretrained(network, tmp_path / "w.safetensors").loaded == ("backbone.conv1.weight",)
    assert network.backbone.conv1.weight.unique().tolist() == [2.0]


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3)])
def test_a_file_without_names_fills_nothing(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ClaireError, match="fills no weight"):
        load_pretrained(build_network(RESNET, classes=2), tmp_path / "w.pth")


@cache
def whole(new: bool) -> bytes:
    """Return a torch file as torch writes it since 1.6, or as it did before."""
    with TemporaryDirectory() as folder:
        tensors = {"a.weight": torch.ones(4, 3), "b": torch.zeros(5)}
        torch.save(tensors, Path(folder) / "w.pth", _use_new_zipfile_serialization=new)
        return (Path(folder) / "w.pth").read_bytes()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new", [True, False])
@settings(max_examples=150)
@given(data=st.data())
def test_damage_never_ends_in_an_unforeseen_error(new: bool, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "w.pth"
        path.write_bytes(data.draw(damaged(whole(new))))
        with suppress(ClaireError):
            assert all(isinstance(value, torch.Tensor) for value in read_tensors(path).values())
