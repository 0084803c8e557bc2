"""Disk and memory that a run needs, against what this machine has. Rough, from above, and from headers alone.

Disk, all bytes before compression: scans are slices × rows × columns × 2 of the series that can enter; prepared slices
and the cohort each hold size² × 3 bytes a slice (HU and lungs), as if the filter dropped none; a training holds three
int16 views of each slice that its network sees, and keeps two copies of its weights of 50 MiB. Memory of a training on
a processor: 0.7 GiB, 0.5 GiB of views and, for each pixel of a batch, 1.2 kB (ResNet of basic blocks) or 4.5 kB
(measured: DenseNet-121, ResNet-50); on a GPU the latter is the GPU's.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.commands.check.job import Job
from claire.core.command.findings import Findings
from claire.core.contracts.plan import Plan
from claire.core.contracts.variant import Variant
from claire.core.sources.formats import DICOM, VOLUMES
from claire.index.series import Series

GIB = 2**30
_VIEWS, _HU_BYTES, _PREPARED_BYTES, _WEIGHTS_BYTES = 3, 2, 3, 2 * 50 * 2**20
_BASE_MEMORY, _PIXEL_MEMORY = int(1.2 * GIB), 4500
_SMALL = {name: 1200 for name in ("torchvision:resnet18", "torchvision:resnet34")}
#: Compression and dropped slices leave at least this share of the scans' and the cohort's bytes: a disk with less is
#: clearly too small.
_SURELY = 0.5


@dataclass(frozen=True)
class Needs:
    """Bytes: of disk for scans and cohort, for the views of a training, for weights; of memory of a training."""

    data: int
    views: int
    weights: int
    memory: int


def estimate(series: Sequence[Series], size: int, plan: Plan | None, variants: Sequence[Variant]) -> Needs:
    """Return what a run over these series needs; `size` is that of prepared slices."""
    voxels = sum(map(voxels_of, series))
    slices = sum(each.instances for each in series)
    views = max((_VIEWS * variant.slices * variant.size**2 for variant in variants), default=0)
    return Needs(
        _HU_BYTES * voxels + 2 * _PREPARED_BYTES * size**2 * slices,
        _HU_BYTES * views * len(series),
        _WEIGHTS_BYTES * plan.trainings if plan else 0,
        max((training_memory(variant) for variant in variants), default=0),
    )


def voxels_of(series: Series) -> int:
    """Return the voxels of a series by its header."""
    if series.kind != DICOM:
        rows, columns, slices = VOLUMES[series.kind].read_header(series.source / series.files[0])[1].shape
        return rows * columns * slices
    pixels = series.header.pixels if series.header else None
    return pixels.rows * pixels.columns * series.instances if pixels else 0


def training_memory(variant: Variant) -> int:
    """Return the bytes that a training of this variant may take."""
    images = variant.batch_size * (1 if variant.labels == "inherited" else variant.slices)
    return _BASE_MEMORY + _SMALL.get(variant.architecture, _PIXEL_MEMORY) * images * variant.size**2


def available_memory() -> int:
    """Return the available bytes of memory; 0 if the system does not tell."""
    information = Path("/proc/meminfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), 0)


def check_needs(needs: Needs, job: Job, findings: Findings) -> None:
    """Warn where disk or memory of this machine may not be enough; a fault if the disk is clearly too small."""
    temporary, kept = Path(tempfile.gettempdir()), Path(job.value("store") or Path.cwd())
    disks = [(temporary, needs.data + needs.views, needs.data), (kept, needs.weights, 0)]
    if _device(temporary) == _device(kept):
        disks = [(temporary, needs.data + needs.views + needs.weights, needs.data)]
    for place, most, data in disks:
        free = shutil.disk_usage(_existing(place)).free
        text = f"{gib(free)} are free on the disk of {place}, and a run may need {gib(most)} there"
        remedy = "Free some space, or set TMPDIR and `store` to a larger disk."
        if free < _SURELY * data:
            findings.fault(text, remedy)
        elif free < most:
            findings.warn(text, remedy)
    memory = available_memory()
    if memory and memory < needs.memory:
        findings.warn(
            f"{gib(memory)} of memory are available, and a training may take {gib(needs.memory)} on a processor",
            "Use a machine with more, a GPU, or a smaller batch_size, slices or size in the grid.",
        )


def _existing(place: Path) -> Path:
    return next(path for path in (place, *place.parents) if path.exists())


def _device(place: Path) -> int:
    return _existing(place).stat().st_dev


def gib(count: int) -> str:
    """Return bytes for people."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.0f} MiB"
