"""The SR of a scan, read as a tree of content items by pydicom alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from claire.core.imaging.volume import Volume
from claire.deliver.diagnosis import RESEARCH_USE, rank_label
from pydicom.dataset import Dataset

from tests.deliver.helpers import Delivered, deliver_series, ingested, write_enhanced
from tests.support.dicom_maker import SeriesMaker


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    return deliver_series(tmp_path_factory.mktemp("series"))


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning) if "ConceptNameCodeSequence" in item else ""


def value(item: Dataset) -> Any:
    """Return the value of a content item: number with its unit, meaning of a code, text, UID."""
    if item.ValueType == "NUM":
        measured = item.MeasuredValueSequence[0]
        return float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue
    if item.ValueType == "CODE":
        return item.ConceptCodeSequence[0].CodeMeaning
    return item.get("TextValue", item.get("UID"))


def items(tree: Dataset) -> Iterator[Dataset]:
    for item in tree.get("ContentSequence", ()):
        yield item
        yield from items(item)


def groups(report: Dataset) -> dict[str, dict[str, Any]]:
    """Return name → value of each measurement group, by its tracking identifier."""
    found = [item for item in items(report) if name(item) == "Measurement Group"]
    contents = [{name(item): value(item) for item in group.ContentSequence} for group in found]
    return {content["Tracking Identifier"]: content for content in contents}


def evaluations(report: Dataset) -> list[tuple[str, Any]]:
    (container,) = [item for item in items(report) if name(item) == "Qualitative Evaluations"]
    return [(name(item), value(item)) for item in container.ContentSequence]


def test_the_report_is_tid_1500_unverified_and_for_research(delivered: Delivered, out: Path) -> None:
    report = pydicom.dcmread(delivered.write(out)["sr"])
    assert report.SOPClassUID.name == "Comprehensive 3D SR Storage"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.VerificationFlag, report.PreliminaryFlag, report.CompletionFlag) == (
        "UNVERIFIED", "PRELIMINARY", "COMPLETE",
    )  # fmt: skip
    assert report.ContentQualification == "RESEARCH"
    assert report.SoftwareVersions == "0.1.0"
    context = {name(item): value(item) for item in report.ContentSequence}
    assert context["Observer Type"] == "Device"
    assert context["Device Observer Name"] == "CLAIRE pipeline 0.1.0"
    assert context["Device Observer Model Name"] == delivered.diagnosis.model
    assert ("Comment", RESEARCH_USE) in evaluations(report)


def test_probabilities_and_decisions(delivered: Delivered, out: Path) -> None:
    report = pydicom.dcmread(delivered.write(out)["sr"])
    found = groups(report)
    for label, probability in (("negative", 0.125), ("positive", 0.875)):
        assert found[f"class {label}"]["Finding"] == label
        assert found[f"class {label}"]["Probability"] == (probability, "1")
    assert ("Decision at operating point Youden", "positive") in evaluations(report)
    assert ("Decision at operating point sensitivity 95 %", "positive") in evaluations(report)
    assert ("Unlike the scans that the model was trained on", delivered.diagnosis.out_of_cohort[0]) in evaluations(
        report
    )


def test_lesions_are_measured_and_refer_to_segment_and_images(delivered: Delivered, out: Path) -> None:
    paths = delivered.write(out)
    report, seg = pydicom.dcmread(paths["sr"]), pydicom.dcmread(paths["seg"])
    found = groups(report)
    for lesion in delivered.diagnosis.lesions:
        group = found[f"lesion {lesion.id}"]
        assert group["Volume"] == (pytest.approx(lesion.volume_ml, rel=1e-5), "ml")
        assert group["Attenuation Coefficient"] == (pytest.approx(lesion.mean_hu, rel=1e-5), "[hnsf'U]")
        assert group["Change of log-odds that the lesion causes"] == (pytest.approx(lesion.delta), "1")
        for axis, place in zip("xyz", lesion.centroid_lps_mm, strict=True):
            assert group[f"Centroid {axis}, patient coordinates (LPS)"] == (pytest.approx(place, abs=1e-3), "mm")
        assert group["Crucial for the decision"] == ("Yes" if lesion.crucial else "No")
        rank = group["Rank by change of log-odds (1 is the largest)"]
        assert rank == ((lesion.rank, "1") if lesion.rank else "unranked")
    segments = {each.TrackingUID: each.SegmentNumber for each in seg.SegmentSequence}
    for group in (item for item in items(report) if name(item) == "Measurement Group"):
        uid = next(value(item) for item in group.ContentSequence if name(item) == "Tracking Unique Identifier")
        references = [item for item in group.ContentSequence if name(item) == "Referenced Segment"]
        assert len(references) == (uid in segments)
        for reference in references:
            (target,) = reference.ReferencedSOPSequence
            assert target.ReferencedSOPInstanceUID == seg.SOPInstanceUID
            assert target.ReferencedSegmentNumber == segments[uid]


def test_all_source_images_are_evidence(delivered: Delivered, out: Path) -> None:
    paths = delivered.write(out)
    report = pydicom.dcmread(paths["sr"])
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == delivered.facts.study_uid
    named = {
        each.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for each in series.ReferencedSOPSequence
    }
    assert named == {*delivered.facts.sop_uids, pydicom.dcmread(paths["seg"]).SOPInstanceUID}


def test_a_scan_without_lesions_has_a_report(delivered: Delivered, out: Path) -> None:
    plain = dataclasses.replace(delivered, diagnosis=dataclasses.replace(delivered.diagnosis, lesions=()))
    plain.labels = Volume(np.zeros_like(delivered.labels.data), delivered.labels.affine)
    paths = plain.write(out)
    assert {*paths} == {"sc", "sr"}
    assert {*groups(pydicom.dcmread(paths["sr"]))} == {"class negative", "class positive"}


def test_a_lesion_without_voxels_is_measured_all_the_same(delivered: Delivered, out: Path) -> None:
    labels = np.where(delivered.labels.data == 2, 0, delivered.labels.data)
    paths = dataclasses.replace(delivered, labels=Volume(labels, delivered.labels.affine)).write(out)
    seg, report = pydicom.dcmread(paths["seg"]), pydicom.dcmread(paths["sr"])
    assert [each.TrackingID for each in seg.SegmentSequence] == ["lesion 4", "lesion 7"]
    group = groups(report)["lesion 2"]
    assert "Volume" in group
    assert "Referenced Segment" not in group


def test_an_enhanced_image_is_named_as_source(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "in", SeriesMaker())
    delivered = ingested(tmp_path)
    report = pydicom.dcmread(delivered.write(tmp_path / "objects")["sr"])
    images = [item for item in items(report) if item.ValueType == "IMAGE" and "Source" in name(item)]
    named = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images}
    assert named == {*delivered.facts.sop_uids}


def test_many_classes_and_long_names(delivered: Delivered, out: Path) -> None:
    classes = ("normal", "pneumonia", "COVID-19, as the reference standard of the hospital at admission says it")
    diagnosis = dataclasses.replace(
        delivered.diagnosis, classes=classes, probabilities=(0.2, 0.3, 0.5), decisions={"likeliest": classes[2]}
    )
    report = pydicom.dcmread(dataclasses.replace(delivered, diagnosis=diagnosis).write(out)["sr"])
    assert groups(report)[f"class {classes[2]}"]["Probability"] == (0.5, "1")
    (decision,) = [each for title, each in evaluations(report) if title.startswith("Decision")]
    assert len(decision) == 64
    assert classes[2].startswith(decision.removesuffix("..."))


@pytest.mark.parametrize(
    ("rank", "crucial", "label"),
    [(1, True, "crucial 1"), (3, False, "rank 3"), (None, False, "unranked"), (None, True, "crucial, unranked")],
)
def test_a_rank_in_words(delivered: Delivered, rank: int | None, crucial: bool, label: str) -> None:
    lesion = delivered.diagnosis.lesions[0].model_copy(update={"rank": rank, "crucial": crucial})
    assert rank_label(lesion) == label


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"probabilities": (1.0,)}, "1 probabilities: expected 2"),
        ({"decisions": {"p": "x"}}, "unknown classes"),
        ({"cannot_tell": ("out of reach",)}, "no say"),
    ],
)
def test_a_diagnosis_that_contradicts_itself_is_a_bug(
    delivered: Delivered, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        dataclasses.replace(delivered.diagnosis, **changes)


def test_a_scan_in_which_the_model_has_no_say_has_reasons_and_no_decision(delivered: Delivered, out: Path) -> None:
    alike = delivered.diagnosis.out_of_cohort[0]
    diagnosis = dataclasses.replace(delivered.diagnosis, decisions={}, cannot_tell=(alike, "networks disagree"))
    told = evaluations(pydicom.dcmread(dataclasses.replace(delivered, diagnosis=diagnosis).write(out)["sr"]))
    assert [value for title, value in told if title.startswith("Why")] == ["networks disagree"]
    assert [value for title, value in told if title.startswith("Unlike")] == [alike]
    assert not [title for title, _ in told if title.startswith("Decision")]
