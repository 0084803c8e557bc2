"""Predictions of a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.run import ScanPrediction
from claire.core.contracts.variant import Variant
from claire.core.networks.input import to_input
from claire.core.networks.scan_network import ScanNetwork
from claire.core.networks.view import cut_hu, pick_slices


def predict(
    network: ScanNetwork, cohort: Cohort, scans: Sequence[Scan], variant: Variant, device: torch.device
) -> Iterator[ScanPrediction]:
    """Yield the prediction of each scan, in full precision, one scan in memory at a time."""
    network.eval()
    for scan in scans:
        image = to_input(torch.from_numpy(cut_hu(cohort, scan, variant)[None]).to(device), variant)
        with torch.inference_mode():
            output = network(image)
        rows, first = np.unique(pick_slices(scan.count, variant.slices), return_index=True)
        if output.slices is None:
            rows, slice_probability = rows[:0], np.empty((0, output.scan.shape[1]))
        else:
            slice_probability = _probability(output.slices[0])[first]
        yield ScanPrediction(scan, _probability(output.scan[0]), rows, slice_probability)


def _probability(logits: torch.Tensor) -> np.ndarray:
    probability: np.ndarray = torch.softmax(logits.double(), -1).cpu().numpy()
    return probability
