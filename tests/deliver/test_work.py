"""The step on what the steps before it wrote: pages, list, objects, identity, pictures."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.record import read_record
from claire.core.contracts.lesions import FoundScan, read_found_lesions, write_found_lesions
from claire.core.contracts.predictions import PredictedScan, read_predictions, write_predictions
from claire.core.contracts.rejects import read_rejects
from claire.core.contracts.scans import ScansReader
from claire.core.imaging.affine import voxel_ml
from claire.deliver import Parameters
from claire.deliver.inputs import Inputs
from claire.deliver.list_page import ListPage
from claire.deliver.patient_page import ScanResult
from claire.deliver.scan_objects import Written

from tests.support.damage import flip_a_voxel
from tests.support.predicting import SECRETS, Predicted, call


@pytest.fixture(scope="module")
def new(predicted: Predicted) -> Predicted:
    return predicted


@pytest.fixture(scope="module")
def pages(new: Predicted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results with the default parameters."""
    return deliver(new, tmp_path_factory.mktemp("pages"))


def deliver(new: Predicted, out: Path, **changes: Any) -> Path:
    call("deliver", **new.parameters(out, **changes))
    return out


def scans(new: Predicted) -> dict[str, PredictedScan]:
    return {scan.scan: scan for scan in read_predictions(new.out / "predictions.json").scans}


def found(new: Predicted) -> dict[str, FoundScan]:
    return {scan.explained.scan: scan for scan in read_found_lesions(new.out / "scans.lesions.json").scans}


def kinds(new: Predicted) -> dict[str, str]:
    """Return the format of each scan by pseudonym."""
    with ScansReader(new.out / "0000.scans.zip") as archive:
        return {scan: archive.facts(scan).kind for scan in archive.scans()}


def of_kind(new: Predicted, kind: str) -> list[PredictedScan]:
    return [scan for name, scan in scans(new).items() if kinds(new)[name] == kind]


def text(path: Path) -> str:
    """Return a page without its style and pictures."""
    content = re.sub(r"<style>.*?</style>|data:image/png;base64,[\w+/=]+", "", path.read_text(), flags=re.DOTALL)
    return " ".join(content.split())


def pictures(path: Path) -> int:
    return path.read_text().count("data:image/png;base64,")


def test_every_patient_has_a_page_and_every_scan_a_row(new: Predicted, pages: Path) -> None:
    predictions = read_predictions(new.out / "predictions.json")
    assert {path.stem for path in pages.glob("P*.html")} == {patient.patient for patient in predictions.patients}
    listed = text(pages / "index.html")
    for scan in predictions.scans:
        assert f'href="{scan.patient}.html#{scan.scan}"' in listed
        assert f'id="{scan.scan}"' in text(pages / f"{scan.patient}.html")
    record = read_record(pages / "deliver.run.json")
    assert {*record.outputs} == {path.name for path in pages.iterdir()} - {"deliver.run.json"}
    assert record.counts["scans"] == len(predictions.scans) == 5
    assert record.counts["objects"] == len([*pages.glob("*.dcm")])


def test_pages_need_no_network_and_run_no_script(pages: Path) -> None:
    for path in pages.glob("*.html"):
        content = path.read_text()
        assert "default-src 'none'" in content
        assert "<script" not in content
        assert not re.search(r'(src|href)="(?!data:|#|[PS]\w+\.html|index\.html)', content)
        assert "Research use only, not a medical device" in content


def test_nobody_is_named_by_default(pages: Path) -> None:
    for path in pages.iterdir():
        # Without embedded pictures: their base64 may spell any three letters.
        content = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", path.read_bytes())
        assert [secret for secret in SECRETS if secret.encode() in content] == [], path.name


def test_the_verdict_is_told_or_that_the_model_cannot_tell(new: Predicted, pages: Path) -> None:
    told = 0
    for scan in scans(new).values():
        page = text(pages / f"{scan.patient}.html").split(f'id="{scan.scan}"')
        said = page[1] if len([each for each in scans(new).values() if each.patient == scan.patient]) > 1 else page[0]
        if scan.verdict.cannot_tell:
            assert "The model cannot tell." in said
            assert all(reason in said for reason in scan.out_of_cohort)
            assert f"Called “{scan.verdict.decision.decision}”" not in said.partition("What the model is")[0]
        else:
            told += 1
            assert f"Called “{scan.verdict.decision.decision}”" in said
            assert f"{scan.verdict.probability['positive'] * 100:.0f} %" in said
    assert 0 < told < len(scans(new))


def test_lesions_stand_with_their_sentence_and_with_how_far_they_can_be_believed(new: Predicted, pages: Path) -> None:
    closed = [gate for gate in read_found_lesions(new.out / "scans.lesions.json").gates if not gate.open]
    assert closed
    for name, scan in found(new).items():
        page = text(pages / f"{scans(new)[name].patient}.html")
        assert "Do not rely on these lesions" in page
        assert f"did not pass {len(closed)} of" in page
        assert scan.explained.sentence in page
        assert scan.ranked == (not scans(new)[name].verdict.cannot_tell)
        assert scan.explained.sentence.startswith("The model cannot tell in this scan") == (not scan.ranked)
        for lesion in scan.explained.lesions:
            assert f"{lesion.volume_ml:.1f} ml" in page


def test_what_was_set_aside_is_told_with_its_reason(new: Predicted, pages: Path) -> None:
    listed = text(pages / "index.html")
    rejects = read_rejects(sorted(new.out.glob("*.rejects.csv")))
    assert {row.reason for row in rejects} == {"no_lungs", "too_few_slices"}
    for row in rejects:
        assert row.scan in listed
    assert "No lungs found" in listed
    assert "Fewer slices than --min-slices" in listed


def test_a_nifti_scan_has_a_page_and_no_objects(new: Predicted, pages: Path) -> None:
    (scan,) = of_kind(new, "nifti")
    assert [*pages.glob(f"{scan.scan}.*.dcm")] == []
    assert "came as NIFTI, not as DICOM" in text(pages / f"{scan.patient}.html")
    assert read_record(pages / "deliver.run.json").counts["scans_not_dicom"] == 1


def test_objects_have_the_lesions_where_explain_found_them(new: Predicted, pages: Path) -> None:
    with ScansReader(new.out / "0000.scans.zip") as archive:
        for scan in of_kind(new, "dicom"):
            volume, lesions = archive.volume(scan.scan), found(new)[scan.scan].explained.lesions
            segmentation = pydicom.dcmread(pages / f"{scan.scan}.lesions.seg.dcm")
            frames = segmentation.pixel_array.reshape(-1, *volume.data.shape[1:])
            groups = segmentation.PerFrameFunctionalGroupsSequence
            for segment in segmentation.SegmentSequence:
                points = []
                for frame, group in zip(frames, groups, strict=True):
                    if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment.SegmentNumber:
                        rows, columns = np.nonzero(frame)
                        x, y, z = map(float, group.PlanePositionSequence[0].ImagePositionPatient)
                        points += [(x + 7 * c, y + 7 * r, z) for r, c in zip(rows, columns, strict=True)]
                (lesion,) = [each for each in lesions if f"lesion {each.id}" == segment.TrackingID]
                voxel = np.array([7.0, 7.0, 9.0])
                assert (np.abs(np.mean(points, axis=0) - lesion.centroid_lps_mm) <= voxel).all()
                assert len(points) * voxel_ml(volume.affine) == pytest.approx(lesion.volume_ml, rel=0.3, abs=1.5)


def test_a_report_has_no_decision_where_the_model_cannot_tell(new: Predicted, pages: Path) -> None:
    for scan in of_kind(new, "dicom"):
        report = str(pydicom.dcmread(pages / f"{scan.scan}.report.sr.dcm"))
        assert ("Decision at operating point" in report) == (not scan.verdict.cannot_tell)


@pytest.mark.parametrize(("policy", "shown"), [("none", 0), ("phantom", 1), ("all", 2)])
def test_pictures_follow_the_policy(new: Predicted, out: Path, policy: str, shown: int) -> None:
    deliver(new, out, images=policy)
    for scan in scans(new).values():
        own = [each for each in scans(new).values() if each.patient == scan.patient]
        allowed = shown == 2 or (shown == 1 and scan.phantom)
        assert pictures(out / f"{scan.patient}.html") == (2 * len(own) if allowed else 0)
        captures = [*out.glob(f"{scan.scan}.*.sc.dcm")]
        assert len(captures) == (2 if allowed and kinds(new)[scan.scan] == "dicom" else 0)
        assert ("policy of pictures" in text(out / f"{scan.patient}.html")) == (not allowed)


def test_with_the_identity_pages_name_the_patient_and_nothing_is_stored(
    new: Predicted, out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    deliver(new, out, keep_identity=True, store=store, apply_record=new.out / "apply.run.json")
    assert not store.exists()
    assert "PAGES AND OBJECTS NAME PATIENTS" in caplog.text
    assert "Weber" not in caplog.text
    for scan in scans(new).values():
        page = text(out / f"{scan.patient}.html")
        assert "This page names a patient" in page
        assert ("Weber-" in page) == (kinds(new)[scan.scan] == "dicom")
        assert ("sub-northwind/ct.nii.gz" in page) == (kinds(new)[scan.scan] == "nifti")
    for path in [*out.glob("*.html"), *out.glob("*.dcm")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in out.glob("*.dcm"):
        assert str(pydicom.dcmread(path).PatientID).startswith("Weber-")
    assert not [secret for secret in SECRETS if secret in (out / "deliver.run.json").read_text()]


def test_the_same_input_gives_the_same_bytes_from_the_store_too(new: Predicted, pages: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        deliver(new, tmp_path / name, store=tmp_path / "store")
        for path in pages.iterdir():
            if path.name != "deliver.run.json":
                assert (tmp_path / name / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_scan_whose_objects_cannot_be_written_sinks_no_other(
    new: Predicted, pages: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = out / "source"
    for path in new.source.rglob("*"):
        if path.is_file():
            (source / path.relative_to(new.source)).parent.mkdir(parents=True, exist_ok=True)
            (source / path.relative_to(new.source)).write_bytes(path.read_bytes())
    lost = next(path for path in sorted((source / "3").iterdir()))
    lost.unlink()
    deliver(new, out, source=source)
    record = read_record(out / "deliver.run.json")
    assert record.counts["scans_without_objects"] == 1
    without = [scan for scan in of_kind(new, "dicom") if not [*out.glob(f"{scan.scan}.*.dcm")]]
    assert len(without) == 1
    assert f"scan {without[0].scan} has no DICOM objects" in caplog.text
    assert lost.name not in caplog.text
    assert "could not be written: a file cannot be read" in text(out / f"{without[0].patient}.html")
    assert len([*out.glob("*.sr.dcm")]) == len([*pages.glob("*.sr.dcm")]) - 1


def test_without_explain_pages_and_objects_have_no_lesions(new: Predicted, out: Path) -> None:
    deliver(new, out, lesions=None, overlays=None, saliency=None)
    assert [*out.glob("*.seg.dcm")] == []
    assert len([*out.glob("*.sr.dcm")]) == len(of_kind(new, "dicom"))
    for path in out.glob("P*.html"):
        assert "were not sought in this run" in text(path)
    assert "not sought" in text(out / "index.html")


def test_objects_can_be_left_out(new: Predicted, out: Path) -> None:
    deliver(new, out, objects="none")
    assert [*out.glob("*.dcm")] == []
    assert "were not asked for" in text(next(iter(out.glob("P*.html"))))


def test_a_list_of_a_thousand_rows_stays_small(new: Predicted, out: Path) -> None:
    inputs = Inputs(Parameters(**new.parameters(out)))
    page = ListPage(inputs, keep_identity=False)
    for number in range(1000):
        scan = inputs.predictions.scans[number % len(inputs.predictions.scans)]
        page.add(ScanResult(inputs.scan(scan), Written(), {}))
    listed = page.text()
    assert listed.count("<tr>") > 1000
    assert len(listed) < 1_500_000


@pytest.mark.parametrize("changed", ["model_sha256", "cohort_sha256"])
def test_lesions_of_another_run_are_refused(new: Predicted, out: Path, tmp_path: Path, changed: str) -> None:
    other = read_found_lesions(new.out / "scans.lesions.json").model_copy(update={changed: "0" * 64})
    with pytest.raises(UsageError, match="--lesions are of another model or of other scans"):
        deliver(new, out, lesions=write_found_lesions(tmp_path / "l.json", other))


@pytest.mark.parametrize(("changed", "of"), [("model_sha256", "another model"), ("cohort_sha256", "other scans")])
def test_predictions_of_another_run_are_refused(
    new: Predicted, out: Path, tmp_path: Path, changed: str, of: str
) -> None:
    other = read_predictions(new.out / "predictions.json").model_copy(update={changed: "0" * 64})
    with pytest.raises(UsageError, match=f"--predictions are of {of}"):
        deliver(new, out, predictions=write_predictions(tmp_path / "p.json", other))


def test_scans_with_a_flipped_voxel_are_refused(new: Predicted, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ClaireError, match=r"scans\.h5 is damaged, its checksum does not match"):
        deliver(new, out, scans=flip_a_voxel(Path(shutil.copy(new.out / "scans.h5", tmp_path))))


def test_another_key_is_refused(new: Predicted, out: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("another key of sixteen bytes")
    with pytest.raises(UsageError, match="another pseudonym by --key"):
        deliver(new, out, key=tmp_path / "key")
