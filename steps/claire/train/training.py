"""The training loop: optimiser, schedule, mixed precision, early stopping, checkpoints, predictions.

One loop for all variants. It can be cut at any step and goes on from its checkpoint to the same bytes: nothing random
is carried over from step to step.
"""

from __future__ import annotations

import logging
import math
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic_path
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.core.networks.build import ScanNetwork
from claire.core.networks.devices import Device
from claire.core.networks.view import pick_slices
from claire.train.loading import Item, Views, batches, cut, epoch_batches, to_image

log = logging.getLogger("claire")
#: Longest gradient (L2 norm over all weights) that is taken as it is.
LONGEST_GRADIENT = 5.0
CHECKPOINT_SECONDS = 300.0
#: Slices that are predicted at once while validating.
PREDICTED_SLICES = 64


@dataclass
class Progress:
    """How far a training is; with the network's and the optimiser's state it is what a checkpoint holds.

    `epoch` counts finished epochs, `step` the finished steps of the one under way, `loss` their summed loss. The best
    epoch is the one of least validation loss, counted from 1; `best_state` holds its weights.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best_epoch: int = 0
    best_loss: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float | int | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Learning:
    """What a training may look at: views and class indices of the scans it learns from and of those that stop it."""

    views: Views
    targets: Tensor
    validation: Views
    validation_targets: Tensor
    classes: int


def rate_at(variant: Variant, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0: constant, times `gamma` every `step_size`, or cosine."""
    if variant.schedule == "step":
        return variant.rate * variant.gamma ** (epoch // variant.step_size)
    if variant.schedule == "cosine":
        return variant.rate * 0.5 * (1 + math.cos(math.pi * epoch / variant.epochs))
    return variant.rate


def balance(targets: Tensor, classes: int) -> Tensor:
    """Return a weight a class, inverse to its share of the training scans, 1 where all are equally frequent."""
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return len(targets) / (classes * counts.float())


def make_optimiser(network: ScanNetwork, variant: Variant) -> torch.optim.Optimizer:
    """Return AdamW, or Adam as the original used it: with L2 decay and AMSGrad (Reddi 2018)."""
    if variant.optimiser == "adamw":
        return torch.optim.AdamW(network.parameters(), variant.rate, weight_decay=variant.weight_decay)
    return torch.optim.Adam(network.parameters(), variant.rate, weight_decay=variant.weight_decay, amsgrad=True)


class Training:
    """One training of one network; `checkpoint` is the file it is kept in while it is unfinished, None for nowhere."""

    def __init__(
        self, network: ScanNetwork, variant: Variant, learning: Learning, device: Device, checkpoint: Path | None = None
    ) -> None:
        self.network, self.variant, self.learning, self.device = network.to(device.torch), variant, learning, device
        self.checkpoint, self.progress = checkpoint, Progress()
        self.optimiser = make_optimiser(network, variant)
        self.scaler = torch.amp.GradScaler(device.torch.type, enabled=device.precision == "fp16")
        weight = balance(learning.targets, learning.classes) if variant.class_weights else None
        self.weight = weight if weight is None else weight.to(device.torch)
        self.targets = learning.targets.to(device.torch)
        self._saved = time.monotonic()

    def run(self) -> Progress:
        """Train until the last epoch, or until `patience` epochs brought no better validation loss; return how it went.

        The network then holds the weights of the best epoch. Raises ClaireError when the loss is no number any more and
        when the process is told to end (SIGTERM), after it has kept a checkpoint.
        """
        self._restore()
        with _told_to_end() as told:
            while self.progress.epoch < self.variant.epochs and not self.stopped_early:
                started = time.monotonic()
                self._learn(told)
                self._finish_epoch(time.monotonic() - started)
        self.network.load_state_dict(self.progress.best_state)
        return self.progress

    @property
    def stopped_early(self) -> bool:
        """Whether the last `patience` epochs brought no better validation loss."""
        return self.progress.epoch - self.progress.best_epoch >= self.variant.patience and self.progress.epoch > 0

    def _learn(self, told: list[int]) -> None:
        progress, variant = self.progress, self.variant
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(variant, progress.epoch)
        plan = epoch_batches(self.learning.views, variant, progress.epoch)
        total = torch.tensor(progress.loss, dtype=torch.float64, device=self.device.torch)
        for images, places in batches(self.learning.views, plan[progress.step :], variant, self.device.torch):
            total += self._step(images, self.targets[places])
            progress.step += 1
            if told or self._due():
                progress.loss = total.item()
                self._save()
            if told:
                raise ClaireError(
                    f"the training was told to end (SIGTERM) in epoch {progress.epoch + 1}",
                    "Run it again: it goes on from its checkpoint if it has a --store, else it starts anew.",
                )
        progress.loss = self._number(total.item() / len(plan), "training")

    def _step(self, images: Tensor, targets: Tensor) -> Tensor:
        torch.manual_seed(((self.variant.seed << 40) + (self.progress.epoch << 24) + self.progress.step) % 2**63)
        with self.device.autocast():
            output = self.network(images)
        losses = functional.cross_entropy(output.scan, targets, reduction="none")
        # Not torch's weighted mean, which divides by the weights of the batch: in small batches they would cancel.
        loss = (losses if self.weight is None else losses * self.weight[targets]).mean()
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach().double()

    def _finish_epoch(self, learned: float) -> None:
        progress, started = self.progress, time.monotonic()
        loss, auc = self._validate()
        progress.epoch, progress.step = progress.epoch + 1, 0
        rate = rate_at(self.variant, progress.epoch - 1)
        row = {"epoch": progress.epoch, "rate": rate, "train_loss": progress.loss}
        progress.history.append({**row, "validation_loss": loss, "validation_auc": auc})
        if loss < progress.best_loss:
            progress.best_epoch, progress.best_loss = progress.epoch, loss
            progress.best_state = {name: value.cpu().clone() for name, value in self.network.state_dict().items()}
        self._tell(learned, learned + time.monotonic() - started)
        progress.loss = 0.0
        self._save()

    def _validate(self) -> tuple[float, float | None]:
        self.network.eval()
        items = [Item(place, np.arange(self.variant.slices)) for place in range(len(self.learning.validation))]
        size = max(1, PREDICTED_SLICES // self.variant.slices)
        plan = [items[i : i + size] for i in range(0, len(items), size)]
        with torch.inference_mode(), self.device.autocast():
            found = [
                self.network(images).scan.float()
                for images, _ in batches(self.learning.validation, plan, self.variant, self.device.torch)
            ]
        logits, targets = torch.cat(found).cpu(), self.learning.validation_targets
        weight = None if self.weight is None else self.weight.cpu()
        loss = self._number(functional.cross_entropy(logits.double(), targets, _double(weight)).item(), "validation")
        return loss, area_under_curve(targets.numpy(), torch.softmax(logits.double(), 1).numpy())

    def _number(self, loss: float, which: str) -> float:
        if math.isfinite(loss):
            return loss
        raise ClaireError(
            f"the {which} loss of variant {self.variant.id} is no number any more in epoch {self.progress.epoch + 1}",
            f"Lower its rate (now {self.variant.rate:g}) or raise its batch (now {self.variant.batch}) in the grid.",
        )

    def _tell(self, learned: float, seconds: float) -> None:
        row, variant = self.progress.history[-1], self.variant
        images = len(self.learning.views) * variant.slices / max(learned, 1e-9)
        auc = "–" if row["validation_auc"] is None else f"{row['validation_auc']:.3f}"
        log.info(
            "epoch %d/%d: loss %.4f, validation loss %.4f, AUC %s; %.1f s, %.0f images/s, at most %s left",
            self.progress.epoch, variant.epochs, row["train_loss"], row["validation_loss"], auc, seconds, images,
            _duration(seconds * (variant.epochs - self.progress.epoch)),
        )  # fmt: skip

    def _due(self) -> bool:
        return self.checkpoint is not None and time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        parts = {"network": self.network, "optimiser": self.optimiser, "scaler": self.scaler}
        with atomic_path(self.checkpoint) as part:
            torch.save(
                {"progress": asdict(self.progress)} | {name: one.state_dict() for name, one in parts.items()}, part
            )
        self._saved = time.monotonic()

    def _restore(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        try:
            kept = torch.load(self.checkpoint, map_location=self.device.torch, weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            log.warning("the checkpoint cannot be read (%s): training starts anew", type(error).__name__)
            return
        for name in ("network", "optimiser", "scaler"):
            getattr(self, name).load_state_dict(kept[name])
        progress = Progress(**kept["progress"])
        self.progress = progress
        log.info("going on from a checkpoint after epoch %d, step %d", progress.epoch, progress.step)


def _double(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.double()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def _told_to_end() -> Iterator[list[int]]:
    """Yield a list that SIGTERM adds to, so that a step can be finished first."""
    told: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    except ValueError:  # not the main thread: the signal belongs to somebody else
        yield told
        return
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def area_under_curve(targets: np.ndarray, probability: np.ndarray) -> float | None:
    """Return the ROC AUC of (n,) class indices and (n, classes) probabilities, the mean of one class against the rest.

    None where fewer than two classes are there; classes without a scan are left out.
    """
    found = [c for c in range(probability.shape[1]) if 0 < (targets == c).sum() < len(targets)]
    wanted = found[-1:] if probability.shape[1] == 2 else found
    return float(np.mean([_pairs_won(probability[:, c], targets == c) for c in wanted])) if wanted else None


def _pairs_won(score: np.ndarray, positive: np.ndarray) -> float:
    difference = score[positive][:, None] - score[~positive]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


@dataclass(frozen=True)
class Prediction:
    """What a network says of one scan, as probabilities.

    `probability`: (classes,); `slices`: (rows,) the kept slices that a 2D network saw, each once, and
    `slice_probability`: (rows, classes) what it said of them; empty in 3D.
    """

    scan: Scan
    probability: np.ndarray
    slices: np.ndarray
    slice_probability: np.ndarray


def predict(
    network: ScanNetwork, cohort: Cohort, scans: Sequence[Scan], variant: Variant, device: torch.device
) -> Iterator[Prediction]:
    """Yield a prediction a scan, in full precision, one scan in memory at a time."""
    network.eval()
    for scan in scans:
        image = to_image(torch.from_numpy(cut(cohort, scan, variant)[None]).to(device), variant)
        with torch.inference_mode():
            output = network(image)
        rows, first = np.unique(pick_slices(scan.count, variant.slices), return_index=True)
        if output.slices is None:
            rows, slices = rows[:0], np.empty((0, output.scan.shape[1]))
        else:
            slices = torch.softmax(output.slices[0].double(), -1).cpu().numpy()[first]
        yield Prediction(scan, torch.softmax(output.scan[0].double(), -1).cpu().numpy(), rows, slices)
