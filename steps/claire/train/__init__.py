"""Train one variant on one fold and predict its validation and test scans.

Learns from the fold's training patients, stops by its validation patients, and looks at its test patients once, when
the best epoch is fixed. Writes the weights, an archive of predictions and history, and last the record.

With --store, a finished training is taken from there instead of being repeated, and an unfinished one goes on from its
checkpoint: run the same command again after any interruption.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from claire.core.command.errors import ClaireError, require
from claire.core.command.parameters import InputFile, SitePath, StepParameters, parameter
from claire.core.command.progress import about, progress

if TYPE_CHECKING:
    from claire.core.command.store import Entry
    from claire.core.contracts.cohort import Cohort, Scan
    from claire.core.contracts.variant import Variant
    from claire.core.networks.build import ScanNetwork
    from claire.core.networks.devices import Device
    from claire.train.training import Learning, Prediction, Progress

log = logging.getLogger("claire")
PREDICTED = ("validation", "test", "external")
HISTORY = ("epoch", "rate", "train_loss", "validation_loss", "validation_auc")
LIBRARIES = ("torch", "torchvision", "monai")


@dataclass(frozen=True)
class Job:
    """One training: a variant on a fold of a cohort. `scans` maps the roles of the fold to its scans."""

    variant: Variant
    cohort: Cohort
    fold: int
    scans: dict[str, list[Scan]]
    weights: Path | None

    @property
    def name(self) -> str:
        """Name of the run, the stem of its files."""
        return f"{self.variant.id}-f{self.fold}"


def read_job(parameters: Parameters) -> Job:
    """Read and check what a training needs; raises UsageError or ClaireError before any time is spent."""
    from claire.core.contracts.cohort import open_cohort
    from claire.core.contracts.folds import read_folds
    from claire.core.contracts.variant import load_variant

    variant, folds = load_variant(parameters.variant), read_folds(parameters.folds)
    require(
        0 <= parameters.fold < max(folds.count, 1),
        f"--fold {parameters.fold} is not there: the folds table has {folds.count} folds",
        f"Choose 0 to {max(folds.count, 1) - 1}.",
    )
    _check_weights(variant, parameters.weights)
    cohort = open_cohort(parameters.cohort)
    strangers = {scan.patient for scan in cohort.scans} - set(folds.fold) - set(folds.fixed)
    if strangers:
        raise ClaireError(
            f"{len(strangers)} patients of the cohort stand in no fold, {min(strangers)} among them",
            "Give the folds.csv that was written beside this cohort.h5.",
        )
    absent = {*folds.fold, *folds.fixed} - {scan.patient for scan in cohort.scans}
    if absent:
        raise ClaireError(
            f"{len(absent)} patients of the folds have no scan in the cohort, {min(absent)} among them",
            "Give the folds.csv that was written beside this cohort.h5.",
        )
    scans = {role: cohort.by_patient(patients) for role, patients in folds.roles(parameters.fold).items()}
    _check_roles(scans, cohort, parameters.fold)
    return Job(variant, cohort, parameters.fold, scans, parameters.weights)


def _check_weights(variant: Variant, weights: Path | None) -> None:
    wanted = variant.pretraining.removeprefix("weights:") if variant.pretraining != "none" else None
    given = weights.name if weights else None
    require(
        wanted == given,
        f"variant {variant.id} starts from {wanted or 'no weights'}, but --weights gives {given or 'none'}",
        "Give the weights file that the variant's `pretraining` names, and no other.",
    )


def _check_roles(scans: dict[str, list[Scan]], cohort: Cohort, fold: int) -> None:
    for role in ("train", "validation", "test"):
        if not scans[role]:
            raise ClaireError(
                f"fold {fold} has no {role} scans", "Draw other folds: `claire cohort --fold-count`, --seed."
            )
    missing = sorted(set(cohort.classes) - {scan.label for scan in scans["train"]})
    if missing:
        raise ClaireError(
            f"fold {fold} has no training scan of class {', '.join(missing)}",
            "A class needs patients in every role: gather more, or draw fewer folds.",
        )


def store_key(job: Job, folds: Path, device: Device) -> dict[str, Any]:
    """Return all that a training's result depends on; its hash is the key in the store."""
    from claire.core.command.files import sha256_file
    from claire.core.command.record import source_hash

    return {
        "source": source_hash(),
        "libraries": versions(),
        "variant": job.variant.document(),
        "architecture": _own_source(job.variant.architecture),
        "cohort": job.cohort.sha256,
        "folds": sha256_file(folds),
        "fold": job.fold,
        "weights": sha256_file(job.weights) if job.weights else None,
        "device": device.kind,
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a training."""
    from importlib.metadata import version

    return {name: version(name) for name in LIBRARIES}


def _own_source(architecture: str) -> str | None:
    from importlib.util import find_spec

    from claire.core.command.files import sha256_file

    library, _, name = architecture.partition(":")
    if library != "python":
        return None
    try:
        found = find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return sha256_file(Path(found.origin)) if found and found.origin and Path(found.origin).is_file() else None


def train(job: Job, device: Device, out: Path, inputs: dict[str, Any], checkpoint: Path | None) -> list[Path]:
    """Train and predict; write the weights, the archive and last the record into `out`; return their paths."""
    import torch

    from claire.core.command.record import Record
    from claire.core.networks.build import build_network
    from claire.train.training import Training

    with Record("train", job.name, out, {"fold": job.fold, "variant": job.variant.id}, inputs) as record:
        torch.manual_seed(job.variant.seed)
        network = build_network(job.variant, len(job.cohort.classes))
        filled = _pretrain(network, job.weights)
        for role, scans in job.scans.items():
            record.counts[f"{role}_scans"] = len(scans)
        training = Training(network, job.variant, _learning(job), device, checkpoint)
        progress = training.run()
        facts = _facts(job, device, network, progress, training.stopped_early) | filled
        found = {split: list(_predict(job, network, split, device)) for split in PREDICTED}
        weights = record.output(write_weights(out / f"{job.name}.safetensors", job, network))
        run = record.output(write_run(out / f"{job.name}.run.zip", job, facts, progress, found))
        record.facts = {**facts, "libraries": versions()}
    return [weights, run, record.path]


def _pretrain(network: ScanNetwork, weights: Path | None) -> dict[str, Any]:
    from claire.train.pretrained import load_pretrained

    if weights is None:
        return {}
    filled = load_pretrained(network, weights)
    log.info(
        "%s: %d weights loaded; %d of the network left as drawn (%s); %d of the file unused (%s)",
        weights.name, len(filled.loaded), len(filled.untouched), _some(filled.untouched), len(filled.unused),
        _some(filled.unused),
    )  # fmt: skip
    return {
        "pretrained": {
            "loaded": len(filled.loaded),
            "untouched": list(filled.untouched),
            "unused": list(filled.unused),
        }
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:4], "…"] if len(names) > 4 else names) or "none"


def _learning(job: Job) -> Learning:
    import torch

    from claire.train.loading import Views
    from claire.train.training import Learning

    views, targets = {}, {}
    for role in ("train", "validation"):
        jitter = role == "train" and job.variant.augmentation != "none"
        views[role] = Views(job.cohort, job.scans[role], job.variant, jitter)
        targets[role] = torch.tensor([job.cohort.target(scan) for scan in job.scans[role]])
    return Learning(
        views["train"], targets["train"], views["validation"], targets["validation"], len(job.cohort.classes)
    )


def _predict(job: Job, network: ScanNetwork, split: str, device: Device) -> Iterator[Prediction]:
    from claire.train.training import predict

    found = predict(network, job.cohort, job.scans[split], job.variant, device.torch)
    return progress(found, f"{split} scans predicted", len(job.scans[split])) if job.scans[split] else found


def _facts(job: Job, device: Device, network: ScanNetwork, progress: Progress, stopped_early: bool) -> dict[str, Any]:
    from claire.core.command.record import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "run": job.name,
        "fold": job.fold,
        "classes": list(job.cohort.classes),
        "cohort_sha256": job.cohort.sha256,
        "device": device.kind,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "stopped_early": stopped_early,
        "scans": {role: len(scans) for role, scans in job.scans.items()},
        "patients": {role: len({scan.patient for scan in scans}) for role, scans in job.scans.items()},
    }


def write_weights(path: Path, job: Job, network: ScanNetwork) -> Path:
    """Write a network as safetensors with the metadata that `claire.core.networks.build.load_network` needs."""
    from safetensors.torch import save

    from claire.core.command.files import atomic, canonical_json

    metadata = {
        "variant": canonical_json(job.variant.document()),
        "classes": json.dumps(job.cohort.classes),
        "fold": str(job.fold),
        "cohort": job.cohort.sha256,
        "run": job.name,
    }
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic(path) as stream:
        stream.write(_fixed_order(save(state, metadata)))
    return path


def _fixed_order(content: bytes) -> bytes:
    """Return safetensors bytes with a header in fixed order: the library writes its metadata in random order."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def write_run(
    path: Path, job: Job, facts: dict[str, Any], progress: Progress, found: dict[str, list[Prediction]]
) -> Path:
    """Write the archive of a run: predictions, history, variant and facts, the same bytes for the same results."""
    from claire.core.contracts.run import COLUMNS
    from claire.core.contracts.scans import write_shard

    columns = [*COLUMNS, *(f"probability_{name}" for name in job.cohort.classes)]
    rows = (row for split in PREDICTED for row in prediction_rows(job, split, found[split]))
    with write_shard(path) as archive:
        archive.add("predictions.csv", _table(columns, rows))
        archive.add("history.csv", _table(HISTORY, ([row[name] for name in HISTORY] for row in progress.history)))
        archive.add("variant.json", _document(job.variant.document()))
        archive.add("train.json", _document(facts))
    return path


def prediction_rows(job: Job, split: str, found: Sequence[Prediction]) -> Iterator[list[object]]:
    """Yield the lines of predictions.csv of one split: a scan, then its slices by their index in the ingested scan."""
    classes = job.cohort.classes
    for one in found:
        scan, head = one.scan, [job.name, job.fold, split]
        yield [*head, "scan", scan.patient, scan.scan, None, scan.label, *map(_digits, one.probability)]
        for row, probability in zip(one.slices, one.slice_probability, strict=True):
            label = scan.slice_labels[row]
            target = classes[label] if label >= 0 else None
            place = scan.slices[row]
            yield [*head, "slice", scan.patient, scan.scan, place, target, *map(_digits, probability)]


def _digits(probability: float) -> str:
    return f"{probability:.9g}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _document(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


class Parameters(StepParameters):
    """Parameters of `claire train`."""

    variant: InputFile = parameter(help="<id>.variant.json of `claire plan`")
    cohort: InputFile = parameter(help="cohort.h5 of `claire cohort`")
    folds: InputFile = parameter(help="folds.csv of `claire cohort`")
    fold: int = parameter(help="fold whose patients are the test, counted from 0", ge=0)
    weights: InputFile | None = parameter(None, help="weights file that the variant's pretraining names")
    store: SitePath | None = parameter(
        None, help="absolute path of a directory that keeps finished trainings and checkpoints"
    )
    device: Literal["auto", "cpu", "cuda"] = parameter("auto", help="where to train; auto: a GPU if there is one")


def run(parameters: Parameters) -> None:
    """Train, or take a finished training from the store."""
    job = read_job(parameters)
    about("train", job.name)
    from claire.core.command.store import open_entry
    from claire.core.networks.devices import choose_device, make_deterministic

    make_deterministic(parameters.threads)
    device = choose_device(parameters.device, volumes=job.variant.dimensions == "3D")
    inputs: dict[str, Any] = {"variant": parameters.variant, "cohort": job.cohort.sha256, "folds": parameters.folds}
    if job.weights:
        inputs["weights"] = job.weights
    if parameters.store is None:
        train(job, device, parameters.out, inputs, None)
        return
    entry = open_entry(parameters.store, "train", store_key(job, parameters.folds, device))
    if entry.drop_if_damaged():
        log.warning("the store's result is damaged: set aside there as .damaged, training again")
    if entry.finished:
        log.info("finished before: taken from the store")
    else:
        _train_into(entry, job, device, inputs)
    entry.fetch(parameters.out, last=".run.json")


def _train_into(entry: Entry, job: Job, device: Device, inputs: dict[str, Any]) -> None:
    with entry.publishing() as staging:
        train(job, device, staging, inputs, entry.partial / "checkpoint.pt")
