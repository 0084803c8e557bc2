"""A tiny network of either kind, trained on the synthetic cohort in a second or two, with the files of its run."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from claire.core.command.record import SCHEMA_VERSION
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.folds import read_folds
from claire.core.contracts.variant import Variant
from claire.core.networks.build import build_network
from claire.core.networks.devices import Device
from claire.explain.probe import Case, Probe, make_case, probabilities
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tests.support.synthetic import CLASSES, Made

FOLD = 0
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
    """A trained run of fold 0."""

    made: Made
    variant: Variant
    weights: Path
    run: Path
    cohort: Cohort
    probe: Probe

    def case(self, label: str, nth: int = 0) -> Case:
        scans = [scan for scan in self.cohort.scans if scan.label == label]
        return make_case(self.cohort, scans[nth], self.variant)


def train_tiny(made: Made, variant: Variant, folder: Path, steps: int = 60) -> Trained:
    """Train on all scans of the training role, masked to the lungs by what the network can learn there."""
    torch.manual_seed(0)
    cohort, network = open_cohort(made.cohort), build_network(variant, len(CLASSES))
    roles = read_folds(made.folds).roles(FOLD)
    scans = cohort.by_patient(roles["train"])
    images = torch.stack([_image(make_case(cohort, scan, variant), variant) for scan in scans])
    targets = torch.tensor([cohort.target(scan) for scan in scans])
    optimiser = torch.optim.AdamW(network.parameters(), 2e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(network(images).scan, targets).backward()
        optimiser.step()
    run = f"{variant.id}-f{FOLD}"
    weights = folder / f"{run}.safetensors"
    metadata = {
        "variant": json.dumps(variant.document()), "classes": json.dumps(CLASSES), "fold": str(FOLD),
        "cohort": made.sha256, "run": run,
    }  # fmt: skip
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights, metadata)
    probe = Probe(network, variant, Device(torch.device("cpu"), "fp32"))
    return Trained(made, variant, weights, _archive(folder, run, variant, probe, cohort, roles), cohort, probe)


def _image(case: Case, variant: Variant) -> torch.Tensor:
    return torch.from_numpy(case.view.image(variant))


def _archive(
    folder: Path, run: str, variant: Variant, probe: Probe, cohort: Cohort, roles: dict[str, set[str]]
) -> Path:
    columns = ["run", "fold", "split", "level", "patient", "scan", "slice", "target"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"probability_{name}" for name in CLASSES)])
    for split in ("validation", "test"):
        for scan in cohort.by_patient(roles[split]):
            chances = probabilities(probe.of(make_case(cohort, scan, variant)))
            writer.writerow([run, FOLD, split, "scan", scan.patient, scan.scan, "", scan.label, *np.round(chances, 9)])
    facts = {"schema_version": SCHEMA_VERSION, "fold": FOLD, "classes": list(CLASSES), "cohort": cohort.sha256}
    path = folder / f"{run}.run.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("predictions.csv", text.getvalue())
        archive.writestr("variant.json", json.dumps(variant.document()))
        archive.writestr("train.json", json.dumps(facts))
    return path
