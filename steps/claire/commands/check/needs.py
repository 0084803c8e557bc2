"""Disk and memory that a run needs, against what this machine has. Rough, from above, and from headers alone.

Disk, all bytes before compression: scans are slices × rows × columns × 2 of the chosen series with a label; prepared
slices and the cohort each hold size² × 3 bytes a slice (HU and lungs), as if the filter dropped none; each training
keeps two copies of its weights of 50 MiB. Memory: one training takes 0.6 GiB and, for each slice of a batch, 2.5 kB a
pixel of the input (ResNet-18 and DenseNet-121 on a processor; on a GPU that memory is the GPU's).
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
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
_HU_BYTES, _PREPARED_BYTES, _WEIGHTS_BYTES = 2, 3, 2 * 50 * 2**20
_BASE_MEMORY, _PIXEL_MEMORY = int(0.6 * GIB), 2500
#: Compressed CT takes at least this share of its bytes: a disk with less is too small whatever the data are.
_SURELY = 0.5


@dataclass(frozen=True)
class Needs:
    """Bytes of disk by what they hold, and of memory of the largest training."""

    data: int
    trainings: int
    memory: int


def estimate(series: Sequence[Series], size: int, plan: Plan | None, variants: Sequence[Variant]) -> Needs:
    """Return what a run over these series needs; `size` is that of prepared slices."""
    voxels = sum(map(voxels_of, series))
    slices = sum(each.instances for each in series)
    return Needs(
        _HU_BYTES * voxels + 2 * _PREPARED_BYTES * size**2 * slices,
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
    return _BASE_MEMORY + _PIXEL_MEMORY * images * variant.size**2


def available_memory() -> int:
    """Return the available bytes of memory; 0 if the system does not tell."""
    information = Path("/proc/meminfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), 0)


def check_needs(needs: Needs, job: Job, findings: Findings) -> None:
    """Warn where disk or memory of this machine may not be enough; a fault if the disk is clearly too small."""
    store = job.value("store")
    on_disk: dict[int, int] = defaultdict(int)
    places: dict[int, Path] = {}
    for place, count in ((Path(tempfile.gettempdir()), needs.data), (Path(store or Path.cwd()), needs.trainings)):
        existing = next(path for path in (place, *place.parents) if path.exists())
        device = existing.stat().st_dev
        on_disk[device] += count
        places.setdefault(device, existing)
    for device, count in on_disk.items():
        free = shutil.disk_usage(places[device]).free
        text = f"{gib(free)} are free on the disk of {places[device]}, and a run may need {gib(count)} there"
        remedy = "Free some space, or set TMPDIR and `store` to a larger disk."
        if free < _SURELY * count:
            findings.fault(text, remedy)
        elif free < count:
            findings.warn(text, remedy)
    memory = available_memory()
    if memory and memory < needs.memory:
        findings.warn(
            f"{gib(memory)} of memory are available, and a training may take {gib(needs.memory)} on a processor",
            "Use a machine with more, a GPU, or a smaller batch_size, slices or size in the grid.",
        )


def gib(count: int) -> str:
    """Return bytes for people."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.0f} MiB"
