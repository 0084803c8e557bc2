"""Slices per second fed to training, against a loader of one PNG per slice with two workers (as in the original).

    python benchmarks/loading.py [threads]

Both deliver batches of 32 slices at 224², float32, ready for the network. In the first epoch the views are made from
the cohort (once per training); from the second on they are read and augmented.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from claire.core.contracts.cohort import Cohort, Scan, open_cohort, write_cohort
from claire.core.contracts.variant import Variant
from claire.core.networks.view import apply_window
from claire.train.loading import Views, batches, epoch_batches
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

SCANS, COUNT, SIZE = 24, 64, 256
VARIANT = Variant(size=224, slices=32, batch_size=1)
PLAIN = VARIANT.model_copy(update={"augmentation": "none"})
DEVICE = torch.device("cpu")


class PngSlices(Dataset[torch.Tensor]):
    """The slices of all scans, one PNG each: opened, resized, made a tensor of three channels, normalised."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.png"))
        grey = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        steps = [v2.Resize((224, 224)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*grey)]
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def make_scans(folder: Path) -> Cohort:
    """Write a cohort of noise with two lungs, and every second of its slices as PNG."""
    lungs = np.zeros((COUNT, SIZE, SIZE), np.uint8)
    lungs[:, 50:210, 20:120], lungs[:, 50:210, 136:236] = 1, 2
    scans = [_scan(i) for i in range(SCANS)]

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for i in range(SCANS):
            yield np.random.default_rng(i).normal(-500, 300, lungs.shape).astype(np.int16), lungs

    write_cohort(folder / "cohort.h5", scans, ("negative", "positive"), SIZE, blocks())
    cohort = open_cohort(folder / "cohort.h5")
    for scan in scans:
        for row in range(0, COUNT, 2):
            grey = apply_window(cohort.voxels(scan)[0][row], VARIANT.window) * 255
            Image.fromarray(grey.astype(np.uint8)).save(folder / f"{scan.scan}.{row:03d}.png")
    return cohort


def _scan(number: int) -> Scan:
    rows, name = tuple(range(COUNT)), f"{number:012x}"
    return Scan(
        scan=f"S{name}",
        patient=f"P{name}",
        label=("negative", "positive")[number % 2],
        first=number * COUNT,
        count=COUNT,
        slices=rows,
        slice_labels=(-1,) * COUNT,
        affine=np.diag([-1.5, -1.5, 5.0, 1.0]),
        slice_positions_mm=tuple(5.0 * z for z in rows),
        crop=(0, SIZE, 0, SIZE),
        original_shape=(COUNT, SIZE, SIZE),
    )


def slices_per_second(feed: Callable[[], Iterator[torch.Tensor]], repeats: int = 5) -> float:
    """Return slices per second over whole epochs, the median of `repeats`."""
    speeds = []
    for _ in range(repeats):
        started, slices = time.perf_counter(), 0
        for images in feed():
            slices += images.shape[0] * (images.shape[1] if images.shape[1] != 3 else 1)
        speeds.append(slices / (time.perf_counter() - started))
    return statistics.median(speeds)


def main() -> None:
    """Print slices per second and ratios."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        cohort = make_scans(Path(folder))
        loader = DataLoader(PngSlices(Path(folder)), batch_size=32, shuffle=True, num_workers=2)
        views, plain = Views(cohort, cohort.scans, VARIANT, jitter=True), Views(cohort, cohort.scans, PLAIN)

        def ours(views: Views, variant: Variant) -> Iterator[torch.Tensor]:
            return (images for images, _ in batches(views, epoch_batches(views, variant, 1), variant, DEVICE))

        measured = {
            "PNG per slice, 2 workers, no augmentation": slices_per_second(lambda: iter(loader), 3),
            "first epoch, views made from the cohort": slices_per_second(lambda: ours(views, VARIANT), 1),
            "later epochs, augmented": slices_per_second(lambda: ours(views, VARIANT)),
            "later epochs, not augmented": slices_per_second(lambda: ours(plain, PLAIN)),
        }
    base = next(iter(measured.values()))
    print(f"{'slices per second at 224² (' + str(threads) + ' threads)':44} {'slices/s':>9} {'ratio':>7}")
    for name, value in measured.items():
        print(f"{name:44} {value:9.0f} {value / base:6.1f}×")


if __name__ == "__main__":
    main()
