"""`NNNN.prepared.h5`: the prepared scans of a shard, voxels and everything that maps them back to the patient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from claire.core.command.documents import Document, parse_document
from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic_path
from claire.core.contracts.masks import LungFacts
from claire.core.contracts.scans import ScanFacts
from claire.core.imaging.affine import Affine

REMEDY = "Run `claire preprocess` again for this shard."


class PreparedScan(Document):
    """The prepared grid of one scan.

    `slices`: index of each kept slice in the ingested scan. `affine`: (column, row, kept slice, 1) → RAS mm, as if the
    kept slices were evenly spaced; `slice_positions_mm`: exact position of each along the normal. `crop`: (row0, row1,
    column0, column1) of the scan's slices, which may reach beyond them.
    """

    facts: ScanFacts
    lungs: LungFacts
    slices: tuple[int, ...]
    affine: Affine
    slice_positions_mm: tuple[float, ...]
    crop: tuple[int, int, int, int]
    original_shape: tuple[int, int, int]

    @property
    def slice_labels(self) -> tuple[str | None, ...]:
        """Class name of each kept slice, None if it has no label."""
        labels = self.facts.slice_labels
        return tuple(None if labels is None else labels[index] for index in self.slices)


class PreparedHead(Document):
    """Shared by the scans of a shard: rows and columns of a prepared slice."""

    size: int


class PreparedWriter:
    """Adds prepared scans to the file of a shard."""

    def __init__(self, file: h5py.File, size: int) -> None:
        self._size = size
        _write_text(file, PreparedHead(size=size).to_canonical_json())
        self._scans = file.create_group("scans", track_order=True)

    def add(self, scan: PreparedScan, hu: np.ndarray, lungs: np.ndarray) -> None:
        """Add one scan: `hu` (kept slices, size, size) int16 and `lungs` of the same shape, uint8 0/1/2."""
        shape = (len(scan.slices), self._size, self._size)
        if not hu.shape == lungs.shape == shape:
            raise ValueError(f"voxels of shape {hu.shape} and {lungs.shape}: expected {shape}")
        group = self._scans.create_group(scan.facts.scan, track_order=True)
        group.create_dataset("hu", data=hu.astype("<i2", copy=False), track_times=False)
        group.create_dataset("lungs", data=lungs, track_times=False)
        _write_text(group, scan.to_canonical_json())


@contextmanager
def write_prepared(path: Path, size: int) -> Iterator[PreparedWriter]:
    """Write `NNNN.prepared.h5`, atomically; the same input gives the same bytes."""

    with atomic_path(path) as part, h5py.File(part, "w", libver=("v108", "v108"), track_order=True) as file:
        yield PreparedWriter(file, size)


def read_prepared(path: Path) -> tuple[int, list[PreparedScan]]:
    """Return (size of a slice, descriptions of the scans), without voxels. Raises ClaireError."""
    with _open(path) as file:
        head = parse_document(_text(file), PreparedHead, path.name, REMEDY)
        scans = [
            parse_document(_text(group), PreparedScan, f"{path.name}: scan {name}", REMEDY)
            for name, group in file["scans"].items()
        ]
    return head.size, scans


def read_voxels(path: Path, scan: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (hu, lungs) of one scan. Raises ClaireError."""
    with _open(path) as file:
        return file["scans"][scan]["hu"][:], file["scans"][scan]["lungs"][:]


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:

    try:  # without a lock, which NFS and Lustre may refuse to a reader
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ClaireError(f"{path.name} is not a prepared shard: {describe_error(error)}", REMEDY) from error


def describe_error(error: Exception) -> str:
    """Return the cause of a failed read: the system's message, else the type of error."""
    system = error.strerror if isinstance(error, OSError) else None
    return system or f"{type(error).__name__}: {error}".splitlines()[0]


def _write_text(group: h5py.Group, text: str) -> None:
    group.create_dataset("document", data=np.frombuffer(text.encode(), "u1"), track_times=False)


def _text(group: h5py.Group) -> bytes:
    return bytes(group["document"][:])
