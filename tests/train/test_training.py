"""The training loop: schedule, weights of classes, early stopping, checkpoints, what it refuses."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from claire.core.command.errors import ClaireError
from claire.core.command.execute import Terminated
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.variant import Variant
from claire.core.networks.devices import Device
from claire.core.networks.scan_network import ScanNetwork
from claire.core.statistics.ranking import macro_auc
from claire.train import training
from claire.train.loading import Views
from claire.train.training import Learning, Training, class_weights, copy_weights, learning_rate_at, make_optimiser
from torch import nn

from tests.support.synthetic import CohortFiles

CPU = Device(torch.device("cpu"), "fp32")


def variant(**more: object) -> Variant:
    settings = {"size": 16, "slices": 2, "epochs": 3, "learning_rate": 1e-3, "batch_size": 3}
    return Variant(**{**settings, **more})


@pytest.fixture
def cohort(cohort_files: CohortFiles) -> Cohort:
    torch.set_num_threads(1)
    return open_cohort(cohort_files.cohort)


def small(classes: int = 2, pooling: str = "mean") -> ScanNetwork:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveMaxPool2d(1)]
    return ScanNetwork(nn.Sequential(*layers, nn.Flatten()), 8, classes, 2, 1, pooling, "0")


def learning(cohort: Cohort, settings: Variant) -> Learning:
    train, validation = cohort.scans[:12], cohort.scans[12:]
    targets = [torch.tensor([cohort.target(scan) for scan in scans]) for scans in (train, validation)]
    views = Views(cohort, train, settings, True), Views(cohort, validation, settings)
    return Learning(views[0], targets[0], views[1], targets[1], 2)


def prepare(cohort: Cohort, checkpoint: Path | None = None, **more: object) -> Training:
    settings = variant(**more)
    return Training(small(), settings, learning(cohort, settings), CPU, checkpoint)


def weights(run: Training) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in run.network.state_dict().values()])


def test_the_cosine_falls_from_the_learning_rate_towards_zero() -> None:
    rates = [learning_rate_at(variant(epochs=10, schedule="cosine"), epoch) for epoch in range(10)]
    assert rates[0] == 1e-3
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-4


def test_the_step_schedule_drops_every_few_epochs() -> None:
    settings = variant(schedule="step", step_size=10, gamma=0.1)
    assert [learning_rate_at(settings, epoch) for epoch in (0, 9, 10, 20)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_a_rare_class_weighs_more() -> None:
    assert class_weights(torch.tensor([0, 0, 0, 1]), 2).tolist() == pytest.approx([2 / 3, 2])
    assert class_weights(torch.tensor([0, 1, 2]), 3).tolist() == [1, 1, 1]


def test_the_weights_of_classes_do_not_cancel_in_small_batches(cohort: Cohort) -> None:
    trained = []
    for weighted in (True, False):
        run = prepare(cohort, class_weights=weighted, batch_size=1, epochs=1)
        if run.weight is not None:
            run.weight = torch.tensor([0.5, 2.0])
        run.run()
        trained.append(weights(run))
    assert not torch.equal(*trained)


def test_adam_is_that_of_the_original() -> None:
    assert make_optimiser(small(), variant(optimiser="adam")).defaults["amsgrad"] is True
    assert isinstance(make_optimiser(small(), variant()), torch.optim.AdamW)


def test_it_learns(cohort: Cohort) -> None:
    progress = prepare(cohort, epochs=30, learning_rate=3e-2, slices=8, view="lungs").run()
    assert progress.history[-1].train_loss < 0.5 < progress.history[0].train_loss
    assert progress.history[progress.best_epoch - 1].validation_auc == 1.0


def test_the_network_ends_with_the_weights_of_the_best_epoch(cohort: Cohort) -> None:
    run = prepare(cohort, epochs=5)
    progress = run.run()
    losses = [epoch.validation_loss for epoch in progress.history]
    assert progress.best_epoch == int(np.argmin(losses)) + 1
    assert run._validate()[0] == losses[progress.best_epoch - 1]


def test_it_stops_when_the_validation_loss_stops_falling(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 0.5, 0.6, 0.7, 0.4])
    monkeypatch.setattr(Training, "_validate", lambda _: (next(losses), math.nan))
    run = prepare(cohort, epochs=9, patience=2)
    progress = run.run()
    assert (progress.epoch, progress.best_epoch, run.stopped_early) == (4, 2, True)


def test_the_same_seed_gives_the_same_weights(cohort: Cohort) -> None:
    first, second, other = prepare(cohort), prepare(cohort), prepare(cohort, seed=1)
    for run in (first, second, other):
        run.run()
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("after", [3, 4, 6, 7])
def test_an_interrupted_training_ends_with_the_same_weights(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    straight = prepare(cohort)
    history = straight.run().history
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    steps = iter(range(after))
    step = Training._step

    def die(run: Training, *batch: torch.Tensor) -> torch.Tensor:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(run, *batch)

    monkeypatch.setattr(Training, "_step", die)
    killed = prepare(cohort, tmp_path / "checkpoint.pt")
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    monkeypatch.setattr(Training, "_step", step)
    again = prepare(cohort, tmp_path / "checkpoint.pt")
    again._restore()
    assert 4 * again.progress.epoch + again.progress.step == after
    assert again.run().history == history
    assert torch.equal(weights(again), weights(straight))


def test_sigterm_ends_a_training_after_the_step_and_its_checkpoint(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(cohort, tmp_path / "checkpoint.pt")
    step = Training._step

    def terminate(*arguments: object) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    monkeypatch.setattr(Training, "_step", terminate)
    with pytest.raises(Terminated, match=r"SIGTERM(?s:.)*Run it again"):
        run.run()
    resumed = prepare(cohort, tmp_path / "checkpoint.pt")
    resumed._restore()
    assert resumed.progress.step == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_while_the_last_epoch_is_validated_is_not_lost(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Training._validate

    def terminate(run: Training) -> tuple[float, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(run)

    monkeypatch.setattr(Training, "_validate", terminate)
    with pytest.raises(Terminated, match="after epoch 1, step 0"):
        prepare(cohort, tmp_path / "checkpoint.pt", epochs=1).run()
    monkeypatch.setattr(Training, "_step", lambda *_: pytest.fail("trained again"))
    assert prepare(cohort, tmp_path / "checkpoint.pt", epochs=1).run().best_epoch == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x80\x02h\x05.", b"\x80\x02.", b"\xff" * 99])
def test_a_damaged_checkpoint_means_a_new_start(cohort: Cohort, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    assert prepare(cohort, tmp_path / "checkpoint.pt", epochs=1).run().epoch == 1


def test_without_a_store_no_checkpoint_is_written(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(cohort, epochs=1).run()
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_became_nan_names_variant_epoch_and_remedy(cohort: Cohort) -> None:
    run = prepare(cohort)
    with torch.no_grad():
        run.network.head.weight.fill_(math.nan)
    with pytest.raises(ClaireError, match=rf"(?s){run.variant.id}.*NaN.*epoch 1.*learning_rate"):
        run.run()


def test_the_validation_auc_counts_pairs() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    assert macro_auc(np.stack([1 - scores, scores], 1), np.array([0, 0, 1, 1])) == 0.875
    assert math.isnan(macro_auc(np.full((2, 2), 0.5), np.array([1, 1])))
    assert macro_auc(np.eye(3), np.array([0, 1, 2])) == 1.0


def test_validation_of_one_class_has_no_auc(cohort: Cohort) -> None:
    settings = variant(epochs=1)
    data = learning(cohort, settings)
    negatives = Views(cohort, [scan for scan in cohort.scans if cohort.target(scan) == 0], settings)
    data = replace(data, validation=negatives, validation_targets=torch.zeros(len(negatives), dtype=torch.long))
    assert Training(small(), settings, data, CPU).run().history[0].validation_auc is None


def test_scaled_gradients_skip_what_overflows(cohort: Cohort) -> None:
    run = prepare(cohort)
    run.scaler = torch.amp.GradScaler("cpu", init_scale=float("inf"))
    before = weights(run)[:72]
    run._step(torch.rand(2, 2, 16, 16), torch.tensor([0, 1]))
    assert torch.equal(weights(run)[:72], before)


@pytest.mark.parametrize("weigh", [class_weights, copy_weights])
def test_healed_copies_leave_the_prior_as_it_is(weigh: Callable[..., torch.Tensor]) -> None:
    targets, copies = torch.tensor([0] * 30 + [1] * 10), 0.5
    weights = weigh(targets, 2, copies)
    reference, positive = weights[0] * (30 + copies * 40), weights[1] * 10
    expected = 1.0 if weigh is class_weights else 3.0
    assert float(reference / positive) == pytest.approx(expected)
