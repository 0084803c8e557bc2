"""All objects of a scan: whose they are, and that writing again gives the same."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from claire.core.command.errors import RejectedScan
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from tests.deliver.helpers import (
    CREATED,
    PSEUDONYMS,
    Delivered,
    decoded,
    deliver_series,
    ingested,
    ingested_source,
    picture,
    write_enhanced,
)
from tests.support.command import claire
from tests.support.dicom_maker import SeriesMaker

#: Values of the source that every CT object shares or that are geometry, not identity.
_SHARED = {"CHEST", "AXIAL", "PRIMARY", "ORIGINAL", "DERIVED", "SECONDARY", "MONOCHROME2", "ISO_IR 192"}
_GEOMETRY = {"DS", "IS", "CS", "US", "SS", "UL", "OW", "OB", "FD"}
_REAL = os.environ.get("CLAIRE_REAL_DATA", "")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Delivered]:
    """Scans of `claire phantom`, whose headers identify made-up people."""
    folder = tmp_path_factory.mktemp("phantoms")
    flags = ["--preset", "tiny", "--patients", "2", "--size", "64", "--slices", "24", "--out", folder / "phantom"]
    assert claire("phantom", flags) == 0
    return ingested_source(folder / "phantom/source", folder / "phantom/labels.csv", folder)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    tags = {
        "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen", "PatientBirthDate": "19570102",
        "AccessionNumber": "ACC-99", "StudyID": "ST-7", "StudyDescription": "Thorax nativ", "StudyTime": "101112",
        "ReferringPhysicianName": "Vane^Mortimer", "IssuerOfPatientID": "St. Nowhere", "InstitutionName": "Clinic X",
        "StationName": "CT-ROOM-4", "DeviceSerialNumber": "SN-42", "PatientComments": "likes tea",
    }  # fmt: skip
    return deliver_series(tmp_path_factory.mktemp("series"), tags=tags)


def identifiers(files: list[Path]) -> set[str]:
    """Return every value of the source's headers that may identify: texts, names, dates and UIDs, private ones too."""
    found: set[str] = set()
    for file in files:
        for element in pydicom.dcmread(file, stop_before_pixels=True).iterall():
            if element.VR in _GEOMETRY or element.VR == "SQ":
                continue
            values = element.value if element.VM > 1 else [element.value]
            for value in values:
                parts = str(value).replace("=", "^").split("^") if isinstance(value, PersonName) else [str(value)]
                found |= {part for part in parts if len(part) >= 4}
    return {value for value in found if not value.startswith("1.2.840.10008") and value not in _SHARED}


def everything(folder: Path) -> bytes:
    return b"\n".join(path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir()))


def test_nothing_of_a_phantoms_identity_is_in_its_objects(phantoms: list[Delivered], out: Path) -> None:
    assert len(phantoms) >= 2
    for number, phantom in enumerate(phantoms):
        folder = out / str(number)
        phantom.write(folder)
        names = identifiers(phantom.files)
        assert len(names) > 40
        content = everything(folder)
        assert [name for name in names if name.encode() in content] == []


def test_nothing_of_an_identity_is_in_the_objects(delivered: Delivered, out: Path) -> None:
    delivered.write(out)
    names = identifiers(delivered.files) | {"4711", "063Y"}
    assert {"Müller", "19570102", "Clinic X", "CT-ROOM-4", "SN-42", "20200315", "1.2.3.200.7"} <= names
    content = everything(out)
    assert [name for name in names if name.encode() in content or name.encode("latin-1") in content] == []


def test_objects_hold_the_pseudonyms_of_the_scan(delivered: Delivered, out: Path) -> None:
    for path in delivered.write(out).values():
        instance = pydicom.dcmread(path)
        assert instance.PatientID == instance.PatientName == delivered.facts.patient
        assert (instance.PatientIdentityRemoved, instance.PatientSex) == ("YES", "F")
        assert instance.StudyInstanceUID == delivered.facts.study_uid
        assert instance.SeriesDescription.startswith("CLAIRE research use")
        dates = [element for element in instance.iterall() if element.VR in ("DA", "DT") and element.value]
        assert {str(element.value) for element in dates} <= {"19000101"}
        assert instance.get("FrameOfReferenceUID", delivered.facts.frame_of_reference_uid) == (
            delivered.facts.frame_of_reference_uid
        )


def test_with_the_identity_a_pacs_files_the_objects_by_the_source(delivered: Delivered, out: Path) -> None:
    source = pydicom.dcmread(delivered.files[0])
    source.decode()
    images = {pydicom.dcmread(file).SOPInstanceUID for file in delivered.files}
    for path in delivered.write(out, keep_identity=True).values():
        instance = pydicom.dcmread(path)
        for keyword in (
            "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientComments",
            "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription",
            "ReferringPhysicianName", "PatientAge",
        ):  # fmt: skip
            assert instance[keyword].value == source[keyword].value, keyword
        assert instance.SeriesInstanceUID != source.SeriesInstanceUID
        assert instance.ContentDate == CREATED.strftime("%Y%m%d")
        assert "PatientIdentityRemoved" not in instance
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert referenced(instance) >= images
        assert not referenced(instance) & {*delivered.facts.sop_uids}
        assert not any(name.encode() in path.read_bytes() for name in (delivered.facts.scan, delivered.facts.patient))


def test_a_damaged_identity_is_copied_as_it_stands(tmp_path: Path) -> None:
    """What a PACS holds of the source is what it must find in the objects."""
    tags = {"PatientBirthDate": "unknown", "PatientAge": "63", "PatientName": "a^b^c^d^e^f^g", "PatientID": "K7" * 35}
    delivered = deliver_series(tmp_path, tags=tags, labels=f"patient_id,label\n{'K7' * 35},positive\n")
    for path in delivered.write(tmp_path / "objects", keep_identity=True).values():
        instance = pydicom.dcmread(path)
        assert {keyword: str(instance[keyword].value) for keyword in tags} == tags


def referenced(instance: Dataset) -> set[str]:
    return {element.value for element in instance.iterall() if element.keyword == "ReferencedSOPInstanceUID"}


def test_writing_again_gives_the_same_bytes(delivered: Delivered, out: Path) -> None:
    for identity in (False, True):
        first = delivered.write(out / f"first{identity}", keep_identity=identity)
        again = delivered.write(out / f"again{identity}", keep_identity=identity)
        assert {kind: path.read_bytes() for kind, path in first.items()} == {
            kind: path.read_bytes() for kind, path in again.items()
        }


def test_uids_differ_by_model_and_identity(delivered: Delivered, out: Path) -> None:
    other = dataclasses.replace(delivered, diagnosis=dataclasses.replace(delivered.diagnosis, model_sha256="cd" * 32))
    written = [
        *delivered.write(out / "a").values(),
        *delivered.write(out / "b", keep_identity=True).values(),
        *other.write(out / "c").values(),
    ]
    own = [
        uid
        for path in written
        for uid in (pydicom.dcmread(path).SOPInstanceUID, pydicom.dcmread(path).SeriesInstanceUID)
    ]
    assert len({*own}) == len(own)


def test_no_log_names_the_source(delivered: Delivered, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        delivered.write(out, keep_identity=True)
    assert [name for name in identifiers(delivered.files) if name in caplog.text] == []


def test_a_diagnosis_of_another_scan_is_a_bug(delivered: Delivered, out: Path) -> None:
    other = dataclasses.replace(delivered, diagnosis=dataclasses.replace(delivered.diagnosis, scan="S0"))
    with pytest.raises(ValueError, match="diagnosis of scan S0"):
        other.write(out)


def test_an_error_leaves_no_object(delivered: Delivered, out: Path) -> None:
    with pytest.raises(RejectedScan):
        dataclasses.replace(delivered, files=delivered.files[1:]).write(out)
    assert [*out.iterdir()] == []


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools is not installed")
@pytest.mark.parametrize("kind", ["single", "enhanced", "tilted"])
def test_dciodvfy_finds_no_error(kind: str, tmp_path: Path) -> None:
    if kind == "enhanced":
        write_enhanced(tmp_path / "in", SeriesMaker(), files=2)
        scan = ingested(tmp_path)
    else:
        tilted = {"step": (0.0, 0.7, 2.0)} if kind == "tilted" else {}
        scan = deliver_series(tmp_path, "--gantry-tilt", "resample", **tilted)
    for identity in (False, True):
        for path in scan.write(tmp_path / str(identity), keep_identity=identity).values():
            told = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
            assert [line for line in told.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.skipif(not _REAL, reason="CLAIRE_REAL_DATA is not set")
@pytest.mark.parametrize("name", ["chest_ct_dicom_tiny", "covid_ct_md_dicom"])
def test_real_series(name: str, tmp_path: Path) -> None:
    """Series of scanners: compressed, thinned, in an order of files that is not that of the slices."""
    source = Path(_REAL) / name
    uids = {}
    for file in source.rglob("*"):
        if file.is_file() and file.suffix != ".csv":
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            uids[str(header.get("SeriesInstanceUID", ""))] = None
    (tmp_path / "labels.csv").write_text("series_uid,label\n" + "".join(f"{uid},positive\n" for uid in uids if uid))
    scans = ingested_source(source, tmp_path / "labels.csv", tmp_path)
    assert scans
    for scan in scans:
        scan.pictures["Second"] = picture(900, 700)
        paths = scan.write(tmp_path / scan.facts.scan)
        np.testing.assert_array_equal(decoded(paths["seg"], scan), scan.labels.data)
        if None in scan.facts.sop_uids:
            continue
        identified = scan.write(tmp_path / f"{scan.facts.scan}-identified", keep_identity=True)
        np.testing.assert_array_equal(decoded(identified["seg"], scan), scan.labels.data)
        places = {
            PSEUDONYMS.uid(image.SOPInstanceUID): np.array(image.ImagePositionPatient, float)
            for image in (pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in scan.files)
        }
        for groups in pydicom.dcmread(paths["seg"]).PerFrameFunctionalGroupsSequence:
            image = groups.DerivationImageSequence[0].SourceImageSequence[0]
            place = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
            assert np.abs(places[image.ReferencedSOPInstanceUID] - place).max() < 1e-3
