"""NIfTI scans and the JSON beside them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from claire.core.sources.dicom import UnreadableHeader
from claire.core.sources.nifti import read_header

SHAPE = (6, 5, 4)


def write(path: Path, affine: np.ndarray, data: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(SHAPE) if data is None else data, affine), path)
    return path


def test_both_kinds_of_json_are_understood(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nii.gz", np.eye(4))
    for facts in (
        {
            "00100020": {"vr": "LO", "Value": ["p"]},
            "00180050": {"Value": [1.5]},
            "00100010": {"Value": [{"Alphabetic": "D^J"}]},
        },
        {"PatientID": "p", "SliceThickness": 1.5, "PatientName": "D^J"},
    ):
        (tmp_path / "x.json").write_text(json.dumps(facts))
        header, _ = read_header(path)
        assert (header.patient_id, header.thickness, header.names) == ("p", 1.5, ("D^J",))


def test_a_bids_path_names_the_patient(tmp_path: Path) -> None:
    assert read_header(write(tmp_path / "sub-S1/ses-E2/ct.nii.gz", np.eye(4)))[0].patient_id == "sub-S1"
    assert read_header(write(tmp_path / "sub-S2_ct.nii.gz", np.eye(4)))[0].patient_id == "sub-S2"


@pytest.mark.parametrize("data", [np.zeros((4, 4, 4, 3), np.int16), np.zeros((4, 4), np.int16)])
def test_what_is_no_volume_is_refused(tmp_path: Path, data: np.ndarray) -> None:
    with pytest.raises(UnreadableHeader):
        read_header(write(tmp_path / "x.nii", np.eye(4), data))


@pytest.mark.parametrize("text", ["{Doe^Jane", '["Doe^Jane"]'])
def test_a_json_that_is_none_is_refused_without_its_text(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "x.nii", np.eye(4))
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UnreadableHeader) as caught:
        read_header(path)
    assert "Doe" not in str(caught.value)
