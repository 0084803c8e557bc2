"""Pictures as Secondary Captures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from claire.deliver.captures import burn_in
from claire.deliver.diagnosis import RESEARCH_USE
from PIL import Image

from tests.deliver.helpers import Delivered, deliver_series, picture


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    return deliver_series(tmp_path_factory.mktemp("series"))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_the_line_is_below_the_picture_and_covers_nothing() -> None:
    png = picture()
    burned, original = burn_in(png), pixels(png)
    height, width = original.shape[:2]
    np.testing.assert_array_equal(burned[:height, :width], original)
    strip = burned[height:].astype(int)
    assert len(np.unique(strip.reshape(-1, 3), axis=0)) > 2
    assert (np.abs(strip - strip[0, 0]).max(axis=(1, 2)) > 100).sum() >= 8


def test_a_narrow_picture_is_framed_for_the_line() -> None:
    png = picture(60, 40)
    burned = burn_in(png)
    assert burned.shape[1] > 300
    np.testing.assert_array_equal(burned[:40, :60], pixels(png))
    ink = np.flatnonzero((burned[40:] == (255, 211, 77)).all(2).any(0))
    assert 0 < ink[-1] < burned.shape[1] - 4


def test_another_reader_sees_the_picture(delivered: Delivered, out: Path) -> None:
    path = delivered.write(out)["sc"]
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0], burn_in(delivered.pictures["Lesions"])
    )


def test_tags_say_what_the_line_says(delivered: Delivered, out: Path) -> None:
    capture = pydicom.dcmread(delivered.write(out)["sc"])
    assert RESEARCH_USE in capture.ImageComments
    assert RESEARCH_USE in capture.DerivationDescription
    assert capture.ContentQualification == "RESEARCH"
    assert capture.SeriesDescription == "CLAIRE research use: pictures"
    assert (capture.BurnedInAnnotation, capture.PatientOrientation) == ("NO", ["L", "P"])
    assert [each.ReferencedSOPInstanceUID for each in capture.SourceImageSequence] == [*delivered.facts.sop_uids]
    assert capture.StudyInstanceUID == delivered.facts.study_uid


def test_pictures_are_instances_of_one_series(delivered: Delivered, out: Path) -> None:
    delivered.pictures["Saliency maps"] = picture(500, 200)
    delivered.write(out)
    captures = [pydicom.dcmread(path) for path in sorted(out.glob("*.sc.dcm"))]
    assert [capture.InstanceNumber for capture in captures] == [1, 2]
    assert len({capture.SeriesInstanceUID for capture in captures}) == 1
    assert len({capture.SOPInstanceUID for capture in captures}) == 2
    assert out.joinpath(f"{delivered.facts.scan}.saliency-maps.sc.dcm").exists()
