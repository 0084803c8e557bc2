"""The formats of scans: every format of a volume has a reader of its header and one of its voxels."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.sources.formats import DICOM, VOLUMES, kind_of
from claire.ingest.scan import VOXELS


def test_every_volume_format_has_a_reader_of_voxels() -> None:
    assert set(VOLUMES) == set(VOXELS)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.nii", "nifti"), ("b.c.nii.gz", "nifti"), ("IM0001", DICOM), ("a.nii.json", DICOM)]
)
def test_the_suffix_tells_the_kind(name: str, kind: str) -> None:
    assert kind_of(Path(name)) == kind
