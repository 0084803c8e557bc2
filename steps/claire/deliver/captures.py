"""Pictures of a scan as Secondary Captures (PS3.3 A.8.1), with a line burned in that says what they are for."""

from __future__ import annotations

import io

import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from claire.deliver.concepts import SOURCE_IMAGE
from claire.deliver.diagnosis import MANUFACTURER, PRODUCT, RESEARCH_USE, Diagnosis
from claire.deliver.source import SourceSeries
from claire.deliver.uids import make_uid

SERIES_NUMBER = 9902
_STRIP, _TEXT = 26, 16
_BACKGROUND, _INK = "#101418", "#ffd34d"


def burn_in(picture: bytes, text: str = RESEARCH_USE) -> np.ndarray:
    """Return a PNG as (height, width, 3) uint8 RGB with `text` in a strip below it, so that nothing is covered.

    A picture that is narrower than the text is framed.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    font = ImageFont.load_default(_TEXT)
    width = max(image.width, round(font.getlength(text)) + 12)
    canvas = Image.new("RGB", (width, image.height + _STRIP), _BACKGROUND)
    canvas.paste(image, (0, 0))
    ImageDraw.Draw(canvas).text((6, image.height + _STRIP / 2), text, _INK, font, "lm")
    return np.asarray(canvas)


def make_capture(
    title: str, picture: bytes, number: int, diagnosis: Diagnosis, source: SourceSeries, key: str
) -> SCImage:
    """Return a picture (PNG) as a Secondary Capture; `number`: from 1, its place in the series of pictures.

    It references every image of the source series. What is burned in names neither patient nor date, hence Burned In
    Annotation NO (PS3.3 C.7.6.1.1). The panels of a picture are axial: rows run to the patient's left, columns to the
    back.
    """
    image = source.images[0]
    result = SCImage(
        pixel_array=burn_in(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=image.StudyInstanceUID,
        series_instance_uid=make_uid(key, "SC", "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=make_uid(key, "SC", title),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=PRODUCT,
        software_versions=diagnosis.version,
        device_serial_number=diagnosis.model_sha256[:64],
        patient_id="",
        patient_name="",
        patient_birth_date="",
        patient_sex="",
    )
    result.BodyPartExamined = "CHEST"
    result.BurnedInAnnotation = "NO"
    result.RecognizableVisualFeatures = "NO"
    result.ImageComments = f"{RESEARCH_USE}. {title}"
    result.DerivationDescription = f"Drawn by {PRODUCT} {diagnosis.version}; {RESEARCH_USE}"
    result.SourceImageSequence = [_reference(each) for each in source.images]
    return result


def _reference(image: Dataset) -> Dataset:
    """Return an item of the Source Image Sequence (PS3.3 C.7.6.1)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(SOURCE_IMAGE)]
    return item
