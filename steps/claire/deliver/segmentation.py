"""The lesions of a scan as a DICOM Segmentation (PS3.3 A.51, C.8.20): one binary segment per lesion."""

from __future__ import annotations

import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from claire.core.contracts.lesions import Lesion
from claire.core.imaging.volume import Volume
from claire.deliver.concepts import ALGORITHM_FAMILY, LUNG, SEGMENTATION, SIDES, SOURCE_IMAGE, segment_codes
from claire.deliver.diagnosis import MANUFACTURER, PRODUCT, RESEARCH_USE, Diagnosis, lesion_name, rank_label
from claire.deliver.source import SliceSource, SourceSeries
from claire.deliver.uids import make_uid

SERIES_NUMBER = 9901
#: Recommended colours, distinguishable by the colour-blind: crucial, speaks for, speaks against the class.
_CRUCIAL, _FOR, _AGAINST = (255, 233, 154), (246, 160, 77), (124, 200, 255)


def segmented(labels: np.ndarray, diagnosis: Diagnosis) -> tuple[Lesion, ...]:
    """Return the lesions that have voxels in `labels`, in the order of their segments (number 1 first).

    Raises ValueError if `labels` holds an id that no lesion has.
    """
    present = {*np.unique(labels).tolist()} - {0}
    unknown = sorted(present - {lesion.id for lesion in diagnosis.lesions})
    if unknown:
        raise ValueError(f"labels {unknown} are no lesions: expected {[lesion.id for lesion in diagnosis.lesions]}")
    return tuple(lesion for lesion in diagnosis.ranked if lesion.id in present)


def make_segmentation(labels: Volume, diagnosis: Diagnosis, source: SourceSeries, key: str) -> Segmentation | None:
    """Return the segmentation of a scan; None without a lesion: a SEG has at least one segment (PS3.3 C.8.20.2).

    `labels`: (slices, rows, columns) integer ids of lesions, 0 elsewhere, in the grid of the scan. `key`: what UIDs
    follow from. Frames have the positions of their slices and name the instance (and frame) that they come from;
    empty frames are left out.
    """
    lesions = segmented(labels.data, diagnosis)
    if not lesions:
        return None
    numbers = np.zeros(int(labels.data.max()) + 1, np.uint16)
    numbers[[lesion.id for lesion in lesions]] = np.arange(1, len(lesions) + 1)
    result = Segmentation(
        source_images=source.images[:1] if source.multi_frame else source.images,
        further_source_images=source.images[1:] if source.multi_frame else None,
        pixel_array=numbers[labels.data],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(number, lesion, diagnosis, key) for number, lesion in enumerate(lesions, 1)],
        series_instance_uid=make_uid(key, "SEG", "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=make_uid(key, "SEG"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=PRODUCT,
        software_versions=diagnosis.version,
        device_serial_number=diagnosis.model_sha256[:64],
        content_label="LESIONS",
        content_description=RESEARCH_USE,
        plane_positions=[PlanePositionSequence("PATIENT", position) for position in source.positions],
        plane_orientation=PlaneOrientationSequence("PATIENT", source.orientation),
        pixel_measures=PixelMeasuresSequence(source.spacing, source.thickness),
    )
    for frame in result.PerFrameFunctionalGroupsSequence:
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        number = int(np.linalg.norm(source.positions - position, axis=1).argmin())
        frame.DerivationImageSequence = [_derivation(source.slices[number], preserved=not source.resampled)]
    return result


def _segment(number: int, lesion: Lesion, diagnosis: Diagnosis, key: str) -> SegmentDescription:
    category, kind = segment_codes(lesion)
    colour = _AGAINST if lesion.delta < 0 else _CRUCIAL if lesion.crucial else _FOR
    segment = SegmentDescription(
        segment_number=number,
        segment_label=rank_label(lesion),
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=diagnosis.model[:64], family=ALGORITHM_FAMILY, version=diagnosis.version, source=MANUFACTURER
        ),
        tracking_id=lesion_name(lesion),
        tracking_uid=make_uid(key, "lesion", lesion.id),
        anatomic_regions=[LUNG],
        display_color=CIELabColor.from_rgb(*colour),
    )
    segment.SegmentDescription = RESEARCH_USE
    segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [CodedConcept.from_code(SIDES[lesion.side])]
    return segment


def _derivation(source: SliceSource, *, preserved: bool) -> Dataset:
    """Return an item of the Derivation Image Sequence (PS3.3 C.7.6.16.2.6): the image that a frame comes from."""
    image = Dataset()
    image.ReferencedSOPClassUID = source.image.SOPClassUID
    image.ReferencedSOPInstanceUID = source.image.SOPInstanceUID
    if source.frame is not None:
        image.ReferencedFrameNumber = source.frame
    image.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(SOURCE_IMAGE)]
    image.SpatialLocationsPreserved = "YES" if preserved else "NO"
    item = Dataset()
    item.SourceImageSequence, item.DerivationCodeSequence = [image], [CodedConcept.from_code(SEGMENTATION)]
    return item
