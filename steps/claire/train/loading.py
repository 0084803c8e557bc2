"""Batches for training: views of scans made once, slices and augmentation drawn anew every epoch.

Random numbers are drawn from (seed, epoch, scan[, slice]), never from a running generator, so an epoch is the same in
every process and wherever a training was interrupted.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.core.networks.healed import Alteration, Healable, altered, draw_alterations, make_healable
from claire.core.networks.input import normalise, window
from claire.core.networks.view import cut_hu, make_view

T = TypeVar("T")
#: Bytes of views that stay in memory; more go to a file in the temporary folder that is mapped into memory.
MEMORY_BYTES = 512 * 2**20
#: Candidates that a slice of the even spread is drawn from: itself and its neighbours half a step away or less.
CANDIDATES = 3
#: Ranges of augmentation: degrees, relative size, share of the width, and contrast and brightness in window units.
ROTATION, SCALE, SHIFT, CONTRAST, BRIGHTNESS = 10.0, 0.1, 0.05, 0.1, 0.05
#: Probabilities of a flip and of an affine transform.
FLIP, TRANSFORM = 0.5, 0.5


class Views:
    """Scans as a variant's network sees them, int16 HU, made when first read and kept.

    With `jitter`, 2D scans hold CANDIDATES of each slice. Views are kept in memory up to MEMORY_BYTES, beyond that in
    an unnamed file in the temporary folder, allocated at once, so that memory stays flat and a full disk is reported
    before training.
    """

    def __init__(self, cohort: Cohort, scans: Sequence[Scan], variant: Variant, jitter: bool = False) -> None:
        self.cohort, self.scans = cohort, tuple(scans)
        self.candidates = CANDIDATES if jitter and variant.dimensions == "2D" else 1
        self.variant = variant.model_copy(update={"slices": variant.slices * self.candidates})
        self._views = _allocate((len(scans), self.variant.slices, variant.size, variant.size))
        self._is_made = [False] * len(scans)
        self._healable: dict[int, Healable] = {}

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return (slices · candidates, size, size) int16 HU of a scan; for `view: lungs` air outside the lungs."""
        if not self._is_made[index]:
            self._views[index] = cut_hu(self.cohort, self.scans[index], self.variant)
            self._is_made[index] = True
        view: np.ndarray = self._views[index]
        return view

    def healable(self, index: int) -> Healable:
        """Return what filling the view of a scan takes, for `augmentation: healed`."""
        if index not in self._healable:
            self._healable[index] = make_healable(make_view(self.cohort, self.scans[index], self.variant))
        return self._healable[index]


def _allocate(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * 2
    if size <= MEMORY_BYTES:
        return np.empty(shape, np.int16)
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, np.int16, "r+", shape=shape)


@dataclass(frozen=True)
class Item:
    """An item of a batch: `slices` of the view of the scan at `index`, and how they are augmented.

    `theta` (2, 3) maps output to input coordinates in −1…1, None for none; `contrast` and `brightness` act on the
    windowed image. `alteration`: None for the scan as it is.
    """

    index: int
    slices: np.ndarray
    theta: np.ndarray | None = None
    flip: bool = False
    contrast: float = 1.0
    brightness: float = 0.0
    alteration: Alteration | None = None

    @property
    def healed(self) -> bool:
        """Whether this is a healed copy, which is labelled as the reference class."""
        return self.alteration is not None and self.alteration.healed


def epoch_batches(views: Views, variant: Variant, epoch: int) -> list[list[Item]]:
    """Return the batches of an epoch: every scan once (`labels: inherited`: every slice of its spread once), shuffled.

    `augmentation: healed` adds healed copies of some scans.

    Batches differ by one item at most, so that none holds a single item where the batch size is larger than one.
    """
    items = [item for index in range(len(views)) for item in _items(views, index, variant, epoch)]
    order = np.random.default_rng((variant.seed, epoch)).permutation(len(items))
    parts = np.array_split(order, -(-len(items) // variant.batch_size))
    return [[items[i] for i in part] for part in parts]


def _items(views: Views, index: int, variant: Variant, epoch: int) -> list[Item]:
    name = int.from_bytes(hashlib.sha256(views.scans[index].scan.encode()).digest()[:8])
    rng = np.random.default_rng((variant.seed, epoch, name))
    slices = np.arange(variant.slices) * views.candidates
    if views.candidates > 1:
        slices += rng.integers(views.candidates, size=len(slices))
    groups = slices[:, None] if variant.labels == "inherited" else slices[None]
    if variant.augmentation == "none":
        return [Item(index, group) for group in groups]
    alterations = draw_alterations(rng) if variant.augmentation == "healed" else [None]
    return [_augmented(index, group, rng, alteration) for alteration in alterations for group in groups]


def _augmented(index: int, slices: np.ndarray, rng: np.random.Generator, alteration: Alteration | None) -> Item:
    flip, transform = bool(rng.random() < FLIP), bool(rng.random() < TRANSFORM)
    rotation, (scale, contrast, brightness), shift = rng.uniform(-1, 1), rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 2)
    theta = None
    if transform:
        angle, size = np.deg2rad(ROTATION * rotation), 1 + SCALE * scale
        matrix = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix[:, 0] *= -1 if flip else 1
        theta = np.column_stack([matrix, 2 * SHIFT * shift]).astype(np.float32)
    shades = 1 + CONTRAST * contrast, BRIGHTNESS * brightness
    return Item(index, slices, theta, flip and not transform, *shades, alteration)


def gather(views: Views, items: Sequence[Item]) -> Tensor:
    """Return the slices of a batch, (B, D, size, size) int16 HU."""
    first = views[items[0].index]
    batch = np.empty((len(items), len(items[0].slices), *first.shape[1:]), np.int16)
    for row, item in zip(batch, items, strict=True):
        np.take(views[item.index], item.slices, axis=0, out=row)
        if item.alteration is not None:
            row[...] = altered(row, views.healable(item.index), item.slices, item.alteration)
    return torch.from_numpy(batch)


def to_image(hu: Tensor, variant: Variant, items: Sequence[Item]) -> Tensor:
    """Return the network's input, float32 in 0…1, of (B, D, size, size) int16 HU, augmented as `items` say.

    Without augmentation it equals `to_input`. Runs on the device of `hu`.
    """
    image = hu.float()
    thetas = {i: item.theta for i, item in enumerate(items) if item.theta is not None}
    if thetas:
        rows = list(thetas)
        image[rows] = _transform(image[rows], np.stack(list(thetas.values())))
    for i, item in enumerate(items):
        if item.flip:
            image[i] = image[i].flip(-1)
    image = window(image, variant)
    image.mul_(_column([item.contrast for item in items], image))
    image.add_(_column([item.brightness for item in items], image))
    return normalise(image.clamp_(0, 1), variant)


def _transform(image: Tensor, thetas: np.ndarray) -> Tensor:
    # Slices take the place of channels, so that they share one grid: four times as fast as a grid for each.
    theta = torch.from_numpy(thetas).to(image.device)
    grid = functional.affine_grid(theta, [len(image), 1, *image.shape[-2:]], align_corners=False)
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)


def batches(
    views: Views, plan: Sequence[Sequence[Item]], variant: Variant, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (images, indices, healed): (B, D, size, size) float32 in 0…1 on `device`, (B,) the scans they are of, and
    (B,) whether they are healed copies.

    For a GPU the next batch is read while this one is learned; windowing and augmentation run on the device.
    """
    pinned = device.type == "cuda"
    gathered = ((gather(views, items).pin_memory() if pinned else gather(views, items), items) for items in plan)
    for hu, items in prefetch(gathered) if pinned else gathered:
        images = to_image(hu.to(device, non_blocking=True), variant, items)
        indices, healed = [item.index for item in items], [item.healed for item in items]
        yield images, torch.tensor(indices, device=device), torch.tensor(healed, device=device)


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield `items`, computing the next one in a thread while this one is used."""
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(list, islice(source, 1))
        while current := following.result():
            following = pool.submit(list, islice(source, 1))
            yield from current
