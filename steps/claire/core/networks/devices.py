"""Where a network runs and with which precision."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from claire.core.command.errors import UsageError
from claire.core.command.progress import log

#: Compute capability of the oldest GPU that the pinned PyTorch supports (V100).
OLDEST_GPU = (7, 0)


@dataclass(frozen=True)
class Device:
    """A torch device and the precision of its mixed-precision training: `bf16`, `fp16` (loss scaled) or `fp32`."""

    torch: torch.device
    precision: str

    @property
    def kind(self) -> str:
        """`cpu-bf16`, `cuda-fp16` and so on: part of what determines the results besides the inputs."""
        return f"{self.torch.type}-{self.precision}"

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which the forward pass of training runs."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.torch.type, dtype, enabled=self.precision != "fp32")


def choose_device(name: str, dimensions: str) -> Device:
    """Return the device for `auto`, `cpu` or `cuda`. Raises UsageError if `cuda` is named and cannot be used.

    Processors: bf16 if supported natively (AVX-512 BF16, AMX: twice as fast as fp32), but fp32 for 3D networks
    (`dimensions`: 2D or 3D). GPUs: bf16 from sm_80 on, fp16 before (the V100 has no bf16). `auto` falls back to the
    processor.
    """
    if name == "cpu":
        return Device(torch.device("cpu"), "fp32" if dimensions == "3D" else _cpu_precision())
    fault = _gpu_fault()
    if fault is None:
        precision = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
        return Device(torch.device("cuda"), precision)
    if name == "cuda":
        raise UsageError(
            f"--device cuda cannot be used: {fault}",
            "Run on a machine with a GPU that this PyTorch serves, or take --device auto.",
        )
    log.info("no GPU: %s; running on the processor", fault)
    return choose_device("cpu", dimensions)


def _gpu_fault() -> str | None:
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU here"
    major, minor = torch.cuda.get_device_capability()
    if (major, minor) >= OLDEST_GPU:
        return None
    return f"the GPU is too old: expected at least sm_{OLDEST_GPU[0]}{OLDEST_GPU[1]}, got sm_{major}{minor}"


def _cpu_precision() -> str:
    # Not for Conv3d: there oneDNN in bf16 reads uninitialised memory (torch 2.10): other results each time, or NaN.
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast and torch.backends.mkldnn.is_available() else "fp32"


def make_deterministic(threads: int) -> None:
    """Make computations of this process reproducible from a seed, on `threads` processor threads.

    Operations of a GPU that have no deterministic implementation only warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import TorchInductor: seconds
    torch.backends.cudnn.benchmark = False
