"""`claire ingest`: HU, geometry, labels, rejects, and no identifier left."""

from __future__ import annotations

import csv
import gzip
import json
import stat
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from claire.core.contracts.scans import ScansReader
from claire.core.contracts.shard_list import write_shard_list

from tests.ingest.helpers import KEY, everything, go, make
from tests.support.command import claire
from tests.support.dicom_maker import chest, edit


def test_voxels_are_hu_in_the_order_of_positions(tmp_path: Path) -> None:
    made = make(tmp_path)
    volume, _ = go(tmp_path).scan()
    assert volume.data.dtype == np.int16
    assert np.array_equal(volume.data, made.hu)


def test_the_affine_puts_voxels_into_the_patient(tmp_path: Path) -> None:
    make(tmp_path, pixel=0.7, spacing=2.5, origin=(-100.0, -80.0, 33.0))
    volume, facts = go(tmp_path).scan()
    assert volume.spacing_mm == pytest.approx((2.5, 0.7, 0.7), abs=1e-5)
    assert volume.affine @ [10, 20, 3, 1] == pytest.approx([100 - 7, 80 - 14, 33 + 7.5, 1], abs=1e-4)
    assert volume.affine[0, 0] < -np.abs(volume.affine[0, 1:3]).max()  # columns grow to the patient's left
    assert facts.positions_mm[3] == (-100.0, -80.0, 40.5)


def test_slices_from_head_to_feet_are_sorted_along_the_normal(tmp_path: Path) -> None:
    made = make(tmp_path, spacing=-2.0, tags={"SliceThickness": 2})
    volume, facts = go(tmp_path).scan()
    assert np.array_equal(volume.data, made.hu[::-1])
    assert facts.positions_mm[0][2] < facts.positions_mm[-1][2]


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.0, -1000.0), (0.5, -1024.5)])
def test_slope_and_intercept_are_applied(tmp_path: Path, slope: float, intercept: float) -> None:
    made = make(tmp_path, slope=slope, intercept=intercept)
    volume, _ = go(tmp_path).scan()
    assert np.abs(volume.data.astype(int) - made.hu).max() <= slope / 2 + 0.5


def test_padding_becomes_air(tmp_path: Path) -> None:
    hu = chest()
    hu[:, :3] = -2024
    hu[:, -3:] = -3024
    make(tmp_path, hu=hu, tags={"PixelPaddingValue": -1000})
    volume, _ = go(tmp_path).scan()
    assert (volume.data[:, :3] == -1024).all()
    assert (volume.data[:, -3:] == -1024).all()


def test_the_sidecar_says_what_may_leave_the_site(tmp_path: Path) -> None:
    make(tmp_path)
    labels = "patient_id,label,reference_standard,label_date,split,site,sex,age\n4711,pos,RT-PCR,2020-03-17,test,A,,\n"
    _, facts = go(tmp_path, labels=labels).scan()
    assert (facts.label, facts.reference_standard, facts.label_days) == ("pos", "RT-PCR", 2)
    assert (facts.split, facts.site, facts.sex, facts.age_band) == ("test", "A", "F", "60-69")
    assert (facts.vendor, facts.model, facts.kernel, facts.thickness_mm) == ("other", "", "B30f", 2)
    assert facts.kind == "dicom"
    assert not facts.phantom
    assert not facts.resampled
    assert facts.patient.startswith("P")
    assert facts.scan.startswith("S")
    assert len(set(facts.sop_uids)) == 24
    assert facts.slice_labels is None


def test_a_quality_control_image_is_a_phantom(tmp_path: Path) -> None:
    make(tmp_path, tags={"QualityControlImage": "YES"})
    assert go(tmp_path).scan()[1].phantom is True


def test_the_key_alone_decides_the_pseudonyms(tmp_path: Path) -> None:
    make(tmp_path)
    first, again, other = (
        go(tmp_path, out=name, key=key).scan()[1] for name, key in (("x", KEY), ("y", KEY), ("z", KEY[::-1]))
    )
    assert first == again
    for name in ("scan", "patient", "study_uid", "series_uid", "pixel_hash"):
        assert getattr(first, name) != getattr(other, name)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path)
    one, two = go(tmp_path, out="x").out, go(tmp_path, "--threads", "2", out="y").out
    for name in ("0000.scans.zip", "0000.ingest.rejects.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def uneven() -> list[list[float]]:
    return [[-120.0, -120.0, 2.0 * n + (0.9 if n % 2 else 0)] for n in range(24)]


@pytest.mark.parametrize(
    ("reason", "maker", "keep"),
    [
        ("too_few_slices", {"hu": chest(12)}, None),
        ("missing_slices", {}, [n for n in range(24) if n not in (5, 6)]),
        ("coincident_slices", {"positions": [[-120, -120, 2.0 * min(n, 22)] for n in range(24)]}, None),
        ("inconsistent", {"positions": uneven()}, None),
        ("gantry_tilt", {"step": (0.0, 0.5, 2.0)}, None),
        ("localiser", {"tags": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}}, None),
        ("not_ct", {"tags": {"Modality": "MR"}}, None),
        ("not_hu", {"tags": {"RescaleIntercept": 0}}, None),
        ("not_hu", {"tags": {"RescaleSlope": 0}}, None),
        ("unreadable", {"tags": {"PixelData": b"\0" * 100}}, None),
        ("unreadable", {"tags": {"Rows": 60000, "Columns": 60000}}, None),
        ("inconsistent", {"tags": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}}, None),
        ("ambiguous_patient", {"tags": {"PatientID": "Anonymous"}}, None),
    ],
)
def test_a_series_that_cannot_be_used_is_set_aside(
    tmp_path: Path, reason: str, maker: dict[str, Any], keep: list[int] | None
) -> None:
    make(tmp_path, keep=keep, **maker)
    done = go(tmp_path, labels="path,label\na,positive\n")
    assert (done.code, done.reasons, done.scans()) == (0, [reason], [])


@pytest.mark.parametrize(
    ("reason", "tags"),
    [
        ("inconsistent", {"PixelSpacing": [4.0, 4.0]}),
        ("mixed_orientation", {"ImageOrientationPatient": [1, 0, 0, 0, 0.9, 0.435889894]}),
        ("inconsistent", {"Rows": 24, "PixelData": bytes(24 * 48 * 2)}),
        ("inconsistent", {"FrameOfReferenceUID": "1.9.9"}),
        ("unreadable", {"PixelData": b"\0" * 10}),
    ],
)
def test_one_odd_slice_sets_the_series_aside(tmp_path: Path, reason: str, tags: dict[str, Any]) -> None:
    make(tmp_path)
    edit(sorted((tmp_path / "in/a").iterdir())[7], **tags)
    assert go(tmp_path).reasons == [reason]


def test_a_bad_series_does_not_stop_the_good_ones(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, name="b", patient="12", study="1.5", series="1.6", hu=chest(3))
    done = go(tmp_path, labels="patient_id,label\n4711,x\n12,y\n")
    assert (done.code, done.reasons, len(done.scans())) == (0, ["too_few_slices"], 1)


def test_series_that_were_not_chosen_are_listed_with_the_reason(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, name="b", series="1.6", spacing=4.0, hu=chest(20))
    (row,) = [row for row in go(tmp_path).rejects if row["line"] == "0"]
    assert (row["reason"], row["detail"], row["shard"]) == ("not_chosen", "covers 46 of 76 mm", "0000")


def test_what_is_no_ct_is_listed_as_such_even_alone_in_its_study(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, name="b", study="1.5", series="1.6", hu=chest(1), tags={"Modality": "SEG"})
    (row,) = go(tmp_path).rejects
    assert (row["reason"], row["detail"]) == ("not_ct", "no scan: segmentation (SEG)")


def test_a_tilted_scan_is_straightened_on_request(tmp_path: Path) -> None:
    hu, shift = chest(), 0.4
    tilted = np.stack([np.roll(slice_, -round(n * 5 * shift / 5), axis=0) for n, slice_ in enumerate(hu)])
    make(tmp_path, hu=tilted, spacing=5.0, step=(0.0, 5 * shift, 5.0))
    volume, facts = go(tmp_path, "--gantry-tilt", "resample").scan()
    assert facts.resampled is True
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-6)
    assert volume.data.shape == (24, 48 + 10, 48)


def test_a_missing_label_is_never_a_negative(tmp_path: Path) -> None:
    make(tmp_path)
    assert go(tmp_path, labels="patient_id,label\nsomebody,negative\n").reasons == ["no_label"]
    assert go(tmp_path, labels="patient_id,label\n4711,\n").reasons == ["no_label"]


@pytest.mark.parametrize(
    "labels", ["study_uid,label\n1.2.3.100,x\n", "series_uid,label\n1.2.3.200,x\n", "path,label\na/,x\n"]
)
def test_labels_are_found_by_any_key(tmp_path: Path, labels: str) -> None:
    make(tmp_path)
    assert go(tmp_path, labels=labels).scan()[1].label == "x"


def test_the_table_may_name_the_patient(tmp_path: Path) -> None:
    make(tmp_path, patient="")
    make(tmp_path, name="b", patient="0", study="1.5", series="1.6")
    done = go(tmp_path, labels="path,label,patient\na,x,one\nb,y,one\n")
    assert len({facts.patient for _, facts in done.scans()}) == 1


def test_a_patient_id_with_two_birth_dates_is_refused(tmp_path: Path) -> None:
    make(tmp_path, tags={"PatientBirthDate": "19570101"})
    make(tmp_path, name="b", study="1.5", series="1.6", tags={"PatientBirthDate": "19910101"})
    assert go(tmp_path).reasons == ["ambiguous_patient"] * 2


def test_the_issuer_tells_patients_with_the_same_id_apart(tmp_path: Path) -> None:
    for name, sex in (("a", "M"), ("b", "F")):
        make(
            tmp_path,
            name=name,
            study=f"1.{sex == 'M':d}",
            series=f"2.{sex == 'M':d}",
            tags={"IssuerOfPatientID": name, "PatientSex": sex},
        )
    done = go(tmp_path)
    assert len({facts.patient for _, facts in done.scans()}) == 2


@pytest.mark.parametrize(
    "table",
    ["patient_id,slice,label\n4711,3,lesion\n4711,0,clear\n", "patient_id,sop_uid,label\n4711,1.2.3.200.4,lesion\n"],
)
def test_slices_have_the_labels_that_somebody_gave(tmp_path: Path, table: str) -> None:
    make(tmp_path)
    (tmp_path / "slices.csv").write_text(table)
    labels = go(tmp_path, "--slice-labels", str(tmp_path / "slices.csv")).scan()[1].slice_labels
    assert labels[3] == "lesion"
    assert labels[1] is None
    assert len(labels) == 24


def test_a_label_for_a_slice_that_is_not_there_sets_the_scan_aside(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "slices.csv").write_text("patient_id,slice,label\n4711,24,lesion\n")
    assert go(tmp_path, "--slice-labels", str(tmp_path / "slices.csv")).reasons == ["inconsistent"]


@pytest.mark.parametrize("key", ["", "short", "            \n       \n"])
def test_a_short_key_is_refused(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, hu=chest(4))
    assert go(tmp_path, key=key).code == 2
    assert "at least 16" in capsys.readouterr().err


def compressed(folder: Path) -> None:
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        data.save_as(path)


def test_compressed_voxels_are_the_same(tmp_path: Path) -> None:
    made = make(tmp_path)
    compressed(tmp_path / "in/a")
    assert np.array_equal(go(tmp_path, "--threads", "2").scan()[0].data, made.hu)


def test_damaged_compressed_voxels_are_set_aside(tmp_path: Path) -> None:
    make(tmp_path)
    compressed(tmp_path / "in/a")
    path = sorted((tmp_path / "in/a").iterdir())[3]
    path.write_bytes(path.read_bytes()[:-200])
    assert go(tmp_path).reasons == ["unreadable"]


def test_nifti_scans_enter_turned_as_dicom(tmp_path: Path) -> None:

    hu = chest()
    folder = tmp_path / "in/sub-7"
    folder.mkdir(parents=True)
    image = nib.Nifti1Image(hu.transpose(2, 1, 0)[::-1, ::-1].copy(), np.diag([5.0, 5, 2, 1]))
    nib.save(image, folder / "ct.nii.gz")
    volume, facts = go(tmp_path, labels="path,label\nsub-7,x\n").scan()
    assert np.array_equal(volume.data, hu)
    assert volume.affine[0, 0] < -np.abs(volume.affine[0, 1:3]).max()  # columns grow to the patient's left
    assert (facts.kind, facts.study_uid, facts.sop_uids) == ("nifti", None, (None,) * 24)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08", gzip.compress(b"\0" * 400), gzip.compress(b"x" * 5000)])
def test_damaged_nifti_files_are_set_aside(tmp_path: Path, content: bytes) -> None:
    make(tmp_path)
    (tmp_path / "in/bad.nii.gz").write_bytes(content)
    assert go(tmp_path).reasons == ["unreadable"]


IDENTITY = {
    "PatientName": "Mustermann^Erika",
    "PatientBirthDate": "19570812",
    "AccessionNumber": "ACC778899",
    "InstitutionName": "Hospital Zum Guten Hirten",
    "ReferringPhysicianName": "Hippokrates^Kos",
    "StudyDate": "20200319",
    "StudyDescription": "Thorax Mustermann",
    "SeriesDescription": "axial Mustermann",
    "StationName": "CTRAUM3",
    "PatientAddress": "Heidestrasse 17",
    "DeviceSerialNumber": "SN-424242",
    "ManufacturerModelName": "Scan Mustermann 3",
    "ConvolutionKernel": "B30 QX-0815",
}
SECRETS = (
    *("mustermann", "erika", "19570812", "1957-08-12", "acc778899", "hirten", "hippokrates", "20200319", "2020-03-19"),
    *("ctraum3", "heidestrasse", "424242", "qx-0815", "1.2.840.99.1", "1.2.840.99.2", "geheim", "im0000", KEY.lower()),
)


@pytest.fixture
def identifiable(tmp_path: Path) -> Path:
    """Two series of one person, a good and a broken one, in folders that name her."""
    who = {"patient": "QX-0815", "study": "1.2.840.99.1", "tags": IDENTITY}
    make(tmp_path, name="Geheim/a", series="1.2.840.99.2", **who)
    make(tmp_path, name="Geheim/b", series="1.2.840.99.22", hu=chest(5), **who | {"study": "1.2.840.99.11"})
    bad = make(tmp_path, name="Geheim/c", series="1.2.840.99.23", **who | {"study": "1.2.840.99.12"})
    edit(next((tmp_path / "in/Geheim/c").iterdir()), PixelData=b"\0" * 8)
    (tmp_path / "in/Geheim/mustermann.dcm").write_bytes(b"\0" * 128 + b"DICMmustermann^erika qx-0815")
    assert len(bad.hu)
    return tmp_path


def test_no_identifier_is_left_anywhere(identifiable: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = go(identifiable, "--log-level", "debug", labels="patient_id,label\nQX-0815,x\n")
    (done.out / "0000.shard.jsonl").unlink()
    told = capfd.readouterr()
    text = everything(done.out) + told.out.lower() + told.err.lower()
    assert sorted(done.reasons) == ["too_few_slices", "unreadable", "unreadable"]
    assert [secret for secret in SECRETS if secret in text] == []
    facts = done.scans()[0][1]
    assert (facts.model, facts.kernel, facts.age_band) == ("", "", "60-69")
    assert "the table from pseudonyms to series is not written" in told.err


def test_an_unforeseen_error_tells_no_identifier(
    identifiable: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Mustermann at /in/Geheim")

    monkeypatch.setattr("claire.ingest.scan.make_stack", fail)
    done = go(identifiable, labels="patient_id,label\nQX-0815,x\n")
    told = capfd.readouterr().err
    assert done.code == 1
    assert "unexpected ValueError" in told
    assert [path.name for path in done.out.iterdir() if ".ingest." in path.name or ".scans." in path.name] == []
    (done.out / "0000.shard.jsonl").unlink()
    assert [secret for secret in SECRETS if secret in told.lower() + everything(done.out)] == []


def test_the_way_back_is_private(identifiable: Path) -> None:
    private = identifiable / "private"
    done = go(identifiable, "--private", str(private), labels="patient_id,label\nQX-0815,x\n")
    table = private / "0000.private.csv"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    with table.open() as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    good = rows["Geheim/a"]
    assert (good["patient_id"], good["series_uid"], good["reason"]) == ("QX-0815", "1.2.840.99.2", "")
    assert (good["scan"], good["patient"]) == (done.scans()[0][1].scan, done.scans()[0][1].patient)
    assert rows["Geheim/b"]["reason"] == "too_few_slices"


def test_the_record_is_written_and_counts(tmp_path: Path) -> None:
    make(tmp_path)
    record = json.loads((go(tmp_path).out / "0000.ingest.run.json").read_text())
    assert record["counts"] == {"scans": 1}
    assert set(record["outputs"]) == {"0000.scans.zip", "0000.ingest.rejects.csv"}
    assert set(record["inputs"]) == {"shard", "labels"}


def test_private_tables_need_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, hu=chest(4))
    (tmp_path / "file").write_text("")
    done = go(tmp_path, "--private", str(tmp_path / "file"))
    assert done.code == 2
    assert "a file is in the way" in capsys.readouterr().err
    assert not (done.out / "0000.scans.zip").exists()


def test_an_empty_shard_gives_empty_outputs(tmp_path: Path) -> None:
    make(tmp_path, hu=chest(4))
    done = go(tmp_path)
    write_shard_list(done.out / "0001.shard.jsonl", [])
    flags = ["--shard", str(done.out / "0001.shard.jsonl"), "--labels", str(tmp_path / "labels.csv")]
    more = ["--source", str(tmp_path / "in"), "--key", str(tmp_path / "key"), "--out", str(done.out)]
    assert claire("ingest", [*flags, *more]) == 0
    with ScansReader(done.out / "0001.scans.zip") as shard:
        assert shard.scans() == []


def test_a_relative_private_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, hu=chest(4))
    done = go(tmp_path, "--private", "private")
    assert done.code == 2
    assert "relative path" in capsys.readouterr().err
    assert not (done.out / "0000.scans.zip").exists()


def test_only_labels_of_this_shard_make_it_anew(tmp_path: Path) -> None:
    make(tmp_path)
    options = ("--store", str(tmp_path / "store"))
    results = tmp_path / "store/ingest"
    for labels, count in (
        ("patient_id,label\n4711,x\n", 1),
        ("patient_id,label\nsomebody,y\n4711,x\n", 1),
        ("patient_id,label\n4711,y\n", 2),
        ("patient_id,label,site\n4711,x,A\n", 3),
    ):
        assert go(tmp_path, *options, labels=labels).code == 0
        assert len([*results.iterdir()]) == count, labels


def test_without_a_table_scans_enter_unlabelled_and_the_nameless_are_patients_of_their_own(tmp_path: Path) -> None:
    for name, patient in (("a", "anonymous"), ("b", "anonymous"), ("c", "4711")):
        make(tmp_path, name=name, patient=patient, study=f"1.2.3.1.{ord(name)}", series=f"1.2.3.2.{ord(name)}")
    done = go(tmp_path, labels=None)
    facts = [facts for _, facts in done.scans()]
    assert done.reasons == []
    assert {each.label for each in facts} == {""}
    assert len({each.patient for each in facts}) == 3
