"""Batches for training: scans cut to a variant's view once, drawn and augmented anew every epoch.

Everything random is drawn from (seed, epoch, scan[, slice]), never from a running generator, so an epoch is the same
whoever computes it and wherever a training was interrupted.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.core.networks.input import normalise, window
from claire.core.networks.view import cut_hu

T = TypeVar("T")
#: Bytes of views that are kept in memory; more go to a file in the temporary folder that is mapped into memory.
KEPT_BYTES = 512 * 2**20
#: Candidates a slice of the even spread is drawn from: itself and its neighbours half a step away or less.
JITTER = 3
#: Ranges of augmentation: degrees, relative size, share of the width, and contrast and brightness in window units.
TURN, STRETCH, SHIFT, CONTRAST, BRIGHTNESS = 10.0, 0.1, 0.05, 0.1, 0.05
FLIPPED, MOVED = 0.5, 0.5


class Views:
    """Scans as a variant's network sees them, int16 HU, cut when first asked for and kept.

    With `jitter`, 2D scans hold JITTER candidates a slice. They are kept in memory up to KEPT_BYTES, beyond that in an
    unnamed file in the temporary folder, reserved at once, so that memory stays flat and a full disk is told early.
    """

    def __init__(self, cohort: Cohort, scans: Sequence[Scan], variant: Variant, jitter: bool = False) -> None:
        self.cohort, self.scans = cohort, tuple(scans)
        self.spread = JITTER if jitter and variant.dimensions == "2D" else 1
        self.variant = variant.model_copy(update={"slices": variant.slices * self.spread})
        self._kept = _room((len(scans), self.variant.slices, variant.size, variant.size))
        self._done = [False] * len(scans)

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, place: int) -> np.ndarray:
        """Return (slices · spread, size, size) int16 HU of the scan at `place`; outside the lungs air, if so viewed."""
        if not self._done[place]:
            self._kept[place] = cut_hu(self.cohort, self.scans[place], self.variant)
            self._done[place] = True
        return self._kept[place]


def _room(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * 2
    if size <= KEPT_BYTES:
        return np.empty(shape, np.int16)
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, np.int16, "r+", shape=shape)


@dataclass(frozen=True)
class Item:
    """What one position of a batch holds: slices of the view of the scan at `place`, and how they are augmented.

    `theta` (2, 3) maps output to input coordinates in −1…1, None for none; `contrast` and `brightness` act on the
    windowed image.
    """

    place: int
    slices: np.ndarray
    theta: np.ndarray | None = None
    flip: bool = False
    contrast: float = 1.0
    brightness: float = 0.0


def epoch_batches(views: Views, variant: Variant, epoch: int) -> list[list[Item]]:
    """Return the batches of an epoch: every scan once (`labels: inherited`: every slice of its spread once), shuffled.

    The last batches are evened out, so that none holds a single item where the batch is larger than one.
    """
    items = [item for place in range(len(views)) for item in _items(views, place, variant, epoch)]
    order = np.random.default_rng((variant.seed, epoch)).permutation(len(items))
    parts = np.array_split(order, -(-len(items) // variant.batch_size))
    return [[items[i] for i in part] for part in parts]


def _items(views: Views, place: int, variant: Variant, epoch: int) -> list[Item]:
    name = int.from_bytes(hashlib.sha256(views.scans[place].scan.encode()).digest()[:8])
    rng = np.random.default_rng((variant.seed, epoch, name))
    slices = np.arange(variant.slices) * views.spread
    if views.spread > 1:
        slices += rng.integers(views.spread, size=len(slices))
    groups = slices[:, None] if variant.labels == "inherited" else slices[None]
    if variant.augmentation == "none":
        return [Item(place, group) for group in groups]
    return [_augmented(place, group, rng) for group in groups]


def _augmented(place: int, slices: np.ndarray, rng: np.random.Generator) -> Item:
    flip, moved = bool(rng.random() < FLIPPED), bool(rng.random() < MOVED)
    turn, (stretch, contrast, brightness), shift = rng.uniform(-1, 1), rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 2)
    theta = None
    if moved:
        angle, size = np.deg2rad(TURN * turn), 1 + STRETCH * stretch
        rotation = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        rotation[:, 0] *= -1 if flip else 1
        theta = np.column_stack([rotation, 2 * SHIFT * shift]).astype(np.float32)
    return Item(place, slices, theta, flip and not moved, 1 + CONTRAST * contrast, BRIGHTNESS * brightness)


def gather(views: Views, items: Sequence[Item]) -> Tensor:
    """Return the slices of a batch, (B, D, size, size) int16 HU."""
    first = views[items[0].place]
    batch = np.empty((len(items), len(items[0].slices), *first.shape[1:]), np.int16)
    for row, item in zip(batch, items, strict=True):
        np.take(views[item.place], item.slices, axis=0, out=row)
    return torch.from_numpy(batch)


def to_image(hu: Tensor, variant: Variant, items: Sequence[Item]) -> Tensor:
    """Return the network's input, float32 in 0…1, of (B, D, size, size) int16 HU, augmented as `items` say.

    Without augmentation it equals `to_input`. Runs where `hu` lies.
    """
    image = hu.float()
    moved = [i for i, item in enumerate(items) if item.theta is not None]
    if moved:
        image[moved] = _move(image[moved], np.stack([items[i].theta for i in moved]))
    for i, item in enumerate(items):
        if item.flip:
            image[i] = image[i].flip(-1)
    image = window(image, variant)
    if items:
        image.mul_(_column([item.contrast for item in items], image))
        image.add_(_column([item.brightness for item in items], image))
    return normalise(image.clamp_(0, 1), variant)


def _move(image: Tensor, thetas: np.ndarray) -> Tensor:
    # The slices of a scan stand where channels do: one grid serves them all, four times as fast as one each.
    theta = torch.from_numpy(thetas).to(image.device)
    grid = functional.affine_grid(theta, [len(image), 1, *image.shape[-2:]], align_corners=False)
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)


def batches(
    views: Views, plan: Sequence[Sequence[Item]], variant: Variant, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images, places): (B, D, size, size) float32 in 0…1 on `device`, and (B,) the scans they are of.

    For a GPU the next batch is read while this one is learned; windowing and augmentation run on the device.
    """
    pinned = device.type == "cuda"
    raw = ((gather(views, items).pin_memory() if pinned else gather(views, items), items) for items in plan)
    for hu, items in ahead(raw) if pinned else raw:
        images = to_image(hu.to(device, non_blocking=True), variant, items)
        yield images, torch.tensor([item.place for item in items], device=device)


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield `items`, computing the next one in a thread while this one is used."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]
