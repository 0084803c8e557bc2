"""Members for other programs: a MONAI bundle, ONNX, and what makes a container of the model."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import claire
from claire.bundle.folds import weights_member
from claire.bundle.inputs import Inputs
from claire.core.command.progress import log
from claire.core.contracts.model import FoldModel, ModelCard, OnnxExport

MONAI, CONTAINER = "exports/monai", "exports/container"
#: Libraries that the networks and their preparation depend on.
LIBRARIES = ("torch", "torchvision", "monai", "numpy", "scipy", "SimpleITK", "safetensors", "onnx", "onnxruntime")
#: What an export to ONNX needs.
NEEDED = ("torch", "onnx", "onnxruntime")
TOLERANCE = 1e-4
Members = dict[str, bytes | Path]


def software() -> dict[str, str]:
    """Return the versions of the pipeline and of its libraries, where they are installed."""
    versions = {"claire-pipeline": claire.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def onnx_members(inputs: Inputs, folds: Sequence[FoldModel], folder: Path) -> tuple[tuple[OnnxExport, ...], Members]:
    """Return what became of the export of each network, and the members; without torch none can be exported."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        log.warning("no network is exported to ONNX: %s is not installed here", missing[0])
        reason = f"{missing[0]} was not installed where the model was made"
        return tuple(OnnxExport(run=fold.run, member=None, reason=reason, tolerance=TOLERANCE) for fold in folds), {}
    # By name: torch takes seconds, and the data role does not have it.
    exported = importlib.import_module("claire.bundle.onnx_export").export_all(inputs, folds, folder)
    return tuple(export for export, _ in exported), {export.member: path for export, path in exported if path}


def monai_members(inputs: Inputs, folds: Sequence[FoldModel], card: ModelCard) -> Members:
    """Return a bundle for MONAI that builds the networks by this package and loads the weights of the model."""
    return {
        f"{MONAI}/configs/metadata.json": _json(_metadata(inputs, card)),
        f"{MONAI}/configs/inference.json": _json(_inference(inputs, folds)),
        f"{MONAI}/docs/README.md": _MONAI_README.encode(),
    }


def _metadata(inputs: Inputs, card: ModelCard) -> dict[str, Any]:
    """Return the metadata that MONAI's schema of bundles asks for."""
    variant, classes = inputs.variant, inputs.summary.classes
    versions = _required() | software()
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": claire.__version__,
        "changelog": {claire.__version__: f"variant {variant.id}"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"].split("+")[0],
        "numpy_version": versions["numpy"],
        "required_packages_version": {
            "claire-pipeline": claire.__version__,
            "safetensors": versions["safetensors"],
            "torchvision": versions["torchvision"].split("+")[0],
        },
        "name": f"CLAIRE {variant.id}",
        "task": "Classification of chest CT scans",
        "description": card.title,
        "authors": "The CLAIRE pipeline maintainers",
        "copyright": f"Licence of the model: {card.licence}",
        "data_source": card.data,
        "data_type": "numpy",
        "image_classes": "views of chest CT scans, HU windowed to 0…1",
        "label_classes": "one probability per class",
        "pred_classes": "one probability per class",
        "intended_use": f"{card.intended_use} {card.warning}",
        "references": [card.citation],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": variant.slices,
                    "spatial_shape": [variant.size, variant.size],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(number): f"slice {number}" for number in range(variant.slices)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "modality": "n/a",
                    "num_channels": len(classes),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(number): name for number, name in enumerate(classes)},
                }
            },
        },
    }


def _required() -> dict[str, str]:
    """Return the least versions that this package asks for, of libraries that may not be installed here."""
    lines = [line.partition(";")[0].strip() for line in requires("claire-pipeline") or ()]
    named = [line.partition(mark) for line in lines for mark in ("==", ">=") if mark in line]
    return dict.fromkeys(LIBRARIES, "0") | {name: number for name, _, number in named}


def _inference(inputs: Inputs, folds: Sequence[FoldModel]) -> dict[str, Any]:
    """Return the configuration that predicts views, saved as .npy, by the mean of the networks of all folds."""
    variant = {"variant": inputs.variant.model_dump(mode="json"), "classes": len(inputs.summary.classes)}
    files = [weights_member(fold.run) for fold in folds]
    return {
        "imports": ["$import glob", "$import numpy", "$from safetensors.torch import load_file", "$import torch"],
        "bundle_root": ".",
        "model_root": "$@bundle_root + '/../..'",
        "dataset_dir": "$@bundle_root + '/views'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "weights": [f"$@model_root + '/{name}'" for name in files],
        "network_def": {"_target_": "claire.core.networks.scores.scores", **variant},
        "networks": [{"_target_": "claire.core.networks.scores.scores", **variant} for _ in files],
        "loaded": "$[network.network.load_state_dict(load_file(path)) for network, path in zip(@networks, @weights)]",
        "views": "$sorted(glob.glob(@dataset_dir + '/*.npy'))",
        "predict": "$lambda path: torch.stack([network.to(@device)(torch.from_numpy(numpy.load(path))[None]"
        ".to(@device)) for network in @networks]).mean(0)[0].tolist()",
        "run": ["$@loaded", "$print({path: @predict(path) for path in @views})"],
    }


_MONAI_README = """# The model as a MONAI bundle

Unpack the whole model file, install `claire-pipeline` with its role `learn`, and put views into `views`: arrays
(slices, size, size), float32 in 0…1, as `claire.core.networks.input.to_input` makes them of prepared scans.

    cd exports/monai
    python -m monai.bundle run --bundle_root . --meta_file configs/metadata.json --config_file configs/inference.json

The weights are the safetensors of the model file. There is no `models/model.pt`: a pickle can run code when it is read.

`claire predict` does all of this from DICOM series, with operating points, calibration and a check of whether a scan
is like those that the model learned from.
"""


def container_members(inputs: Inputs, card: ModelCard, name: str) -> Members:
    """Return what makes a container of the model: recipe, description as MHub has it, interface of grand-challenge."""
    return {
        f"{CONTAINER}/Containerfile": _containerfile(name).encode(),
        f"{CONTAINER}/meta.json": _json(_mhub(inputs, card)),
        f"{CONTAINER}/interface.json": _json(_interface(inputs.summary.classes)),
    }


def _containerfile(name: str) -> str:
    return f"""# A container that diagnoses the series in /input and writes into /output. Build it beside the model:
#   podman build -f exports/container/Containerfile -t claire-model .
#   podman run --rm --network none -v ./series:/input:ro -v ./result:/output claire-model
ARG BASE_IMAGE=localhost/claire-learn:{claire.__version__}
FROM ${{BASE_IMAGE}}
COPY {name} /opt/model/{name}
ENTRYPOINT ["claire", "predict", "--model", "/opt/model/{name}", "--source", "/input", "--out", "/output"]
"""


def _mhub(inputs: Inputs, card: ModelCard) -> dict[str, Any]:
    variant, metrics = inputs.variant, inputs.metrics
    scans = sum(metrics.n.scans.values())
    return {
        "id": variant.id,
        "name": f"claire_{variant.id}",
        "title": card.title,
        "summary": {
            "description": f"{card.title}. {card.warning}",
            "inputs": [
                {
                    "label": "Chest CT",
                    "description": "One series of the chest, lungs whole",
                    "format": "DICOM",
                    "modality": "CT",
                    "bodypartexamined": "CHEST",
                    "slicethickness": _thickness(inputs),
                    "contrast": True,
                    "non-contrast": True,
                }
            ],
            "outputs": [
                {
                    "type": "Prediction",
                    "valueType": "Probability",
                    "label": f"Probability of {label}",
                    "description": f"Probability of {label} by patient",
                    "classes": list(inputs.summary.classes),
                }
                for label in inputs.summary.classes[1:]
            ],
            "model": {
                "architecture": variant.architecture,
                "training": "supervised",
                "cmpapproach": variant.dimensions,
            },
            "data": {
                "training": {"vol_samples": scans},
                "evaluation": {"vol_samples": scans},
                "public": False,
                "external": False,
            },
        },
        "details": {
            "name": card.title,
            "version": claire.__version__,
            "devteam": "The CLAIRE pipeline maintainers",
            "type": f"{variant.dimensions} classification",
            "date": {"weights": "", "code": "", "pub": "2021"},
            "cite": card.citation,
            "license": {"code": "Apache-2.0", "weights": card.licence},
            "publications": [{"uri": "https://arxiv.org/abs/2108.01033", "title": card.citation}],
        },
        "info": {
            "use": {"title": "Intended use", "text": f"{card.intended_use} {card.warning}"},
            "training": {"title": "Data", "text": f"{card.data}. Licences: {card.data_licence}."},
            "evaluation": {"title": "Evaluation", "text": "See model-card.md: by patient, with intervals."},
            "limitations": {"title": "Limits", "text": " ".join(card.limits)},
        },
    }


def _thickness(inputs: Inputs) -> str:
    values = [row.thickness_mm for row in inputs.scans.values() if row.thickness_mm is not None]
    return f"{min(values):g} to {max(values):g} mm" if values else "unknown"


def _interface(classes: Sequence[str]) -> dict[str, Any]:
    """Return the sockets of an algorithm on grand-challenge: a CT image in, a probability per class out."""
    outputs = [
        {
            "title": f"Probability of {name}",
            "slug": f"probability-{_slug(name)}",
            "kind": "Float",
            "super_kind": "Value",
            "relative_path": f"probability-{_slug(name)}.json",
        }
        for name in classes[1:]
    ]
    ct = {
        "title": "CT image",
        "slug": "ct-image",
        "kind": "Image",
        "super_kind": "Image",
        "relative_path": "images/ct",
    }
    return {"inputs": [ct], "outputs": outputs}


def _slug(name: str) -> str:
    return "-".join("".join(sign if sign.isalnum() else " " for sign in name.lower()).split())


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()
