"""Which lesions decided, judged against the truth: phantoms rendered exactly without any set of their lesions.

    python benchmarks/saliency.py --seeds 11 12 13 [--arms both ...] [--network small] [--out saliency.json]

For each seed: phantoms of their own, a network trained by the product on each arm's training set, and the product's
explanation of test scans. An arm is a set of measures: healthy negatives, healed copies in training, or a refinement of
a network that had neither. Nothing here is seen by the product; what is judged comes from its result alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from claire.commands.phantom.lesions import Disease
from claire.commands.phantom.patient import MEDIUM, SHARP, SMOOTH, make_patient
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.lesions import METHODS, Refinement
from claire.core.contracts.variant import Variant
from claire.core.imaging.opacities import opacities
from claire.core.imaging.volume import Volume
from claire.core.networks.build import build_network
from claire.core.networks.devices import choose_device
from claire.core.statistics.decisions import operating_points
from claire.explain import Parameters
from claire.explain.lesions.candidates import Candidates, removal_labels
from claire.explain.lesions.interventions import Removals, make_infills, measure
from claire.explain.maps.faithfulness import lesion_scores
from claire.explain.maps.plausible import Plausibility, plausibility, within_scan_auc
from claire.explain.probe import Case, Cases, Probe, probabilities
from claire.explain.refine import ChosenNetwork
from claire.explain.refining import refine_network
from claire.explain.scan import ScanResult, Setting, explain_scan
from claire.preprocess.prepare import Filter, prepare, resize_hu, resize_mask
from claire.train.loading import Views
from claire.train.training import Learning, Training
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn

CLASSES = ("negative", "positive")
#: Rows and columns, slices; patients to train, to validate and to test.
SIZE, SLICES = 128, 24
PATIENTS = (160, 40, 60)
#: By arm: share of healthy negatives in training, augmentation, refinement.
ARMS: dict[str, tuple[float, str, str]] = {
    "as it was": (0.0, "standard", ""),
    "healthy negatives": (0.4, "standard", ""),
    "healed copies": (0.0, "healed", ""),
    "both": (0.4, "healed", ""),
    "as it was, refined on healed copies": (0.0, "standard", "healed"),
    "as it was, adversarial rounds": (0.0, "standard", "rounds"),
}
#: By network: architecture, dimensions, learning rate.
NETWORKS: dict[str, tuple[str, Literal["2D", "3D"], float]] = {
    "small": ("python:saliency:small", "2D", 1e-3),
    "densenet121": ("torchvision:densenet121", "2D", 3e-4),
    "r3d18": ("torchvision:r3d_18", "3D", 3e-4),
}
#: Least share of a candidate that must be truth to count as deciding or bystander, and least voxels.
OVERLAP, VOXELS = 0.2, 4
#: A candidate is of one kind where at most this share of its truth is of the other.
OTHER = 0.1
SAMPLES = 1000


class Small(nn.Module):
    """Seven convolutions, mean and maximum: learns these phantoms in two minutes on one core."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in (
            (1, 16, 1),
            (16, 24, 2),
            (24, 32, 1),
            (32, 48, 2),
            (48, 64, 1),
            (64, 96, 2),
            (96, 96, 1),
        ):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return features (B, 192)."""
        features = self.features(image)
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


def small(variant: Variant, classes: int) -> nn.Module:
    """Return the small network: `python:saliency:small` of a variant."""
    return Small()


@dataclass(frozen=True)
class Item:
    """A prepared phantom, (kept slices, rows, columns). `truth`: 1 deciding, 2 bystander; `without`: no lesion."""

    scan: Scan
    hu: np.ndarray
    lungs: np.ndarray
    lesions: np.ndarray
    truth: np.ndarray
    without: np.ndarray


def make_item(number: int, healthy: float) -> Item:
    """Return a phantom as the product prepares it, and the same without any lesion."""
    negative: Disease = "normal" if number // 2 % 5 < 5 * healthy else "pneumonia"
    kernel = (SMOOTH, MEDIUM, SHARP)[number // 2 % 3]
    phantom = make_patient(number, "covid" if number % 2 else negative, SIZE, SLICES, kernel)
    full = phantom.render()
    ready = prepare(Volume(full, phantom.affine), phantom.lungs, SIZE, Filter(0.038, 0.10, 6))
    name = f"{number:08d}"
    scan = Scan(
        scan=f"S{name}", patient=f"P{name}", label=CLASSES[number % 2], first=0, count=len(ready.slices),
        slices=tuple(map(int, ready.slices)), slice_labels=(-1,) * len(ready.slices), affine=ready.affine,
        slice_positions_mm=tuple(map(float, ready.positions_mm)), crop=ready.crop, original_shape=full.shape,
    )  # fmt: skip
    lesions = np.stack([resize_mask(phantom.labels[z], ready.crop, SIZE) for z in ready.slices])
    lesions = np.where(ready.lungs > 0, lesions, 0)
    roles = np.array([0, *(1 if filling.role == "deciding" else 2 for filling in phantom.fillings)])
    bare = phantom.render(set())
    without = np.stack([resize_hu(bare[z], ready.crop, SIZE) for z in ready.slices])
    return Item(scan, ready.hu, ready.lungs, lesions, roles[lesions], without)


def as_cohort(items: Sequence[Item]) -> Cohort:
    """Return items as a cohort in memory."""
    scans, first = [], 0
    for item in items:
        scans.append(item.scan.model_copy(update={"first": first}))
        first += len(item.hu)
    return Cohort(
        tuple(scans), CLASSES, "", np.concatenate([i.hu for i in items]), np.concatenate([i.lungs for i in items])
    )


def targets(cohort: Cohort) -> np.ndarray:
    """Return the class index of every scan."""
    return np.array([cohort.target(scan) for scan in cohort.scans])


def train(training: Cohort, validation: Cohort, variant: Variant) -> Probe:
    """Train by the product's own loop."""
    torch.manual_seed(variant.seed)
    network, device = build_network(variant, 2), choose_device("auto", variant.dimensions)
    learning = Learning(
        Views(training, training.scans, variant, True), torch.from_numpy(targets(training)),
        Views(validation, validation.scans, variant), torch.from_numpy(targets(validation)), 2,
    )  # fmt: skip
    Training(network, variant, learning, device).run()
    return Probe(network, variant, device)


def chosen_network(probe: Probe, validation: Cohort) -> ChosenNetwork:
    """Return a network with its operating point on validation scans."""
    cases = Cases(validation, probe.variant)
    logits = np.array([probe.scan_logits(cases.get(scan)) for scan in validation.scans])
    positive = targets(validation) > 0
    point = operating_points(probabilities(logits)[:, 1], positive)[0]
    refinement = Refinement(taken=False, reason="", steps=0)
    return ChosenNetwork(probe, refinement, point, list(validation.scans), logits, positive, None)


@dataclass
class Scored:
    """What is judged of one scan: by method a score for each candidate, and whether it is deciding, and of one kind."""

    deciding: np.ndarray
    pure: np.ndarray
    scores: Mapping[str, np.ndarray]
    true_deciding: np.ndarray
    true_delta: np.ndarray
    plausible: Mapping[str, Plausibility]
    repeated: float
    randomised: float
    exists: bool
    exact: bool
    members: int
    cover: float
    seconds: float


def randomised_network(probe: Probe, seed: int) -> Probe:
    """Return the network with all its weights permuted within each tensor: the sanity check of Adebayo (2018)."""
    network, generator = copy.deepcopy(probe.network), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            flat = weight.flatten()
            weight.copy_(flat[torch.randperm(len(flat), generator=generator)].view_as(weight))
    return Probe(network, probe.variant, probe.device)


def agreement(result: ScanResult, item: Item, probe: Probe, seed: int) -> float:
    """Return Spearman's correlation of Δ with that of a new draw of the infills under `probe`."""
    case = result.case
    taken = removal_labels(result.candidates, case.prepared_lungs)
    removals = Removals(probe, case, taken, make_infills(case, taken > 0, np.random.default_rng(seed)))
    again = measure(removals, len(result.candidates), result.candidates.everything, 1).delta()
    return float(spearmanr([lesion.delta for lesion in result.explained.lesions], again).statistic)


def judge_scan(item: Item, scan: Scan, setting: Setting) -> Scored:
    """Explain a called positive and judge the result against the truth."""
    started = time.perf_counter()
    result = explain_scan(scan, setting, np.random.default_rng(0))
    seconds = time.perf_counter() - started
    case, probe = result.case, setting.chosen.probe
    taken = removal_labels(result.candidates, case.prepared_lungs)
    count = len(result.candidates)
    deciding, bystander = (
        np.bincount(taken[item.truth == role], minlength=count + 2)[1 : count + 1] for role in (1, 2)
    )
    voxels = np.bincount(taken.ravel(), minlength=count + 2)[1 : count + 1]
    counted = np.maximum(deciding, bystander) >= np.maximum(VOXELS, OVERLAP * voxels)
    crucial = [lesion.id for lesion in result.explained.lesions if lesion.crucial]
    exact = np.where(np.isin(taken, crucial), item.without, item.hu)
    logits = probe.evaluate([torch.from_numpy(case.projection.apply(exact))], case.lungs)
    true_deciding, true_delta = judge_true_lesions(item, case, probe)
    roles, inside = case.projection.labels(item.truth), case.view.lungs > 0
    return Scored(
        (deciding > bystander)[counted],
        (np.minimum(deciding, bystander) <= OTHER * (deciding + bystander))[counted],
        {name: values[counted] for name, values in candidate_scores(result, case).items()},
        true_deciding,
        true_delta,
        {
            name: plausibility(values, roles == 1, roles == 2, inside, case.view.spacing_mm)
            for name, values in result.maps.items()
        },
        agreement(result, item, probe, 1),
        agreement(result, item, randomised_network(probe, 0), 0),
        bool(crucial),
        bool(crucial) and int(setting.chosen.decide(logits)[0]) == 0,
        len(crucial),
        float((taken > 0)[item.truth == 1].mean()),
        seconds,
    )


def candidate_scores(result: ScanResult, case: Case) -> dict[str, np.ndarray]:
    """Return the score of every candidate by method; beside the maps Δ, Δ per ml and the volume."""
    lesions = result.explained.lesions
    maps = {name: values for name, values in result.maps.items() if name != "interventions"}
    scores = lesion_scores(result.candidates.labels, len(lesions), maps, case)
    scores["interventions"] = np.array([lesion.delta for lesion in lesions])
    scores["delta_per_ml"] = np.array([lesion.delta_per_ml for lesion in lesions])
    scores["volume"] = np.array([lesion.volume_ml for lesion in lesions])
    return scores


def judge_true_lesions(item: Item, case: Case, probe: Probe) -> tuple[np.ndarray, np.ndarray]:
    """Return (deciding, Δ) of the true lesions: what is left to gain by better outlines."""
    ids = [int(k) for k in np.unique(item.lesions) if k and (item.lesions == k).sum() >= 20]
    labels = np.zeros(item.lesions.shape, np.int16)
    for i, k in enumerate(ids, start=1):
        labels[item.lesions == k] = i
    truth = Candidates(labels, (("truth",),) * len(ids))
    taken = removal_labels(truth, case.prepared_lungs)
    removals = Removals(probe, case, taken, make_infills(case, taken > 0, np.random.default_rng(0)))
    delta = measure(removals, len(ids), truth.everything, 1).delta()
    return np.array([item.truth[item.lesions == k][0] == 1 for k in ids]), delta


def pooled_auc(scans: Sequence[Scored], name: str, pure: bool = False) -> float:
    """Return the AUC of deciding against bystander candidates of all scans by a method's scores; of one kind alone."""
    rows = [scan.pure if pure else np.ones(len(scan.pure), bool) for scan in scans]
    labels = np.concatenate([scan.deciding[kept] for scan, kept in zip(scans, rows, strict=True)])
    scores = np.concatenate([scan.scores[name][kept] for scan, kept in zip(scans, rows, strict=True)])
    return float(roc_auc_score(labels, scores))


def gain(scans: Sequence[Scored], name: str, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of AUC(interventions) − AUC(method): bootstrap of scans, paired."""
    rng, values = np.random.default_rng(seed), []
    for _ in range(SAMPLES):
        drawn = [scans[i] for i in rng.integers(len(scans), size=len(scans))]
        labels = np.concatenate([scan.deciding for scan in drawn])
        if 0 < labels.sum() < len(labels):
            values.append(pooled_auc(drawn, "interventions") - pooled_auc(drawn, name))
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def judge_network(chosen: ChosenNetwork, items: Sequence[Item], maps: str) -> tuple[dict[str, object], list[Scored]]:
    """Return the figures of a network on test phantoms, and what was judged scan by scan."""
    cohort = as_cohort(items)
    cases, probe = Cases(cohort, chosen.probe.variant), chosen.probe
    parameters = Parameters.model_construct(maps=maps, attribution_steps=8)
    setting = Setting(chosen, None, None, True, CLASSES, parameters, cases)
    score = np.array([probabilities(probe.scan_logits(cases.get(scan)))[1] for scan in cohort.scans])
    target = targets(cohort)
    bare = []
    for item, scan in zip(items, cohort.scans, strict=True):
        case = cases.get(scan)
        view = torch.from_numpy(case.projection.apply(item.without))
        bare.append(probabilities(probe.evaluate([view], case.lungs))[0, 1])
    empty = np.array(bare)
    called = [
        judge_scan(item, scan, setting)
        for item, scan, p in zip(items, cohort.scans, score, strict=True)
        if scan.label == "positive" and p >= (chosen.operating_point or 0.5) and (item.truth == 1).any()
    ]
    truth = np.concatenate([scan.true_deciding for scan in called])
    exists = np.array([scan.exists for scan in called])
    figures: dict[str, object] = {
        "auc": float(roc_auc_score(target, score)),
        "p_no_lesion_positives": float(empty[target == 1].mean()),
        "p_no_lesion_negatives": float(empty[target == 0].mean()),
        "called": len(called),
        "crucial_exists": float(exists.mean()),
        "crucial_exact": float(np.mean([scan.exact for scan in called if scan.exists])) if exists.any() else None,
        "members": float(np.mean([scan.members for scan in called if scan.exists])) if exists.any() else None,
        "cover": float(np.mean([scan.cover for scan in called])),
        "true_auc": float(roc_auc_score(truth, np.concatenate([scan.true_delta for scan in called]))),
        "top1": top_one(called, "interventions"),
        "within": within(called, "interventions"),
        "seconds": float(np.mean([scan.seconds for scan in called])),
        "methods": {name: pooled_auc(called, name) for name in called[0].scores},
        "pure": {name: pooled_auc(called, name, pure=True) for name in called[0].scores},
        "plausible": {
            name: [float(value) for value in np.nanmean([scan.plausible[name] for scan in called], axis=0)]
            for name in called[0].plausible
        },
        "repeated": float(np.nanmean([scan.repeated for scan in called])),
        "randomised": float(np.nanmean([scan.randomised for scan in called])),
        "mixed": float(np.mean(~np.concatenate([scan.pure for scan in called]))),
    }
    return figures, called


def top_one(scans: Sequence[Scored], name: str) -> float:
    """Return in how many scans the first candidate is a deciding one."""
    return float(np.mean([scan.deciding[np.argmax(scan.scores[name])] for scan in scans if len(scan.deciding)]))


def within(scans: Sequence[Scored], name: str) -> float:
    """Return the mean AUC within a scan, of scans that have both kinds."""
    return float(np.nanmean([within_scan_auc(scan.scores[name], scan.deciding) for scan in scans]))


def run_seed(seed: int, arms: Sequence[str], network: str, epochs: int, maps: str) -> dict[str, object]:
    """Return the figures of every arm for one seed, and the gains of the arm `both`."""
    first, (train_n, validation_n, test_n) = 10_000_000 + 10_000 * seed, PATIENTS
    with ProcessPoolExecutor(2) as pool:
        test = list(pool.map(make_item, range(first + 5000, first + 5000 + test_n), [0.4] * test_n, chunksize=8))
        sets = {
            share: list(pool.map(make_item, range(first, first + train_n + validation_n), [share] * 10**4, chunksize=8))
            for share in {ARMS[arm][0] for arm in arms}
        }
    architecture, dimensions, rate = NETWORKS[network]
    trained: dict[tuple[float, str], Probe] = {}
    results: dict[str, object] = {}
    for arm in arms:
        share, augmentation, refinement = ARMS[arm]
        training, validation = as_cohort(sets[share][:train_n]), as_cohort(sets[share][train_n:])
        variant = Variant(
            architecture=architecture, dimensions=dimensions, size=80, slices=12, view="box", epochs=epochs,
            batch_size=4, learning_rate=rate, patience=epochs, seed=seed, augmentation=augmentation,
        )  # fmt: skip
        started = time.perf_counter()
        key = (share, augmentation)
        if key not in trained:
            trained[key] = train(training, validation, variant)
        probe = trained[key]
        if refinement:
            cases = Cases(training, variant)
            labelled = [(cases.loader(scan), training.target(scan)) for scan in training.scans]
            probe = refine_network(probe, labelled, refinement, 80, seed)
        seconds = time.perf_counter() - started
        figures, called = judge_network(chosen_network(probe, validation), test, maps)
        figures["training_seconds"] = seconds
        figures["gains"] = {name: gain(called, name, seed) for name in called[0].scores if name != "interventions"}
        results[arm] = figures
        print(f"seed {seed}, {network}, {arm}: {json.dumps(figures)}", file=sys.stderr, flush=True)
    return results


def table(results: Mapping[int, Mapping[str, Mapping[str, object]]]) -> str:
    """Return the figures as Markdown: a row an arm and seed, and the methods of the last arm."""
    lines = [
        "| arm, seed | AUC | p(no lesion): positives / negatives | crucial set exists, turns the exact counterfactual, "
        "lesions | Δ AUC: true lesions / candidates (within a scan) | top-1 | cover |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, arms in results.items():
        for arm, f in arms.items():
            methods = _by_method(f, "methods")
            lines.append(
                f"| {arm}, {seed} | {f['auc']:.3f} "
                f"| {f['p_no_lesion_positives']:.2f} / {f['p_no_lesion_negatives']:.2f} "
                f"| {f['crucial_exists']:.2f}, {_two(f['crucial_exact'])}, {_two(f['members'])} "
                f"| {f['true_auc']:.3f} / {methods['interventions']:.3f} ({f['within']:.3f}) | {f['top1']:.2f} "
                f"| {f['cover']:.2f} |"
            )
    for seed, arms in results.items():
        arm, f = next(reversed(arms.items())) if "both" not in arms else ("both", arms["both"])
        methods, gains, pure = (_by_method(f, name) for name in ("methods", "gains", "pure"))
        lines += ["", f"Methods, {arm}, seed {seed}: AUC, and by how much the interventions are ahead (95 %)", ""]
        for name, value in sorted(methods.items(), key=lambda pair: -pair[1]):
            ahead = f"{gains[name][0]:+.3f} to {gains[name][1]:+.3f}" if name in gains else ""
            lines.append(f"- {METHODS.get(name, name)}: {value:.3f} {ahead}; of one kind {pure[name]:.3f}")
        lines += [
            "",
            "Plausible, never mixed with the above: pointing within 1 voxel and 15 mm, top-k Dice, AUPRC, share of the "
            "top k in bystanders",
            "",
        ]
        plausible = {name: Plausibility(*values) for name, values in _by_method(f, "plausible").items()}
        for name, seen in sorted(plausible.items(), key=lambda pair: -pair[1].auprc):
            lines.append(
                f"- {METHODS.get(name, name)}: {seen.pointing_voxel:.2f} and {seen.pointing_mm:.2f}, "
                f"{seen.top_dice:.2f}, {seen.auprc:.2f}, {seen.bystanders:.2f}"
            )
        lines += [
            "",
            f"Δ again with other infills: Spearman {f['repeated']:.2f}; with permuted weights: {f['randomised']:.2f}",
        ]
    return "\n".join(lines)


def _by_method(figures: Mapping[str, object], name: str) -> dict[str, Any]:
    """Return the figures of every method."""
    values = figures[name]
    if not isinstance(values, dict):
        raise TypeError(f"{name} holds no figures by method")
    return values


def _two(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "–"


def reader_masks(root: Path) -> str:
    """Return how opacities found by HU agree with readers' masks of infection: plausibility alone.

    Slices of 8 bits, taken as the window of −1250 to 250 HU at 1.4 mm; HU are not calibrated.
    """
    rows = []
    for folder in sorted(path for path in (root / "covid_seg_slices_zenodo20").iterdir() if path.is_dir()):
        hits = np.zeros(3)
        for path in sorted(folder.glob("*_ct.png")):
            grey, lungs, infection = (
                np.asarray(Image.open(path.with_name(path.name.replace("_ct", f"_{kind}"))).convert("L"), np.float32)
                for kind in ("ct", "lungs", "covid")
            )
            truth = infection > 0
            inside = ((lungs > 0) | truth)[None].astype(np.uint8)
            found = opacities((-1250 + 1500 * grey / 255)[None], inside, (100.0, 1.4, 1.4))[0]
            hits += [(found & truth).sum(), found.sum(), truth.sum()]
        both, found_count, truth_count = hits
        rows.append(
            f"{folder.name}: covers {both / truth_count:.2f} of the mask, {both / found_count:.2f} of it inside"
        )
    return "\n".join(["", "Opacities against readers' masks of infection (not established on patients):", *rows])


def main() -> None:
    """Run the seeds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--network", choices=list(NETWORKS), default="small")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--maps", choices=["few", "all"], default="few")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    results = {}
    for seed in asked.seeds:
        results[seed] = run_seed(seed, asked.arms, asked.network, asked.epochs, asked.maps)
        if asked.out is not None:
            asked.out.write_text(json.dumps(results, indent=1))
    print(table(results))
    if root := os.environ.get("CLAIRE_REAL_DATA"):
        print(reader_masks(Path(root)))


if __name__ == "__main__":
    main()
