"""The training loop: optimiser, schedule, mixed precision, early stopping, checkpoints, predictions.

One loop for all variants. It can be cut at any step and goes on from its checkpoint to the same bytes: nothing random
is carried over from step to step.
"""

from __future__ import annotations

import logging
import math
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from claire.core.command.errors import ClaireError
from claire.core.command.execute import Terminated, Termination, termination
from claire.core.command.files import atomic_path
from claire.core.contracts.run import Epoch
from claire.core.contracts.variant import Variant
from claire.core.networks.devices import Device
from claire.core.networks.scan_network import ScanNetwork
from claire.core.statistics.ranking import macro_auc
from claire.train.loading import Item, Views, batches, epoch_batches

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
    history: list[Epoch] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what a checkpoint holds, in types that `weights_only` can read."""
        return {**self.__dict__, "history": [epoch.model_dump() for epoch in self.history]}

    @classmethod
    def restored(cls, document: dict[str, Any]) -> Progress:
        """Return the progress of `document`."""
        return cls(**{**document, "history": [Epoch(**epoch) for epoch in document["history"]]})


@dataclass(frozen=True)
class Learning:
    """What a training may look at: views and class indices of the scans it learns from and of those that stop it."""

    views: Views
    targets: Tensor
    validation: Views
    validation_targets: Tensor
    classes: int


def learning_rate_at(variant: Variant, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0: constant, times `gamma` every `step_size`, or cosine."""
    if variant.schedule == "step":
        return variant.learning_rate * variant.gamma ** (epoch // variant.step_size)
    if variant.schedule == "cosine":
        return variant.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / variant.epochs))
    return variant.learning_rate


def balance(targets: Tensor, classes: int) -> Tensor:
    """Return a weight a class, inverse to its share of the training scans, 1 where all are equally frequent."""
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return len(targets) / (classes * counts.float())


def make_optimiser(network: ScanNetwork, variant: Variant) -> torch.optim.Optimizer:
    """Return AdamW, or Adam as the original used it: with L2 decay and AMSGrad (Reddi 2018)."""
    if variant.optimiser == "adamw":
        return torch.optim.AdamW(network.parameters(), variant.learning_rate, weight_decay=variant.weight_decay)
    return torch.optim.Adam(
        network.parameters(), variant.learning_rate, weight_decay=variant.weight_decay, amsgrad=True
    )


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

        The network then holds the weights of the best epoch. Raises ClaireError when the loss became NaN or infinite,
        and Terminated on SIGTERM, after it has kept a checkpoint.
        """
        self._restore()
        with termination(defer=True) as guard:
            while self.progress.epoch < self.variant.epochs and not self.stopped_early:
                started = time.monotonic()
                self._learn(guard)
                self._finish_epoch(time.monotonic() - started)
        self.network.load_state_dict(self.progress.best_state)
        return self.progress

    @property
    def stopped_early(self) -> bool:
        """Whether the last `patience` epochs brought no better validation loss."""
        return self.progress.epoch - self.progress.best_epoch >= self.variant.patience and self.progress.epoch > 0

    def _learn(self, guard: Termination) -> None:
        progress, variant = self.progress, self.variant
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(variant, progress.epoch)
        plan = epoch_batches(self.learning.views, variant, progress.epoch)
        total = torch.tensor(progress.loss, dtype=torch.float64, device=self.device.torch)
        for images, places in batches(self.learning.views, plan[progress.step :], variant, self.device.torch):
            total += self._step(images, self.targets[places])
            progress.step += 1
            if guard.requested or self._due():
                progress.loss = total.item()
                self._save()
            if guard.requested:
                raise Terminated(
                    f"the training was terminated (SIGTERM) in epoch {progress.epoch + 1}.\n"
                    "  Run it again: it goes on from its checkpoint if it has a --store, else it starts anew."
                )
        progress.loss = self._finite(total.item() / len(plan), "training")

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
        progress.history.append(
            Epoch(
                epoch=progress.epoch,
                learning_rate=learning_rate_at(self.variant, progress.epoch - 1),
                train_loss=progress.loss,
                validation_loss=loss,
                validation_auc=auc if math.isfinite(auc) else None,
            )
        )
        if loss < progress.best_loss:
            progress.best_epoch, progress.best_loss = progress.epoch, loss
            progress.best_state = {name: value.cpu().clone() for name, value in self.network.state_dict().items()}
        self._log_epoch(learned, learned + time.monotonic() - started)
        progress.loss = 0.0
        self._save()

    def _validate(self) -> tuple[float, float]:
        self.network.eval()
        items = [Item(place, np.arange(self.variant.slices)) for place in range(len(self.learning.validation))]
        size = max(1, PREDICTED_SLICES // self.variant.slices)
        plan = [items[i : i + size] for i in range(0, len(items), size)]
        with torch.inference_mode(), self.device.autocast():
            outputs = [
                self.network(images).scan.float()
                for images, _ in batches(self.learning.validation, plan, self.variant, self.device.torch)
            ]
        logits, targets = torch.cat(outputs).cpu(), self.learning.validation_targets
        weight = None if self.weight is None else self.weight.cpu()
        loss = self._finite(functional.cross_entropy(logits.double(), targets, _double(weight)).item(), "validation")
        return loss, macro_auc(torch.softmax(logits.double(), 1).numpy(), targets.numpy())

    def _finite(self, loss: float, which: str) -> float:
        if math.isfinite(loss):
            return loss
        raise ClaireError(
            f"the {which} loss of variant {self.variant.id} became NaN or infinite in epoch {self.progress.epoch + 1}",
            f"Lower its learning_rate (now {self.variant.learning_rate:g}) or raise its batch_size "
            f"(now {self.variant.batch_size}) in the grid.",
        )

    def _log_epoch(self, learned: float, seconds: float) -> None:
        epoch, variant = self.progress.history[-1], self.variant
        images = len(self.learning.views) * variant.slices / max(learned, 1e-9)
        auc = "–" if epoch.validation_auc is None else f"{epoch.validation_auc:.3f}"
        log.info(
            "epoch %d/%d: loss %.4f, validation loss %.4f, AUC %s; %.1f s, %.0f images/s, at most %s left",
            self.progress.epoch, variant.epochs, epoch.train_loss, epoch.validation_loss, auc, seconds, images,
            _duration(seconds * (variant.epochs - self.progress.epoch)),
        )  # fmt: skip

    def _due(self) -> bool:
        return self.checkpoint is not None and time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        parts = {"network": self.network, "optimiser": self.optimiser, "scaler": self.scaler}
        with atomic_path(self.checkpoint) as partial:
            torch.save(
                {"progress": self.progress.document()} | {name: part.state_dict() for name, part in parts.items()},
                partial,
            )
        self._saved = time.monotonic()

    def _restore(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        try:
            checkpoint = torch.load(self.checkpoint, map_location=self.device.torch, weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            log.warning("the checkpoint cannot be read (%s): training starts anew", type(error).__name__)
            return
        for name in ("network", "optimiser", "scaler"):
            getattr(self, name).load_state_dict(checkpoint[name])
        progress = Progress.restored(checkpoint["progress"])
        self.progress = progress
        log.info("going on from a checkpoint after epoch %d, step %d", progress.epoch, progress.step)


def _double(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.double()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
