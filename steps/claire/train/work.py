"""A training from its inputs to its files: network, training loop, predictions, weights, archive, record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from claire.core.command.progress import about, log, progress
from claire.core.command.record import Record
from claire.core.command.store import open_entry
from claire.core.contracts.run import (
    SPLITS,
    PredictionRow,
    Pretrained,
    RunFacts,
    ScanPrediction,
    Split,
    prediction_rows,
    write_run,
)
from claire.core.contracts.weights import write_weights
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.networks.build import build_network
from claire.core.networks.devices import Device, choose_device, make_deterministic
from claire.core.networks.predict import predict
from claire.core.networks.scan_network import ScanNetwork
from claire.core.networks.training_key import versions
from claire.train import Parameters
from claire.train.job import Job, read_job, store_key
from claire.train.loading import Views
from claire.train.pretrained import load_pretrained
from claire.train.training import Learning, Training


def run(parameters: Parameters) -> None:
    """Train, or take a finished training from the store."""
    job = read_job(parameters)
    about("train", job.name)
    make_deterministic(parameters.threads)
    device = choose_device(parameters.device, job.variant.dimensions)
    inputs: dict[str, Path | str] = {
        "variant": parameters.variant,
        "cohort": job.cohort.sha256,
        "folds": parameters.folds,
        **({"pretrained": job.pretrained} if job.pretrained else {}),
    }
    if parameters.store is None:
        train(job, device, parameters.out, inputs, None)
        return
    entry = open_entry(parameters.store, "train", store_key(job, parameters.folds, device))
    entry.obtain(lambda staging: train(job, device, staging, inputs, entry.partial / "checkpoint.pt"), parameters.out)


def train(job: Job, device: Device, out: Path, inputs: Mapping[str, Path | str], checkpoint: Path | None) -> None:
    """Train and predict; write the weights, the archive and last the record into `out`."""
    with Record("train", job.name, out, {"fold": job.fold, "variant": job.variant.id}, inputs) as record:
        torch.manual_seed(job.variant.seed)
        network = build_network(job.variant, len(job.cohort.classes))
        pretrained = _fill(network, job.pretrained)
        for role, scans in job.scans.items():
            record.counts[f"{role}_scans"] = len(scans)
        training = Training(network, job.variant, _learning(job), device, checkpoint)
        training.run()
        facts = _facts(job, device, training, pretrained)
        predictions = {split: list(_predict(job, network, split, device)) for split in SPLITS}
        record.output(_write_weights(out / f"{job.name}.safetensors", job, network))
        rows, history = _rows(facts, predictions), training.progress.history
        record.output(write_run(out / f"{job.name}.run.zip", job.variant, facts, rows, history))
        record.facts = {**facts.model_dump(mode="json", exclude={"schema_version"}), "libraries": dict(versions())}


def _fill(network: ScanNetwork, path: Path | None) -> Pretrained | None:
    if path is None:
        return None
    filled = load_pretrained(network, path)
    log.info(
        "%s: %d weights loaded; %d of the network left random (%s); %d of the file unused (%s)",
        path.name, len(filled.loaded), len(filled.untouched), _shortened(filled.untouched), len(filled.unused),
        _shortened(filled.unused),
    )  # fmt: skip
    return Pretrained(loaded=len(filled.loaded), untouched=filled.untouched, unused=filled.unused)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join([*names[:4], "…"] if len(names) > 4 else names) or "none"


def _learning(job: Job) -> Learning:
    views, targets = {}, {}
    for role in ("train", "validation"):
        jitter = role == "train" and job.variant.augmentation != "none"
        views[role] = Views(job.cohort, job.scans[role], job.variant, jitter)
        targets[role] = torch.tensor([job.cohort.target(scan) for scan in job.scans[role]])
    return Learning(
        views["train"], targets["train"], views["validation"], targets["validation"], len(job.cohort.classes)
    )


def _predict(job: Job, network: ScanNetwork, split: Split, device: Device) -> Iterator[ScanPrediction]:
    predictions = predict(network, job.cohort, job.scans[split], job.variant, device.torch)
    count = len(job.scans[split])
    return progress(predictions, f"{split} scans predicted", count) if count else predictions


def _rows(facts: RunFacts, predictions: Mapping[Split, Sequence[ScanPrediction]]) -> Iterator[PredictionRow]:
    for split, predictions_of_split in predictions.items():
        yield from prediction_rows(facts, split, predictions_of_split)


def _facts(job: Job, device: Device, training: Training, pretrained: Pretrained | None) -> RunFacts:
    return RunFacts(
        run=job.name,
        fold=job.fold,
        classes=job.cohort.classes,
        cohort_sha256=job.cohort.sha256,
        device=device.kind,
        parameters=sum(weight.numel() for weight in training.network.parameters()),
        best_epoch=training.progress.best_epoch,
        epochs=training.progress.epoch,
        stopped_early=training.stopped_early,
        scans={role: len(scans) for role, scans in job.scans.items()},
        patients={role: len({scan.patient for scan in scans}) for role, scans in job.scans.items()},
        pretrained=pretrained,
    )


def _write_weights(path: Path, job: Job, network: ScanNetwork) -> Path:
    facts = WeightsFacts(
        run=job.name,
        variant=job.variant,
        fold=job.fold,
        classes=job.cohort.classes,
        cohort_sha256=job.cohort.sha256,
    )
    return write_weights(path, network.state_dict(), facts)
