"""`NNNN.lungs.zip`: the lung masks of a shard, `<scan>.nii.gz` (0 none, 1 right, 2 left) and `<scan>.json` each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from claire.core.command.documents import Document, Part, parse_document
from claire.core.contracts.archive import ArchiveReader, ArchiveWriter, write_archive
from claire.core.contracts.scans import read_volume, scan_names
from claire.core.imaging.volume import Volume, to_nifti_gz

REMEDY = "Run `claire segment` again for this shard."


class LungFacts(Part):
    """Quality of a mask: volumes in ml, pieces of aerated lung before closing, share of the mask that closing added."""

    right_ml: float
    left_ml: float
    components: int
    cut_at_border: bool
    mean_hu: float
    closed_fraction: float
    warnings: tuple[str, ...] = ()


class MaskFacts(Document):
    """The result of segment for a scan: the quality of its mask, or the reason why it has none."""

    scan: str
    lungs: LungFacts | None = None
    rejected: str = ""


class MasksWriter:
    """Adds masks to the archive of a shard."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive = archive

    def add(self, scan: str, mask: Volume, lungs: LungFacts) -> None:
        """Add the mask of one scan, uint8 on the scan's grid."""
        self._archive.add(f"{scan}.nii.gz", to_nifti_gz(mask))
        self._archive.add(f"{scan}.json", MaskFacts(scan=scan, lungs=lungs).to_canonical_json() + "\n")

    def add_rejected(self, scan: str, reason: str) -> None:
        """Record that a scan has no mask, with the reason."""
        self._archive.add(f"{scan}.json", MaskFacts(scan=scan, rejected=reason).to_canonical_json() + "\n")


@contextmanager
def write_masks(path: Path) -> Iterator[MasksWriter]:
    """Write `NNNN.lungs.zip`, atomically."""
    with write_archive(path) as archive:
        yield MasksWriter(archive)


class MasksReader(ArchiveReader):
    """Reads the masks of a shard one at a time. Raises ClaireError if the archive is damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, REMEDY)

    def __enter__(self) -> MasksReader:
        return self

    def scans(self) -> list[str]:
        """Return the pseudonyms of the scans that have a mask, in stored order."""
        return scan_names(self)

    def facts(self, scan: str) -> MaskFacts:
        """Return the result of segment for a scan."""
        return parse_document(self.read(f"{scan}.json"), MaskFacts, f"{self.path.name}: {scan}.json", REMEDY)

    def volume(self, scan: str) -> Volume:
        """Return the mask of a scan."""
        return read_volume(self, scan)
