"""The training loop: optimiser, schedule, mixed precision, early stopping, checkpoints.

One loop for all variants. Interrupted at any step, it resumes from its checkpoint and gives the same bytes: no state of
a random generator is carried over from step to step.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional

from claire.core.command.errors import ClaireError
from claire.core.command.execute import Terminated, Termination, termination
from claire.core.command.files import atomic_path
from claire.core.command.progress import log
from claire.core.contracts.run import Epoch
from claire.core.contracts.variant import Variant
from claire.core.networks.devices import Device
from claire.core.networks.healed import COPIES
from claire.core.networks.scan_network import ScanNetwork
from claire.core.statistics.ranking import macro_auc
from claire.train.loading import Item, Views, batches, epoch_batches
from claire.train.pretrained import DAMAGE

#: Gradients are clipped to this L2 norm over all weights.
MAX_GRADIENT_NORM = 5.0
CHECKPOINT_SECONDS = 300.0
#: Slices that are predicted at once while validating.
PREDICTED_SLICES = 64


@dataclass
class Progress:
    """The progress of a training; a checkpoint holds it beside the states of network, optimiser and scaler.

    `epoch` counts finished epochs, `step` the finished steps of the current one, `loss` their summed loss. The best
    epoch is that of the lowest validation loss, counted from 1; `best_state` holds its weights.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best_epoch: int = 0
    best_loss: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the progress in types that `weights_only` can read."""
        return {**self.__dict__, "history": [epoch.model_dump() for epoch in self.history]}

    @classmethod
    def restored(cls, document: dict[str, Any]) -> Progress:
        """Return the progress that `document` holds."""
        return cls(**{**document, "history": [Epoch(**epoch) for epoch in document["history"]]})


@dataclass(frozen=True)
class Learning:
    """The data of a training: views and class indices of its training scans and of its validation scans."""

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


def class_weights(targets: Tensor, classes: int, copies: float = 0.0) -> Tensor:
    """Return the weight of each class, inverse to its share of the training scans; 1 where all are equally frequent.

    `copies`: healed copies per scan, which count for the reference class.
    """
    counts = torch.bincount(targets, minlength=classes).float()
    counts[0] += copies * len(targets)
    return counts.sum() / (classes * counts.clamp(min=1))


def copy_weights(targets: Tensor, classes: int, copies: float) -> Tensor:
    """Return class weights under which healed copies leave the prior of the training scans as it is."""
    weights = torch.ones(classes)
    reference = float((targets == 0).sum())
    weights[0] = max(reference, 1.0) / max(reference + copies * len(targets), 1.0)
    return weights


def make_optimiser(network: ScanNetwork, variant: Variant) -> torch.optim.Optimizer:
    """Return AdamW, or Adam as the original used it: with L2 decay and AMSGrad (Reddi 2018)."""
    if variant.optimiser == "adamw":
        return torch.optim.AdamW(network.parameters(), variant.learning_rate, weight_decay=variant.weight_decay)
    return torch.optim.Adam(
        network.parameters(), variant.learning_rate, weight_decay=variant.weight_decay, amsgrad=True
    )


class Training:
    """The training of a network; `checkpoint` is the file that holds it while it is unfinished, None for no file."""

    def __init__(
        self, network: ScanNetwork, variant: Variant, learning: Learning, device: Device, checkpoint: Path | None = None
    ) -> None:
        self.network, self.variant, self.learning, self.device = network.to(device.torch), variant, learning, device
        self.checkpoint, self.progress = checkpoint, Progress()
        self.optimiser = make_optimiser(network, variant)
        self.scaler = GradScaler(device.torch.type, enabled=device.precision == "fp16")
        copies = COPIES if variant.augmentation == "healed" else 0.0
        weigh = class_weights if variant.class_weights else copy_weights
        weighted = variant.class_weights or copies > 0
        self.weight = weigh(learning.targets, learning.classes, copies).to(device.torch) if weighted else None
        self.validation_weight = class_weights(learning.targets, learning.classes) if variant.class_weights else None
        self.targets = learning.targets.to(device.torch)
        self._saved = time.monotonic()

    def run(self) -> Progress:
        """Train until the last epoch, or until `patience` epochs brought no lower validation loss; return the progress.

        The network then holds the weights of the best epoch. Raises ClaireError when the loss became NaN or infinite,
        and Terminated on SIGTERM, after the current step, when the checkpoint is saved.
        """
        self._restore()
        with termination(defer=True) as guard:
            while self.progress.epoch < self.variant.epochs and not self.stopped_early:
                started = time.monotonic()
                self._learn(guard)
                self._finish_epoch(time.monotonic() - started)
                self._end_if_requested(guard)
        self.network.load_state_dict(self.progress.best_state)
        return self.progress

    @property
    def stopped_early(self) -> bool:
        """Whether the last `patience` epochs brought no lower validation loss."""
        return self.progress.epoch - self.progress.best_epoch >= self.variant.patience and self.progress.epoch > 0

    def _learn(self, guard: Termination) -> None:
        progress, variant = self.progress, self.variant
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(variant, progress.epoch)
        plan = epoch_batches(self.learning.views, variant, progress.epoch)
        total = torch.tensor(progress.loss, dtype=torch.float64, device=self.device.torch)
        for images, indices, healed in batches(self.learning.views, plan[progress.step :], variant, self.device.torch):
            total += self._step(images, self.targets[indices].masked_fill(healed, 0))
            progress.step += 1
            if guard.requested or self._due():
                progress.loss = total.item()
                self._save()
            self._end_if_requested(guard)
        progress.loss = self._require_finite(total.item() / len(plan), "training")

    def _end_if_requested(self, guard: Termination) -> None:
        if guard.requested:
            raise Terminated(
                f"the training was terminated (SIGTERM) after epoch {self.progress.epoch}, step {self.progress.step}.\n"
                "  Run it again: it resumes from its checkpoint if it has a --store, else it starts anew."
            )

    def _step(self, images: Tensor, targets: Tensor) -> Tensor:
        torch.manual_seed(((self.variant.seed << 40) + (self.progress.epoch << 24) + self.progress.step) % 2**63)
        with self.device.autocast():
            output = self.network(images)
        losses = functional.cross_entropy(output.scan, targets, reduction="none")
        # Not torch's weighted mean, which divides by the weights of the batch: in small batches these would cancel.
        loss = (losses if self.weight is None else losses * self.weight[targets]).mean()
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach().double()

    def _finish_epoch(self, training_seconds: float) -> None:
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
        self._log_epoch(training_seconds, training_seconds + time.monotonic() - started)
        progress.loss = 0.0
        self._save()

    def _validate(self) -> tuple[float, float]:
        self.network.eval()
        items = [Item(index, np.arange(self.variant.slices)) for index in range(len(self.learning.validation))]
        size = max(1, PREDICTED_SLICES // self.variant.slices)
        plan = [items[i : i + size] for i in range(0, len(items), size)]
        with torch.inference_mode(), self.device.autocast():
            outputs = [
                self.network(images).scan.float()
                for images, _, _ in batches(self.learning.validation, plan, self.variant, self.device.torch)
            ]
        logits, targets = torch.cat(outputs).cpu(), self.learning.validation_targets
        weight = _as_double(self.validation_weight)
        loss = self._require_finite(functional.cross_entropy(logits.double(), targets, weight).item(), "validation")
        return loss, macro_auc(torch.softmax(logits.double(), 1).numpy(), targets.numpy())

    def _require_finite(self, loss: float, name: str) -> float:
        if math.isfinite(loss):
            return loss
        raise ClaireError(
            f"the {name} loss of variant {self.variant.id} became NaN or infinite in epoch {self.progress.epoch + 1}",
            f"Lower its learning_rate (now {self.variant.learning_rate:g}) or raise its batch_size "
            f"(now {self.variant.batch_size}) in the grid.",
        )

    def _log_epoch(self, training_seconds: float, seconds: float) -> None:
        epoch, variant = self.progress.history[-1], self.variant
        speed = len(self.learning.views) * variant.slices / max(training_seconds, 1e-9)
        auc = "–" if epoch.validation_auc is None else f"{epoch.validation_auc:.3f}"
        log.info(
            "epoch %d/%d: loss %.4f, validation loss %.4f, AUC %s; %.1f s, %.0f slices/s, at most %s left",
            self.progress.epoch, variant.epochs, epoch.train_loss, epoch.validation_loss, auc, seconds, speed,
            _duration(seconds * (variant.epochs - self.progress.epoch)),
        )  # fmt: skip

    def _due(self) -> bool:
        return self.checkpoint is not None and time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        parts: dict[str, Any] = {"network": self.network, "optimiser": self.optimiser, "scaler": self.scaler}
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
        except DAMAGE as error:
            log.warning("the checkpoint cannot be read (%s): the training starts anew", type(error).__name__)
            return
        for name in ("network", "optimiser", "scaler"):
            getattr(self, name).load_state_dict(checkpoint[name])
        self.progress = Progress.restored(checkpoint["progress"])
        log.info("resumed from a checkpoint after epoch %d, step %d", self.progress.epoch, self.progress.step)


def _as_double(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.double()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
