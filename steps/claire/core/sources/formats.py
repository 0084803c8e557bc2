"""The formats of scans: DICOM, a series of files, and formats in which one file is a whole scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from claire.core.sources import dicom, nifti
from claire.core.sources.dicom import Header
from claire.core.sources.nifti import Grid

DICOM = "dicom"


@dataclass(frozen=True)
class VolumeFormat:
    """A format in which one file is a whole scan: its suffixes, and the reader of its header and grid.

    `read_header` raises UnreadableHeader if the file is damaged.
    """

    suffixes: tuple[str, ...]
    read_header: Callable[[Path], tuple[Header, Grid]]


#: By the `kind` of shard lists and sidecars. The voxels are read by `ingest.scan.VOXELS` of the same kind.
VOLUMES: Mapping[str, VolumeFormat] = {
    "nifti": VolumeFormat(nifti.SUFFIXES, nifti.read_header),
}


def kind_of(path: Path) -> str:
    """Return the kind of a file by its suffix; files of no other format may be DICOM, whatever their name."""
    return next((kind for kind, volume in VOLUMES.items() if path.name.endswith(volume.suffixes)), DICOM)


def read_header(kind: str, path: Path) -> Header:
    """Read the header of a file. Raises UnreadableHeader, and NotDicom if it is not a DICOM file as expected."""
    return dicom.read_header(path) if kind == DICOM else VOLUMES[kind].read_header(path)[0]
