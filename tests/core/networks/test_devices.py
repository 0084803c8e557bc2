"""The device of a network and its precision."""

from __future__ import annotations

import pytest
import torch
from claire.core.command.errors import UsageError
from claire.core.networks.devices import choose_device


def test_a_3d_network_runs_in_full_precision_on_a_processor() -> None:
    assert choose_device("cpu", "3D").precision == "fp32"
    assert choose_device("cpu", "2D").precision in ("bf16", "fp32")


def test_a_missing_gpu_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", "2D").torch.type == "cpu"
    with pytest.raises(UsageError, match="sees no GPU"):
        choose_device("cuda", "2D")


def test_auto_keeps_full_precision_for_3d_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", "3D").kind == "cpu-fp32"


def test_a_gpu_that_pytorch_does_not_serve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    with pytest.raises(UsageError, match="expected at least sm_70, got sm_61"):
        choose_device("cuda", "2D")


@pytest.mark.parametrize(("capability", "precision"), [((7, 0), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_precision_follows_the_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert choose_device("auto", "2D").kind == f"cuda-{precision}"
