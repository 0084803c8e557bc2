"""What a run will cost on this machine: trainings, hours, memory and disk. An estimate, and it says from what."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.core.contracts.variant import Variant
from claire.index.series import Series

MIB, GIB = 2**20, 2**30
#: CPU seconds of one slice of 224² forward through ResNet-18, from the trainings of the demo (README, run times; bf16).
GUESSED_RATE = 0.025
#: Without bf16 a processor takes about twice as long (docs/usage.md, train).
_WITHOUT_BF16 = 2.0
#: GPU seconds of the same on a V100 with fp16: half the published rate of ResNet-50 (about 850 images a second in
#: training, NVIDIA DeepLearningExamples), scaled by the operations of the two networks and counted in forward passes.
_GPU_RATE = 1 / 3000
#: Time of other networks relative to ResNet-18, as measured on the demo.
RELATIVE = {"torchvision:densenet121": 2.0}
#: Index to preprocess, measured on real series of 512×512: CPU seconds a slice, bytes a voxel, bytes a prepared slice.
_DATA_SECONDS, _SCAN_BYTES, _PREPARED_BYTES = 0.1, 1.3, 125_000
_COHORT_BYTES = 3 * 256**2
#: CPU seconds to explain a scan (demo), memory that a training or saliency job asks for, bytes of a run's weights.
_EXPLAIN_SECONDS, TRAINING_MIB, _WEIGHTS_BYTES = 25.0, 3072, 50 * MIB
_BACKWARD = 3  # a training step costs about three forward passes


@dataclass(frozen=True)
class Machine:
    """Processors, available memory and free disk of this machine, in bytes; memory 0 if unknown."""

    cores: int
    memory: int
    disk: int
    bf16: bool

    def jobs(self, cores: int) -> int:
        """Return how many trainings of `cores` cores fit side by side."""
        by_memory = self.memory // (TRAINING_MIB * MIB) if self.memory else self.cores
        return max(1, min(self.cores // cores, by_memory))


def this_machine(folder: Path) -> Machine:
    """Return what this machine has; `folder` tells the disk."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Machine(
        len(os.sched_getaffinity(0)),
        _available_memory(),
        shutil.disk_usage(existing).free,
        "bf16" in _text(Path("/proc/cpuinfo")),
    )


def _available_memory() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def cores_for(machine: Machine) -> int:
    """Return the cores of one training: half of a small machine, at most four."""
    return max(1, min(4, machine.cores // 2))


def guessed_rate(machine: Machine) -> float:
    """Return the guess of CPU seconds a slice of 224² that ResNet-18 takes forward."""
    return GUESSED_RATE * (1 if machine.bf16 else _WITHOUT_BF16)


def forward_slices(variant: Variant, train_scans: float, validation_scans: float, epochs: int) -> float:
    """Return the work of a training in forward passes of a slice of 224² through ResNet-18."""
    passes = epochs * (_BACKWARD * train_scans + validation_scans)
    return passes * variant.slices * (variant.size / 224) ** 2 * RELATIVE.get(variant.architecture, 1.0)


@dataclass(frozen=True)
class Cost:
    """A run's cost: CPU seconds by part, and bytes by part."""

    scans: int
    variants: int
    fold_count: int
    cpu_seconds: dict[str, float]
    bytes: dict[str, float]

    slices_forward: float

    @property
    def trainings(self) -> int:
        """Variants times folds."""
        return self.variants * self.fold_count

    @property
    def gpu_hours(self) -> float:
        """Hours that all trainings would take one after the other on one V100: a guess."""
        return self.slices_forward * _GPU_RATE / 3600


def estimate(series: Sequence[Series], variants: Sequence[Variant], fold_count: int, rate: float) -> Cost:
    """Return the cost of a run over the chosen `series`; `rate` in CPU seconds a slice of 224² through ResNet-18."""
    scans, slices = len(series), sum(each.instances for each in series)
    voxels = sum(each.voxels or each.bytes // 2 for each in series)
    train, held_out = scans * (fold_count - 2) / fold_count, scans / fold_count
    work = sum(forward_slices(v, train, held_out, v.epochs) + forward_slices(v, 0, 2 * held_out, 1) for v in variants)
    return Cost(
        scans,
        len(variants),
        fold_count,
        {
            "data": _DATA_SECONDS * voxels / 512**2,
            "training": fold_count * work * rate,
            "saliency": _EXPLAIN_SECONDS * scans * rate / GUESSED_RATE,
        },
        {
            "scans": _SCAN_BYTES * voxels,
            "cohort": (_PREPARED_BYTES + _COHORT_BYTES) * slices,
            "trainings": 2.0 * _WEIGHTS_BYTES * len(variants) * fold_count,
        },
        fold_count * work,
    )


def cost_text(cost: Cost, machine: Machine, cores: int, measured: bool) -> str:
    """Return the estimate for people."""
    jobs = machine.jobs(cores)
    hours = {name: seconds / 3600 / (jobs * cores) for name, seconds in cost.cpu_seconds.items()}
    needed = sum(cost.bytes.values())
    source = "timed here (--calibrate)" if measured else "a guess from the demo's rates; --calibrate times this machine"
    parts = ", ".join(f"{name} {_duration(part)}" for name, part in hours.items())
    lines = [
        f"what a run costs here (an estimate; rates: {source}):",
        f"  {cost.scans} scans, {cost.variants} variants x {cost.fold_count} folds = {cost.trainings} trainings",
        f"  time    at most {_duration(sum(hours.values()))} ({parts}),"
        f" {jobs} trainings side by side on {machine.cores} cores",
        f"  on GPUs about {_duration(cost.gpu_hours)} of one V100 for all trainings (a guess from published rates)",
        f"  memory  {jobs * TRAINING_MIB / 1024:.0f} GiB for these trainings; {machine.memory / GIB:.0f} GiB available",
        f"  disk    {needed / GIB:.1f} GiB ({', '.join(f'{k} {b / GIB:.1f}' for k, b in cost.bytes.items())});"
        f" {machine.disk / GIB:.0f} GiB free",
    ]
    if needed > machine.disk:
        lines.append("  NOT ENOUGH DISK: name a DIRECTORY on a larger disk, or set `store` in the job file to one")
    if machine.memory and machine.memory < TRAINING_MIB * MIB:
        lines.append(f"  LITTLE MEMORY: a training asks for {TRAINING_MIB / 1024:.0f} GiB")
    return "\n".join(lines)


def _duration(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"
