"""The training loop: schedule, weights of classes, early stopping, checkpoints, what it refuses."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.variant import Variant
from claire.core.networks.build import ScanNetwork
from claire.core.networks.devices import Device, choose_device
from claire.train import training
from claire.train.loading import Views
from claire.train.training import Learning, Training, area_under_curve, balance, make_optimiser, predict, rate_at
from torch import nn

from tests.support.synthetic import Made

CPU = Device(torch.device("cpu"), "fp32")


def variant(**more: object) -> Variant:
    given = {"architecture": "torchvision:resnet18", "size": 16, "slices": 2, "epochs": 3, "rate": 1e-3, "batch": 3}
    return Variant(**{**given, **more})


@pytest.fixture
def cohort(made: Made) -> Cohort:
    torch.set_num_threads(1)
    return open_cohort(made.cohort)


def small(classes: int = 2, pooling: str = "mean") -> ScanNetwork:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveMaxPool2d(1)]
    return ScanNetwork(nn.Sequential(*layers, nn.Flatten()), 8, classes, 2, 1, pooling, "0")


def learning(cohort: Cohort, chosen: Variant) -> Learning:
    train, validation = cohort.scans[:12], cohort.scans[12:]
    targets = [torch.tensor([cohort.target(scan) for scan in scans]) for scans in (train, validation)]
    return Learning(Views(cohort, train, chosen, True), targets[0], Views(cohort, validation, chosen), targets[1], 2)


def prepare(cohort: Cohort, checkpoint: Path | None = None, **more: object) -> Training:
    chosen = variant(**more)
    return Training(small(), chosen, learning(cohort, chosen), CPU, checkpoint)


def weights(made: Training) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in made.network.state_dict().values()])


def test_the_cosine_falls_from_the_rate_towards_nothing() -> None:
    rates = [rate_at(variant(epochs=10, schedule="cosine"), epoch) for epoch in range(10)]
    assert rates[0] == 1e-3
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-4


def test_the_step_schedule_drops_every_few_epochs() -> None:
    chosen = variant(schedule="step", step_size=10, gamma=0.1)
    assert [rate_at(chosen, epoch) for epoch in (0, 9, 10, 20)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_a_rare_class_weighs_more() -> None:
    assert balance(torch.tensor([0, 0, 0, 1]), 2).tolist() == pytest.approx([2 / 3, 2])
    assert balance(torch.tensor([0, 1, 2]), 3).tolist() == [1, 1, 1]


def test_the_weights_of_classes_do_not_cancel_in_small_batches(cohort: Cohort) -> None:
    made = []
    for weighted in (True, False):
        training = prepare(cohort, class_weights=weighted, batch=1, epochs=1)
        if training.weight is not None:
            training.weight = torch.tensor([0.5, 2.0])
        training.run()
        made.append(weights(training))
    assert not torch.equal(*made)


def test_adam_is_the_originals() -> None:
    assert make_optimiser(small(), variant(optimiser="adam")).defaults["amsgrad"] is True
    assert isinstance(make_optimiser(small(), variant()), torch.optim.AdamW)


def test_it_learns(cohort: Cohort) -> None:
    progress = prepare(cohort, epochs=30, rate=3e-2, slices=8, view="lungs").run()
    assert progress.history[-1]["train_loss"] < 0.5 < progress.history[0]["train_loss"]
    assert progress.history[progress.best_epoch - 1]["validation_auc"] == 1.0


def test_the_network_ends_with_the_weights_of_the_best_epoch(cohort: Cohort) -> None:
    made = prepare(cohort, epochs=5)
    progress = made.run()
    losses = [row["validation_loss"] for row in progress.history]
    assert progress.best_epoch == int(np.argmin(losses)) + 1
    assert made._validate()[0] == losses[progress.best_epoch - 1]


def test_it_stops_when_validation_gets_no_better(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 0.5, 0.6, 0.7, 0.4])
    monkeypatch.setattr(Training, "_validate", lambda _: (next(losses), None))
    made = prepare(cohort, epochs=9, patience=2)
    progress = made.run()
    assert (progress.epoch, progress.best_epoch, made.stopped_early) == (4, 2, True)


def test_the_same_seed_gives_the_same_weights(cohort: Cohort) -> None:
    first, second, other = prepare(cohort), prepare(cohort), prepare(cohort, seed=1)
    for made in (first, second, other):
        made.run()
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("after", [3, 4, 6, 7])
def test_a_killed_training_goes_on_to_the_same_weights(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    straight = prepare(cohort)
    history = straight.run().history
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    steps = iter(range(after))
    step = Training._step

    def die(made: Training, *given: torch.Tensor) -> torch.Tensor:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(made, *given)

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


def test_sigterm_keeps_a_checkpoint_first(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = prepare(cohort, tmp_path / "checkpoint.pt")
    step = Training._step

    def end(*given: object) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    monkeypatch.setattr(Training, "_step", end)
    with pytest.raises(ClaireError, match="SIGTERM"):
        made.run()
    again = prepare(cohort, tmp_path / "checkpoint.pt")
    again._restore()
    assert again.progress.step == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_damaged_checkpoint_means_a_new_start(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut short")
    assert prepare(cohort, tmp_path / "checkpoint.pt", epochs=1).run().epoch == 1


def test_without_a_store_no_checkpoint_is_written(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(cohort, epochs=1).run()
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_names_variant_epoch_and_remedy(cohort: Cohort) -> None:
    made = prepare(cohort)
    with torch.no_grad():
        made.network.head.weight.fill_(math.nan)
    with pytest.raises(ClaireError, match=rf"(?s){made.variant.id}.*epoch 1.*rate"):
        made.run()


def test_scaled_gradients_skip_what_overflows(cohort: Cohort) -> None:
    made = prepare(cohort)
    made.scaler = torch.amp.GradScaler("cpu", init_scale=float("inf"))
    before = weights(made)[:72]
    made._step(torch.rand(2, 2, 16, 16), torch.tensor([0, 1]))
    assert torch.equal(weights(made)[:72], before)


def test_a_volume_is_learned_in_full_precision_on_a_processor() -> None:
    assert choose_device("cpu", volumes=True).precision == "fp32"
    assert choose_device("cpu").precision in ("bf16", "fp32")


def test_a_gpu_that_is_not_there_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").torch.type == "cpu"
    with pytest.raises(UsageError, match="sees no GPU"):
        choose_device("cuda")


@pytest.mark.parametrize(("capability", "precision"), [((7, 0), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_precision_follows_the_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert choose_device("auto").kind == f"cuda-{precision}"


def test_the_area_under_the_curve_counts_pairs() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    assert area_under_curve(np.array([0, 0, 1, 1]), np.stack([1 - scores, scores], 1)) == 0.875
    assert area_under_curve(np.array([1, 1]), np.full((2, 2), 0.5)) is None
    assert area_under_curve(np.array([0, 1, 2]), np.eye(3)) == 1.0


def test_a_slice_is_predicted_once_though_the_network_saw_it_twice(cohort: Cohort) -> None:
    chosen = variant(slices=20)
    found = next(predict(small(), cohort, cohort.scans[:1], chosen, torch.device("cpu")))
    assert found.slices.tolist() == list(range(8))
    assert found.slice_probability.shape == (8, 2)
    np.testing.assert_allclose(found.slice_probability.sum(1), 1)


def test_a_3d_network_predicts_scans_alone(cohort: Cohort) -> None:
    network = ScanNetwork(nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten()), 1, 2, 3, 1, "mean", "0")
    found = next(predict(network, cohort, cohort.scans[:1], variant(dimensions="3D"), torch.device("cpu")))
    assert len(found.slices) == 0
    assert found.probability.sum() == pytest.approx(1)
