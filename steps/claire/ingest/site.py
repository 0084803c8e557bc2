"""Settings shared by the scans of a shard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from claire.core.contracts.labels import LabelTable, SliceTable
from claire.core.privacy.pseudonym import Pseudonyms


@dataclass(frozen=True)
class Site:
    """Source directory, tables, pseudonyms and flags. `labels`: None where scans enter unlabelled, to be predicted.

    `ambiguous`: (issuer, PatientID) that may be several people; `shared_studies`: StudyInstanceUIDs of several
    PatientIDs.
    """

    source: Path
    shard: str
    labels: LabelTable | None
    slice_labels: SliceTable | None
    pseudonyms: Pseudonyms
    ambiguous: frozenset[tuple[str, str]]
    shared_studies: frozenset[str]
    resample_tilt: bool
    min_slices: int
    threads: int
