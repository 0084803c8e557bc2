"""`cohort.h5`: all scans in one file whose voxels are mapped into memory.

The only file of voxels that is transferred to the HPC: scans and patients are named by pseudonym, with class, voxels
and geometry and nothing else about a patient.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
from pydantic import Field

from claire.core.command.documents import Document, Part, parse_document
from claire.core.command.errors import ClaireError
from claire.core.command.files import atomic_path, canonical_json
from claire.core.contracts.prepared import describe_error
from claire.core.imaging.affine import Affine, spacing_mm

REMEDY = "Run `claire cohort` again."
#: Bytes that are read at once to hash the voxels.
BLOCK_BYTES = 4 * 2**20


class Scan(Part):
    """One scan of the cohort: `first` and `count` are its rows of the voxel arrays.

    `slices` are the indices of its kept slices in the ingested scan; `slice_labels` holds a class index per kept
    slice, −1 if it has no label. `affine` takes (column, row, kept slice, 1) of the prepared grid to RAS mm as
    if the kept slices were evenly spaced; `slice_positions_mm` is the exact position of each along the normal.
    `phantom`: the scanner marked it as a phantom's (QualityControlImage).
    """

    scan: str
    patient: str
    label: str
    first: int
    count: int
    slices: tuple[int, ...]
    slice_labels: tuple[int, ...]
    affine: Affine
    slice_positions_mm: tuple[float, ...]
    crop: tuple[int, int, int, int]
    original_shape: tuple[int, int, int]
    phantom: bool = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the prepared grid along (slice, row, column) in mm."""
        return spacing_mm(self.affine)


class CohortHead(Document):
    """The content of `cohort.h5` besides the voxels. `sha256` covers all of it and the voxels."""

    classes: tuple[str, ...]
    scans: tuple[Scan, ...]
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")


@dataclass(frozen=True)
class Cohort:
    """An open cohort; its voxels are read-only memory maps.

    `hu`: (slices of all scans, size, size) int16; `lungs`: the same shape, uint8, 0 none, 1 right, 2 left.
    """

    scans: tuple[Scan, ...]
    classes: tuple[str, ...]
    sha256: str
    hu: np.ndarray
    lungs: np.ndarray

    def by_patient(self, patients: set[str]) -> list[Scan]:
        """Return the scans of `patients`, in the cohort's order."""
        return [scan for scan in self.scans if scan.patient in patients]

    def target(self, scan: Scan) -> int:
        """Return the class index of a scan; class 0 is the reference (negative) class."""
        return self.classes.index(scan.label)

    def voxels(self, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
        """Return (hu, lungs) of one scan, each (count, size, size), without copying."""
        rows = slice(scan.first, scan.first + scan.count)
        return self.hu[rows], self.lungs[rows]


@dataclass(frozen=True)
class _Stored:
    """Where an array lies in the file: first byte, shape and type; contiguous."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize


def open_cohort(path: Path) -> Cohort:
    """Map `cohort.h5` into memory. Raises ClaireError if it cannot be opened, is truncated or has another schema.

    The voxels are not compared with the cohort's hash: steps that use them open it by `contracts.verified`.
    """
    document, stored = _layout(path)
    head = parse_document(document, CohortHead, path.name, REMEDY)
    maps = {name: np.memmap(path, each.dtype, "r", each.offset, each.shape) for name, each in stored.items()}
    return Cohort(head.scans, head.classes, head.sha256, maps["hu"], maps["lungs"])


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of what a cohort file holds now, in the order in which `write_cohort` hashed it.

    The voxels are read, not mapped: a block at a time, so that memory stays flat and a network file system reads
    ahead. Raises ClaireError as `open_cohort` does.
    """
    document, stored = _layout(path)
    scans = parse_document(document, CohortHead, path.name, REMEDY).scans
    head = json.loads(document)  # as it stands there, whichever fields its schema had
    head.pop("sha256", None)
    digest = hashlib.sha256(canonical_json(head).encode())
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        for scan in scans:
            for array in (stored["hu"], stored["lungs"]):
                file.seek(array.offset + scan.first * array.row_bytes)
                for block in _blocks(file, scan.count * array.row_bytes, buffer):
                    digest.update(block)
    return digest.hexdigest()


def _blocks(file: FileIO, size: int, buffer: memoryview) -> Iterator[memoryview]:
    """Yield the next `size` bytes of a file, or less where it ends, in parts of `buffer`, which is filled anew."""
    while size > 0 and (count := file.readinto(buffer[:size])):
        yield buffer[:count]
        size -= count


def _layout(path: Path) -> tuple[bytes, dict[str, _Stored]]:
    """Return the head as bytes and where `hu` and `lungs` lie. Raises ClaireError."""
    try:  # without a lock, which NFS and Lustre may refuse to a reader
        with h5py.File(path, "r", locking=False) as file:
            document = bytes(file["document"][:])
            stored = {
                name: _Stored(file[name].id.get_offset(), file[name].shape, file[name].dtype)
                for name in ("hu", "lungs")
            }
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ClaireError(f"{path.name} is not a cohort file: {describe_error(error)}", REMEDY) from error
    return document, stored


def write_cohort(
    path: Path,
    scans: Sequence[Scan],
    classes: Sequence[str],
    size: int,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
) -> str:
    """Write `cohort.h5` from one (hu, lungs) block per scan, in the order of `scans`; return the cohort's SHA-256.

    Blocks are (count, size, size), int16 and uint8. The hash covers the voxels and the scans' description; it is
    stored in the file, so that the voxels are not hashed again. Contiguous and without dates: the same input gives the
    same bytes. Raises ClaireError on a block of another shape than its scan's description.
    """

    digest = hashlib.sha256()
    total = sum(scan.count for scan in scans)
    head = CohortHead(classes=tuple(classes), scans=tuple(scans)).model_dump(mode="json")
    del head["sha256"]
    digest.update(canonical_json(head).encode())
    with atomic_path(path) as part, h5py.File(part, "w", libver=("v108", "v108"), track_order=True) as file:
        hu = file.create_dataset("hu", (total, size, size), "<i2", track_times=False)
        lungs = file.create_dataset("lungs", (total, size, size), "u1", track_times=False)
        for scan, (scan_hu, scan_lungs) in zip(scans, blocks, strict=True):
            rows = slice(scan.first, scan.first + scan.count)
            if not scan_hu.shape == scan_lungs.shape == (scan.count, size, size):
                raise ClaireError(
                    f"scan {scan.scan} has voxels of shape {scan_hu.shape}: expected {(scan.count, size, size)}",
                    "Run `claire preprocess` again.",
                )
            hu[rows], lungs[rows] = scan_hu, scan_lungs
            digest.update(np.ascontiguousarray(scan_hu, "<i2").data)
            digest.update(np.ascontiguousarray(scan_lungs, "u1").data)
        head["sha256"] = digest.hexdigest()
        file.create_dataset("document", data=np.frombuffer(canonical_json(head).encode(), "u1"), track_times=False)
    return digest.hexdigest()
