"""The SEG of a scan, opened by readers that did not write it: bits by pydicom and GDCM, places by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from claire.core.command.errors import ClaireError, RejectedScan
from claire.core.imaging.volume import Volume
from claire.core.privacy.pseudonym import Pseudonyms
from claire.deliver.diagnosis import RESEARCH_USE
from claire.deliver.segmentation import make_segmentation
from claire.deliver.source import read_source

from tests.deliver.helpers import (
    PSEUDONYMS,
    Delivered,
    decoded,
    deliver_series,
    ingested,
    write_enhanced,
)
from tests.support.dicom_maker import SeriesMaker, chest


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    return deliver_series(tmp_path_factory.mktemp("series"), origin=(-117.3, -121.9, -301.7), spacing=2.3)


def sources(seg: pydicom.Dataset) -> list[tuple[list[float], str, int | None]]:
    """Return position, instance and frame that each frame names as its source."""
    found = []
    for groups in seg.PerFrameFunctionalGroupsSequence:
        (derivation,) = groups.DerivationImageSequence
        (image,) = derivation.SourceImageSequence
        place = [float(value) for value in groups.PlanePositionSequence[0].ImagePositionPatient]
        found.append((place, image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")))
    return found


def test_every_voxel_is_decoded_again_at_its_place(delivered: Delivered, out: Path) -> None:
    path = delivered.write(out)["seg"]
    np.testing.assert_array_equal(decoded(path, delivered), delivered.labels.data)
    by_gdcm = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0
    np.testing.assert_array_equal(by_gdcm, pydicom.dcmread(path).pixel_array > 0)


def test_frames_name_the_instance_at_their_position(delivered: Delivered, out: Path) -> None:
    seg = pydicom.dcmread(delivered.write(out)["seg"])
    originals = [pydicom.dcmread(file, stop_before_pixels=True) for file in delivered.files]
    places = {PSEUDONYMS.uid(image.SOPInstanceUID): image.ImagePositionPatient for image in originals}
    for place, uid, frame in sources(seg):
        assert place == pytest.approx([float(value) for value in places[uid]], abs=1e-4)
        assert frame is None
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [5, 5]
    assert float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices) == pytest.approx(2.3)
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == delivered.facts.series_uid
    assert {each.ReferencedSOPInstanceUID for each in series.ReferencedInstanceSequence} == {*delivered.facts.sop_uids}


def test_segments_are_lesions_by_rank(delivered: Delivered, out: Path) -> None:
    seg = pydicom.dcmread(delivered.write(out)["seg"])
    rows = [
        (each.SegmentNumber, each.SegmentLabel, each.TrackingID, each.SegmentedPropertyTypeCodeSequence[0].CodeValue)
        for each in seg.SegmentSequence
    ]
    assert rows == [
        (1, "crucial 1", "lesion 4", "52988006"),
        (2, "rank 2", "lesion 2", "52988006"),
        (3, "unranked", "lesion 7", "111099"),
    ]
    assert {each.SegmentAlgorithmType for each in seg.SegmentSequence} == {"AUTOMATIC"}
    assert {each.SegmentAlgorithmName for each in seg.SegmentSequence} == {delivered.diagnosis.model}
    assert (seg.ContentQualification, seg.ContentDescription) == ("RESEARCH", RESEARCH_USE)
    assert (seg.SegmentationType, seg.SegmentsOverlap) == ("BINARY", "NO")


@pytest.mark.parametrize("files", [1, 3])
def test_enhanced_images_are_named_by_frame(tmp_path: Path, files: int) -> None:
    series = SeriesMaker()
    write_enhanced(tmp_path / "in", series, files)
    delivered = ingested(tmp_path)
    path = delivered.write(tmp_path / "objects")["seg"]
    np.testing.assert_array_equal(decoded(path, delivered), delivered.labels.data)
    seg = pydicom.dcmread(path)
    images = {PSEUDONYMS.uid(image.SOPInstanceUID): image for image in map(pydicom.dcmread, delivered.files)}
    assert len({uid for _, uid, _ in sources(seg)}) == files
    for place, uid, frame in sources(seg):
        groups = images[uid].PerFrameFunctionalGroupsSequence[frame - 1]
        assert place == pytest.approx([*groups.PlanePositionSequence[0].ImagePositionPatient])
    referred = [each.ReferencedInstanceSequence for each in seg.ReferencedSeriesSequence]
    assert {each.ReferencedSOPInstanceUID for items in referred for each in items} == {*images}


def test_oblique_slices_keep_their_positions(tmp_path: Path) -> None:
    angle = np.radians(20)
    across = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
    delivered = deliver_series(tmp_path, orientation=across)
    path = delivered.write(tmp_path / "objects")["seg"]
    np.testing.assert_array_equal(decoded(path, delivered), delivered.labels.data)
    orientation = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    assert [*orientation.ImageOrientationPatient] == pytest.approx(across, abs=1e-6)


def test_a_resampled_gantry_tilt_has_its_own_grid(tmp_path: Path) -> None:
    delivered = deliver_series(tmp_path, "--gantry-tilt", "resample", step=(0.0, 0.7, 2.0))
    assert delivered.facts.resampled
    assert delivered.labels.data.shape[1] > chest().shape[1]
    path = delivered.write(tmp_path / "objects")["seg"]
    np.testing.assert_array_equal(decoded(path, delivered), delivered.labels.data)
    seg = pydicom.dcmread(path)
    heights = {PSEUDONYMS.uid(f"1.2.3.200.{number + 1}"): -300 + 2 * number for number in range(24)}
    preserved = set()
    for groups, (place, uid, _) in zip(seg.PerFrameFunctionalGroupsSequence, sources(seg), strict=True):
        assert place[2] == pytest.approx(heights[uid])
        preserved.add(groups.DerivationImageSequence[0].SourceImageSequence[0].SpatialLocationsPreserved)
    assert preserved == {"NO"}


def test_slightly_uneven_slices_keep_their_positions(tmp_path: Path) -> None:
    heights = np.arange(24) * 2.0 + np.where(np.arange(24) % 2, 0.15, 0.0)
    delivered = deliver_series(tmp_path, positions=[(-120.0, -120.0, float(height)) for height in heights])
    path = delivered.write(tmp_path / "objects")["seg"]
    np.testing.assert_array_equal(decoded(path, delivered), delivered.labels.data)
    assert {place[2] for place, _, _ in sources(pydicom.dcmread(path))} <= {*np.round(heights, 4)}


def test_no_lesions_no_segmentation(delivered: Delivered) -> None:
    empty = Volume(np.zeros_like(delivered.labels.data), delivered.labels.affine)
    source = read_source(delivered.files, empty, delivered.facts, keep_identity=False)
    assert make_segmentation(empty, delivered.diagnosis, source, "key") is None


def test_a_label_that_is_no_lesion_is_a_bug(delivered: Delivered) -> None:
    wrong = Volume(np.where(delivered.labels.data == 4, 5, delivered.labels.data), delivered.labels.affine)
    source = read_source(delivered.files, wrong, delivered.facts, keep_identity=False)
    with pytest.raises(ValueError, match=r"labels \[5\] are no lesions"):
        make_segmentation(wrong, delivered.diagnosis, source, "key")


def test_a_missing_image_is_told(delivered: Delivered) -> None:
    with pytest.raises(RejectedScan, match="missing_slices: 2 of 24 slices"):
        read_source(delivered.files[2:], delivered.labels, delivered.facts, keep_identity=False)


def test_an_image_beyond_the_scan_is_not_named(delivered: Delivered, tmp_path: Path) -> None:
    extra = SeriesMaker(origin=(-117.3, -121.9, -1301.7), spacing=2.3, series="1.2.3.200")
    image = extra.dataset(0)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.200.77"
    image.save_as(tmp_path / "extra.dcm")
    source = read_source(
        [*delivered.files, tmp_path / "extra.dcm"], delivered.labels, delivered.facts, keep_identity=True
    )
    assert "1.2.3.200.77" not in [each.SOPInstanceUID for each in source.images]


def test_two_images_at_one_position_are_told(delivered: Delivered, tmp_path: Path) -> None:
    image = pydicom.dcmread(delivered.files[3])
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.200.78"
    image.save_as(tmp_path / "twice.dcm")
    with pytest.raises(RejectedScan, match="coincident_slices"):
        read_source([*delivered.files, tmp_path / "twice.dcm"], delivered.labels, delivered.facts, keep_identity=True)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"series": "1.2.3.999"}, "not of one series"),
        ({"patient": "4712"}, "not of one series of one patient"),
        ({"pixel": 4.0}, "pixel spacing"),
        ({"orientation": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0)}, "planes of the scan"),
        ({"hu": chest(size=40)}, "but images of"),
        ({"origin": (-107.3, -121.9, -301.7)}, "shifted in its plane"),
    ],
)
def test_images_of_another_scan_are_told(
    delivered: Delivered, tmp_path: Path, changes: dict[str, object], detail: str
) -> None:
    SeriesMaker(**({"origin": (-117.3, -121.9, -301.7), "spacing": 2.3} | changes)).dataset(5).save_as(tmp_path / "x")
    files = [file for file in delivered.files if not file.name.endswith("_5.dcm")]
    with pytest.raises(RejectedScan, match=f"inconsistent: .*{detail}"):
        read_source([*files, tmp_path / "x"], delivered.labels, delivered.facts, keep_identity=False)


def test_a_file_that_is_gone_is_told(delivered: Delivered, tmp_path: Path) -> None:
    with pytest.raises(RejectedScan, match="unreadable"):
        read_source([*delivered.files, tmp_path / "gone"], delivered.labels, delivered.facts, keep_identity=False)


def test_the_key_tells_another_series_of_the_same_geometry(delivered: Delivered, tmp_path: Path) -> None:
    SeriesMaker(origin=(-117.3, -121.9, -301.7), spacing=2.3, series="1.2.3.201").write(tmp_path / "twin")
    twin = sorted((tmp_path / "twin").iterdir())
    with pytest.raises(RejectedScan, match="SOP Instance UIDs are not those"):
        read_source(twin, delivered.labels, delivered.facts, keep_identity=False, pseudonyms=PSEUDONYMS)
    with pytest.raises(RejectedScan, match="SOP Instance UIDs are not those"):
        read_source(
            delivered.files, delivered.labels, delivered.facts, keep_identity=False, pseudonyms=Pseudonyms(b"x" * 16)
        )


def test_labels_in_another_grid_are_told(delivered: Delivered) -> None:
    moved = delivered.labels.affine.copy()
    moved[0, 3] += 1
    with pytest.raises(RejectedScan, match="not in the grid of the scan"):
        read_source(delivered.files, Volume(delivered.labels.data, moved), delivered.facts, keep_identity=False)
    with pytest.raises(RejectedScan, match="23 slices, but positions of 24"):
        read_source(
            delivered.files,
            Volume(delivered.labels.data[1:], delivered.labels.affine),
            delivered.facts,
            keep_identity=False,
        )


def test_a_scan_from_nifti_has_no_objects_to_refer_to(delivered: Delivered) -> None:
    facts = delivered.facts.model_copy(update={"kind": "nifti"})
    with pytest.raises(ClaireError, match="expected a DICOM series, got nifti"):
        read_source(delivered.files, delivered.labels, facts, keep_identity=False)


def test_anonymised_images_without_uids(tmp_path: Path) -> None:
    """Public series often have neither SOP Instance UIDs nor valid UIDs of study and series."""
    bare = {"SOPInstanceUID": "", "FrameOfReferenceUID": "", "StudyInstanceUID": "896911bf-1143-4c8d-8f04-f3cd1a7f6204"}
    delivered = deliver_series(tmp_path, tags=bare)
    path = delivered.write(tmp_path / "objects")["seg"]
    np.testing.assert_array_equal(decoded(path, delivered), delivered.labels.data)
    slices = int((delivered.labels.data > 0).any(axis=(1, 2)).sum())
    assert len({uid for _, uid, _ in sources(pydicom.dcmread(path))}) == slices
    with pytest.raises(RejectedScan, match="no archive holds it"):
        delivered.write(tmp_path / "identified", keep_identity=True)


def test_an_instance_without_frame_of_reference_gets_one_of_its_own(tmp_path: Path) -> None:
    delivered = deliver_series(tmp_path, tags={"FrameOfReferenceUID": ""})
    seg = pydicom.dcmread(delivered.write(tmp_path / "objects")["seg"])
    assert seg.FrameOfReferenceUID
