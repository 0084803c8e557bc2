"""`NNNN.scans.zip`: the pseudonymised HU scans of a shard, `<scan>.nii.gz` and `<scan>.json` each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from claire.core.command.documents import Document, parse_document
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import DAMAGE, ArchiveReader, ArchiveWriter, write_archive
from claire.core.contracts.folds import TableSplit
from claire.core.contracts.labels import Sex
from claire.core.contracts.shard_list import Kind
from claire.core.imaging.volume import Volume, from_nifti_gz, to_nifti_gz

REMEDY = "Run `claire ingest` again for this shard."
_NAME = re.compile(r"[\w-]+")


class ScanFacts(Document):
    """The facts of a scan that may leave the site: pseudonyms, without dates or free text.

    `line` is its line in `shard`. `label_days`: days from the study to the label's date. UIDs are remapped; `sop_uids`
    and `positions_mm` (LPS mm of each slice's first voxel) have one entry per slice, sorted along the normal from the
    feet; `slice_labels` has a class name or null for each slice, or is null if no slice is labelled. `pixel_hash` is
    the keyed hash of the HU: equal for equal voxels under one key.
    """

    scan: str
    shard: str
    line: int
    patient: str
    label: str
    reference_standard: str = ""
    label_days: int | None = None
    split: TableSplit = ""
    site: str = ""
    vendor: str = ""
    model: str = ""
    kernel: str = ""
    thickness_mm: float | None = None
    spacing_mm: tuple[float, float, float]
    sex: Sex = ""
    age_band: str = ""
    phantom: bool = False
    pixel_hash: str
    study_uid: str | None = None
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    sop_uids: tuple[str | None, ...]
    positions_mm: tuple[tuple[float, float, float], ...]
    slice_labels: tuple[str | None, ...] | None = None
    kind: Kind = "dicom"
    resampled: bool = False


class ScansWriter:
    """Adds scans to the archive of a shard, one in memory at a time."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive = archive

    def add(self, facts: ScanFacts, volume: Volume) -> None:
        """Add the voxels (int16 HU) and the facts of one scan."""
        self._archive.add(f"{facts.scan}.nii.gz", to_nifti_gz(volume))
        self._archive.add(f"{facts.scan}.json", facts.to_canonical_json() + "\n")


@contextmanager
def write_scans(path: Path) -> Iterator[ScansWriter]:
    """Write `NNNN.scans.zip`, atomically."""
    with write_archive(path) as archive:
        yield ScansWriter(archive)


class ScansReader(ArchiveReader):
    """Reads the scans of a shard one at a time. Raises ClaireError if the archive is damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, REMEDY)

    def __enter__(self) -> ScansReader:
        return self

    def scans(self) -> list[str]:
        """Return the pseudonyms of the scans in stored order."""
        return scan_names(self)

    def facts(self, scan: str) -> ScanFacts:
        """Return the facts of a scan."""
        return parse_document(self.read(f"{scan}.json"), ScanFacts, f"{self.path.name}: {scan}.json", REMEDY)

    def volume(self, scan: str) -> Volume:
        """Return the voxels of a scan."""
        return read_volume(self, scan)


def scan_names(archive: ArchiveReader) -> list[str]:
    """Return the scans whose voxels an archive holds. Raises ClaireError if a member's name is not a scan's."""
    names = [name.removesuffix(".nii.gz") for name in archive.names() if name.endswith(".nii.gz")]
    if not all(_NAME.fullmatch(name) for name in names):
        raise ClaireError(f"{archive.path.name} has a member whose name is not a scan's", archive.remedy)
    return names


def read_volume(archive: ArchiveReader, scan: str) -> Volume:
    """Return the voxels of `<scan>.nii.gz`. Raises ClaireError if they are damaged."""
    try:
        return from_nifti_gz(archive.read(f"{scan}.nii.gz"))
    except DAMAGE as error:
        problem = f"{archive.path.name} is damaged: scan {scan} cannot be read ({type(error).__name__})"
        raise ClaireError(problem, archive.remedy) from error
