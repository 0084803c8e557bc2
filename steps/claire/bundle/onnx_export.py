"""Networks as ONNX, each checked against the network itself before it enters the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from claire.bundle.inputs import Inputs
from claire.core.command.errors import ClaireError
from claire.core.command.progress import log, progress
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.model import FoldModel, OnnxExport
from claire.core.contracts.variant import Variant
from claire.core.networks.build import load_network
from claire.core.networks.input import to_input
from claire.core.networks.scores import Scores
from claire.core.networks.view import cut_hu

OPSET = 17
#: Largest difference of a probability that an export may show.
TOLERANCE = 1e-4
#: Scans of the cohort on whose views an export is checked.
CHECKED = 3
INPUT, OUTPUT = "views", "probabilities"


def export_all(inputs: Inputs, folds: Sequence[FoldModel], folder: Path) -> list[tuple[OnnxExport, Path | None]]:
    """Export the network of each fold into `folder`; return what became of it and its file, None without one."""
    views = _views(inputs.cohort, inputs.cohort.scans[:CHECKED], inputs.variant)
    exporting = progress(folds, "networks exported")
    return [_export(inputs.weights[fold.fold], fold.run, views, folder) for fold in exporting]


def _views(cohort: Cohort, scans: Sequence[Scan], variant: Variant) -> list[np.ndarray]:
    """Return views (1, slices, size, size) float32 of scans, and one of noise, which no network has seen."""
    views = [to_input(torch.from_numpy(cut_hu(cohort, scan, variant)[None]), variant).numpy() for scan in scans]
    noise = np.random.default_rng(0).random((1, variant.slices, variant.size, variant.size), np.float32)
    return [*views, noise]


def _export(weights: Path, run: str, views: Sequence[np.ndarray], folder: Path) -> tuple[OnnxExport, Path | None]:
    network, path = Scores(load_network(weights)[0]).eval(), folder / f"{run}.onnx"
    try:
        _write_onnx(path, network, torch.from_numpy(views[0]))
        difference = _largest_difference(network, path, views)
    except ClaireError:
        raise
    except Exception as error:  # whatever an exporter says of a network, the model is as good without its export
        log.warning("%s is not exported to ONNX: %s", run, type(error).__name__)
        return _without(run, f"the exporter of PyTorch or ONNX Runtime cannot take it ({type(error).__name__})"), None
    if not difference <= TOLERANCE:
        log.warning("%s is not exported to ONNX: probabilities differ by %.2g", run, difference)
        return _without(run, f"its probabilities would differ by {difference:.2g}"), None
    export = OnnxExport(
        run=run,
        member=f"exports/onnx/{path.name}",
        opset=OPSET,
        checked=len(views),
        difference=float(f"{difference:.2g}"),
        tolerance=TOLERANCE,
    )
    return export, path


def _without(run: str, reason: str) -> OnnxExport:
    return OnnxExport(run=run, member=None, reason=reason, tolerance=TOLERANCE)


def _write_onnx(path: Path, network: Scores, view: torch.Tensor) -> None:
    """Write the network for one scan at a time; the exporter by tracing needs no further package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (view,), path, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT]
        )


def _largest_difference(network: Scores, path: Path, views: Sequence[np.ndarray]) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = [network(torch.from_numpy(view)).numpy() for view in views]
    exported = [session.run([OUTPUT], {INPUT: view})[0] for view in views]
    return float(max(np.abs(own - other).max() for own, other in zip(expected, exported, strict=True)))
