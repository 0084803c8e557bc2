"""The result for a scan as a Structured Report: TID 1500 (Measurement Report), PS3.16, in a Comprehensive 3D SR.

A group per class (TID 1501) has its probability; a group per lesion (TID 1411) names its segment and measures it; the
decisions, and why the scan is unlike those of the cohort, are qualitative evaluations (TID 1500, row 12).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageContentItem,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    TextContentItem,
    TrackingIdentifier,
    UIDRefContentItem,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes

from claire.core.contracts.lesions import Lesion
from claire.deliver import concepts
from claire.deliver.diagnosis import MANUFACTURER, PRODUCT, RESEARCH_USE, Diagnosis, lesion_name, rank_label
from claire.deliver.source import SourceSeries
from claire.deliver.uids import make_uid

SERIES_NUMBER = 9903
Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations


def make_report(
    diagnosis: Diagnosis, source: SourceSeries, segmentation: Segmentation | None, key: str
) -> Comprehensive3DSR:
    """Return the report of a scan, unverified and preliminary (PS3.3 C.17.2); the observer is a device (TID 1004).

    A lesion without a segment is measured all the same.
    """
    groups = [
        *(_class_group(number, diagnosis, key) for number in range(len(diagnosis.classes))),
        *(_lesion_group(lesion, diagnosis, segmentation, key) for lesion in diagnosis.ranked),
    ]
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_device(diagnosis)),
        procedure_reported=concepts.PROCEDURE,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    content = report[0].ContentSequence
    content.insert(len(content) - 1, _library(source))
    content.append(_evaluations(diagnosis))
    return Comprehensive3DSR(
        evidence=[*source.images, *([segmentation] if segmentation else [])],
        content=report,
        series_instance_uid=make_uid(key, "SR", "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=make_uid(key, "SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=PRODUCT,
        software_versions=diagnosis.version,
        device_serial_number=diagnosis.model_sha256[:64],
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[concepts.private_scheme()],
        record_evidence=True,
    )


def _library(source: SourceSeries) -> ContainerContentItem:
    """Return the image library (TID 1600): all source images, with what they share said once for the group."""
    context, contains = RelationshipTypeValues.HAS_ACQ_CONTEXT, RelationshipTypeValues.CONTAINS
    group = ContainerContentItem(codes.DCM.ImageLibraryGroup, relationship_type=contains)
    group.ContentSequence = ContentSequence()
    frame_of_reference = source.images[0].FrameOfReferenceUID
    group.ContentSequence.extend([
        CodeContentItem(codes.DCM.Modality, codes.cid29.ComputedTomography, context),
        UIDRefContentItem(codes.DCM.FrameOfReferenceUID, frame_of_reference, context),
        *(
            ImageContentItem(concepts.SOURCE, image.SOPClassUID, image.SOPInstanceUID, relationship_type=contains)
            for image in source.images
        ),
    ])  # fmt: skip
    library = ContainerContentItem(codes.DCM.ImageLibrary, relationship_type=contains)
    library.ContentSequence = ContentSequence()
    library.ContentSequence.append(group)
    return library


def _device(diagnosis: Diagnosis) -> ObserverContext:
    """Return the observer: this software, by its version, with the model that it ran (TID 1002, TID 1004)."""
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=make_uid("device", diagnosis.version),
            name=f"{PRODUCT} {diagnosis.version}",
            manufacturer_name=MANUFACTURER,
            model_name=diagnosis.model,
            serial_number=diagnosis.model_sha256,
        ),
    )


def _algorithm(diagnosis: Diagnosis) -> AlgorithmIdentification:
    """Return TID 4019."""
    return AlgorithmIdentification(name=diagnosis.model, version=diagnosis.version)


def _class_group(number: int, diagnosis: Diagnosis, key: str) -> Group:
    name = diagnosis.classes[number]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(make_uid(key, "class", number), f"class {name}"),
        finding_type=concepts.class_concept(number, name),
        finding_sites=[FindingSite(concepts.LUNG)],
        algorithm_id=_algorithm(diagnosis),
        measurements=[_measurement(concepts.PROBABILITY, diagnosis.probabilities[number], concepts.NO_UNITS)],
    )


def _lesion_group(lesion: Lesion, diagnosis: Diagnosis, segmentation: Segmentation | None, key: str) -> Group:
    category, kind = concepts.segment_codes(lesion)
    make_group = _template(lesion, segmentation)
    return make_group(
        tracking_identifier=TrackingIdentifier(make_uid(key, "lesion", lesion.id), lesion_name(lesion)),
        finding_category=category,
        finding_type=kind,
        finding_sites=[FindingSite(concepts.ZONES[lesion.zone], laterality=concepts.SIDES[lesion.side])],
        algorithm_id=_algorithm(diagnosis),
        measurements=[*_measurements(lesion)],
        qualitative_evaluations=[*_qualities(lesion)],
    )


def _template(lesion: Lesion, segmentation: Segmentation | None) -> Callable[..., Group]:
    """Return TID 1411 with the lesion's segment and the source images of its frames, or TID 1501 without a segment."""
    for segment in segmentation.SegmentSequence if segmentation else ():
        if segmentation and segment.TrackingID == lesion_name(lesion):
            reference = ReferencedSegment.from_segmentation(segmentation, int(segment.SegmentNumber))
            return partial(VolumetricROIMeasurementsAndQualitativeEvaluations, referenced_segment=reference)
    return MeasurementsAndQualitativeEvaluations


def _measurements(lesion: Lesion) -> Iterator[Measurement]:
    if lesion.rank is not None:
        yield _measurement(concepts.RANK, lesion.rank, concepts.NO_UNITS)
    yield _measurement(concepts.VOLUME, lesion.volume_ml, concepts.MILLILITER)
    yield _measurement(concepts.ATTENUATION, lesion.mean_hu, concepts.HOUNSFIELD, concepts.MEAN)
    yield _measurement(concepts.DELTA, lesion.delta, concepts.NO_UNITS)
    for name, value in zip(concepts.CENTROID, lesion.centroid_lps_mm, strict=True):
        yield _measurement(name, value, concepts.MILLIMETER)


def _qualities(lesion: Lesion) -> Iterator[QualitativeEvaluation]:
    yield QualitativeEvaluation(concepts.CRUCIAL, concepts.YES if lesion.crucial else concepts.NO)
    if lesion.rank is None:
        yield QualitativeEvaluation(concepts.RANK, concepts.private("UNRANKED", rank_label(lesion)))


def _measurement(
    name: CodedConcept, value: float, unit: CodedConcept, derivation: CodedConcept | None = None
) -> Measurement:
    """Return TID 300; six digits are more than any of the numbers has."""
    number = value if isinstance(value, int) else float(f"{value:.6g}")
    return Measurement(name=name, value=number, unit=unit, derivation=derivation)


def _evaluations(diagnosis: Diagnosis) -> ContainerContentItem:
    """Return row 12 of TID 1500: what the report is for, the decisions, and why the scan is out of the cohort."""
    container = ContainerContentItem(concepts.EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence()
    container.ContentSequence.extend([*_sayings(diagnosis)])
    return container


def _sayings(diagnosis: Diagnosis) -> Iterator[ContentItem]:
    contains = RelationshipTypeValues.CONTAINS
    yield TextContentItem(concepts.COMMENT, RESEARCH_USE, contains)
    for number, (point, decision) in enumerate(diagnosis.decisions.items()):
        name = concepts.decision_concept(number, point)
        value = concepts.class_concept(diagnosis.classes.index(decision), decision)
        yield CodeContentItem(name, value, contains)
    if diagnosis.explained_class and diagnosis.lesions:
        yield TextContentItem(concepts.COMMENT, f"Log-odds of the class {diagnosis.explained_class}", contains)
    for reason in diagnosis.cannot_tell:
        if reason not in diagnosis.out_of_cohort:
            yield TextContentItem(concepts.CANNOT_TELL, reason, contains)
    for reason in diagnosis.out_of_cohort:
        yield TextContentItem(concepts.OUT_OF_COHORT, reason, contains)
