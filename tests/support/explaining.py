"""A tiny network of either kind, trained on the synthetic cohort in a second or two, with the files of its run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.folds import read_folds
from claire.core.contracts.run import RunFacts, Split, prediction_rows, write_run
from claire.core.contracts.variant import Variant
from claire.core.contracts.weights import write_weights
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.networks.build import build_network
from claire.core.networks.devices import Device
from claire.core.networks.input import to_input
from claire.core.networks.predict import predict
from claire.core.networks.scan_network import ScanNetwork
from claire.core.networks.view import cut_hu
from claire.explain.probe import Case, Probe, make_case
from torch import nn
from torch.nn import functional

from tests.support.runs import run_facts
from tests.support.synthetic import CLASSES, CohortFiles

FOLD = 0
CPU = Device(torch.device("cpu"), "fp32")
FLAT = Variant(architecture="python:tests.support.explaining:tiny", view="whole", size=32, slices=8, pooling="topk")
SOLID = FLAT.model_copy(update={"dimensions": "3D"})


class Tiny(nn.Module):
    """Two convolutions and a maximum over the image or volume: the brightest patch decides."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.first = nn.Sequential(kind(1, 8, 3, 2, 1), nn.ReLU())
        self.block = nn.Sequential(kind(8, 8, 3, 1, 1), nn.ReLU())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.block(self.first(image)).flatten(2).amax(2)


def tiny(variant: Variant, classes: int) -> nn.Module:
    return Tiny(int(variant.dimensions[0]))


@dataclass(frozen=True)
class Trained:
    """A trained run of one fold; `files` are those of its cohort."""

    files: CohortFiles
    variant: Variant
    weights: Path
    run: Path
    cohort: Cohort
    probe: Probe

    def case(self, label: str, nth: int = 0) -> Case:
        """Return the nth scan of a class on the network's grid."""
        scans = [scan for scan in self.cohort.scans if scan.label == label]
        return make_case(self.cohort, scans[nth], self.variant)


def train_tiny(files: CohortFiles, variant: Variant, folder: Path, steps: int = 60, fold: int = FOLD) -> Trained:
    """Train on all scans of the training role at once, and write weights and archive of the run."""
    torch.manual_seed(0)
    cohort, network = open_cohort(files.cohort), build_network(variant, len(CLASSES))
    scans = cohort.by_patient(read_folds(files.folds).roles(fold)["train"])
    images = torch.stack([to_input(torch.from_numpy(cut_hu(cohort, scan, variant)), variant) for scan in scans])
    targets = torch.tensor([cohort.target(scan) for scan in scans])
    optimiser = torch.optim.AdamW(network.parameters(), 2e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(network(images).scan, targets).backward()
        optimiser.step()
    facts = run_facts(variant, fold, CLASSES, files.sha256)
    weights = write_weights(folder / f"{facts.run}.safetensors", network.state_dict(), weights_facts(variant, facts))
    run = _write_archive(folder, facts, variant, network, files)
    return Trained(files, variant, weights, run, cohort, Probe(network, variant, CPU))


def weights_facts(variant: Variant, facts: RunFacts) -> WeightsFacts:
    """Return the facts in the weights file of a run."""
    return WeightsFacts(
        run=facts.run,
        variant=variant,
        fold=facts.fold,
        classes=facts.classes,
        cohort_sha256=facts.cohort_sha256,
    )


def _write_archive(folder: Path, facts: RunFacts, variant: Variant, network: ScanNetwork, files: CohortFiles) -> Path:
    cohort, roles = open_cohort(files.cohort), read_folds(files.folds).roles(facts.fold)
    splits: tuple[Split, ...] = ("validation", "test")
    rows = [
        row
        for split in splits
        for row in prediction_rows(
            facts, split, predict(network, cohort, cohort.by_patient(roles[split]), variant, CPU.torch)
        )
    ]
    return write_run(folder / f"{facts.run}.run.zip", variant, facts, rows, [])
