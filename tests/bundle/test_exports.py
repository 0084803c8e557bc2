"""Exports: loaded by the programs that they are for, with the answers of the network itself."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from claire.bundle import onnx_export
from claire.bundle.exports import CONTAINER, MONAI
from claire.core.contracts.model import Model, read_model
from claire.core.contracts.variant import Variant
from claire.core.networks.build import build_network, parse_network
from claire.core.networks.scores import Scores
from monai.bundle import ConfigParser, verify_net_in_out

from tests.support.bundling import Winner, make_winner
from tests.support.command import claire
from tests.support.explaining import SOLID
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="module")
def model(model_path: Path) -> Model:
    """The model of the winner."""
    return read_model(model_path)


@pytest.fixture(scope="module")
def unpacked(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the model file was unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(model_path) as archive:
        archive.extractall(folder)
    return folder


def views(variant: Variant, n: int = 2) -> np.ndarray:
    return np.random.default_rng(1).random((n, variant.slices, variant.size, variant.size), np.float32)


def expected(model: Model, fold: int, view: np.ndarray) -> np.ndarray:
    network, _ = parse_network(model.weights(model.document.folds[fold]), "weights")
    with torch.inference_mode():
        answer: np.ndarray = Scores(network).eval()(torch.from_numpy(view)).numpy()
    return answer


def test_onnx_answers_as_the_network_does(model: Model) -> None:
    for number, export in enumerate(model.document.exports.onnx):
        assert export.member is not None
        content = model.read(export.member)
        onnx.checker.check_model(onnx.load_from_string(content))
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for view in views(model.document.variant)[:, None]:
            (answer,) = session.run(["probabilities"], {"views": view})
            np.testing.assert_allclose(answer, expected(model, number, view), atol=export.tolerance)
        assert export.difference is not None
        assert export.difference <= export.tolerance == onnx_export.TOLERANCE
        assert export.checked == 4


def test_a_3d_network_is_exported_too(cohort_files: CohortFiles, tmp_path: Path) -> None:
    winner = make_winner(cohort_files, tmp_path / "winner", SOLID, steps=1)
    assert claire("bundle", [*winner.argv(), "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.model.zip")
    assert all(export.member for export in read_model(path).document.exports.onnx)


@pytest.mark.parametrize("pooling", ["attention", "topk", "mean", "max", "inherited"])
def test_every_pooling_can_be_exported(pooling: str, tmp_path: Path) -> None:
    changes = {"labels": "inherited"} if pooling == "inherited" else {"pooling": pooling}
    variant = Variant.model_validate({"size": 32, "slices": 5, **changes})
    torch.manual_seed(0)
    network = Scores(build_network(variant, 3)).eval()
    onnx_export._write_onnx(tmp_path / "x.onnx", network, torch.from_numpy(views(variant, 1)))
    difference = onnx_export._largest_difference(network, tmp_path / "x.onnx", [views(variant, 1)])
    assert difference <= onnx_export.TOLERANCE


@pytest.mark.parametrize("fault", ["exporter", "answers"])
def test_a_network_that_cannot_be_exported_does_not_stop_the_model(
    winner: Winner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator")

    if fault == "exporter":
        monkeypatch.setattr(onnx_export, "_write_onnx", fail)
    else:
        monkeypatch.setattr(onnx_export, "_largest_difference", lambda *_: float("nan"))
    assert claire("bundle", [*winner.argv(), "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.model.zip")
    document = read_model(path).document
    assert [export.member for export in document.exports.onnx] == [None] * 3
    assert {"exporter": "cannot take it (RuntimeError)", "answers": "would differ by nan"}[
        fault
    ] in document.exports.onnx[0].reason
    assert not any(name.startswith("exports/onnx") for name in document.members)


def test_monai_builds_the_network_that_the_bundle_defines(model: Model, unpacked: Path) -> None:
    folder = unpacked / MONAI
    parser = ConfigParser()
    parser.read_meta(folder / "configs/metadata.json")
    parser.read_config(folder / "configs/inference.json")
    parser["bundle_root"] = str(folder)
    parser["device"] = "cpu"
    parser.parse()
    networks = parser.get_parsed_content("networks")
    assert all(map(str, parser.get_parsed_content("loaded")))
    view = views(model.document.variant, 1)
    for number, network in enumerate(networks):
        with torch.inference_mode():
            np.testing.assert_allclose(network(torch.from_numpy(view)).numpy(), expected(model, number, view))
    np.save(folder / "view.npy", view[0])
    mean = np.mean([expected(model, number, view)[0] for number in range(3)], axis=0)
    np.testing.assert_allclose(parser.get_parsed_content("predict")(str(folder / "view.npy")), mean, rtol=1e-5)


def test_monai_finds_inputs_and_outputs_as_the_metadata_say(unpacked: Path) -> None:
    folder = unpacked / MONAI / "configs"
    verify_net_in_out(
        "network_def", meta_file=str(folder / "metadata.json"), config_file=str(folder / "inference.json"), device="cpu"
    )


def test_monai_metadata_hold_what_its_schema_requires(unpacked: Path) -> None:
    metadata = json.loads((unpacked / MONAI / "configs/metadata.json").read_text())
    required = {
        "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors", "copyright",
        "network_data_format", "changelog", "required_packages_version",
    }  # fmt: skip
    assert required <= set(metadata)
    assert metadata["version"] in metadata["changelog"]
    for side in ("inputs", "outputs"):
        for port in metadata["network_data_format"][side].values():
            assert {"type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range"} <= set(port)
            assert len(port["channel_def"]) == port["num_channels"]


def test_a_container_takes_the_model_by_its_name(model_path: Path, unpacked: Path) -> None:
    folder = unpacked / CONTAINER
    recipe = (folder / "Containerfile").read_text()
    assert f"COPY {model_path.name} /opt/model/{model_path.name}" in recipe
    assert f'"--model", "/opt/model/{model_path.name}"' in recipe
    described: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    assert "Not a medical device" in described["summary"]["description"]
    assert described["details"]["license"]["weights"] == "CC-BY-4.0"
    sockets = json.loads((folder / "interface.json").read_text())
    assert [socket["slug"] for socket in sockets["outputs"]] == ["probability-positive"]
