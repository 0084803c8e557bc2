"""Coded concepts of the objects (PS3.16), and a private scheme for what has no code there."""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from claire.core.contracts.lesions import Lesion, Side, Zone

#: Designator of the private coding scheme; PS3.16 section 8 reserves designators that begin with 99.
PRIVATE = "99CLAIRE"
#: Length of a code's meaning (LO, PS3.5 6.2).
_MEANING = 64


def private(value: str, meaning: str) -> CodedConcept:
    """Return a concept of the private scheme; `value` has at most 16 characters, a longer meaning is cut."""
    return CodedConcept(value, PRIVATE, meaning if len(meaning) <= _MEANING else meaning[: _MEANING - 3] + "...")


def private_scheme() -> CodingSchemeIdentificationItem:
    """Return the identification of the private scheme (PS3.3 C.12.1.1)."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE, name="Codes of the CLAIRE pipeline", responsible_organization="CLAIRE pipeline"
    )


#: Category and type of a segment: CID 7150 and CID 7151 (via CID 7194). An opacity by HU is a lesion; a region that a
#: map proposed is no abnormal structure, only a selected region (CID 6101 has the same code for CAD).
LESION_CATEGORY, LESION_TYPE = codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion
REGION_CATEGORY, REGION_TYPE = codes.SCT.SpatialAndRelationalConcept, codes.DCM.SelectedRegion
#: CID 7162, how the lesions were found: HU, then removal and measurement by a trained network.
ALGORITHM_FAMILY = codes.DCM.ArtificialIntelligence
#: CID 7203 and CID 7202: what was done to the source images, and what they are to the result.
SEGMENTATION = codes.cid7203.SegmentationImageDerivation
SOURCE_IMAGE = codes.cid7202.SourceImageForImageProcessingOperation
#: TID 1601: an image of the library.
SOURCE = CodedConcept("260753009", "SCT", "Source")
LUNG = codes.SCT.Lung
#: CID 244.
SIDES: dict[Side, CodedConcept] = {
    "right": CodedConcept.from_code(codes.SCT.Right),
    "left": CodedConcept.from_code(codes.SCT.Left),
}
#: CID 6171.
ZONES: dict[Zone, CodedConcept] = {
    "upper": CodedConcept.from_code(codes.SCT.UpperZoneOfLung),
    "middle": CodedConcept.from_code(codes.SCT.MiddleZoneOfLung),
    "lower": CodedConcept.from_code(codes.SCT.LowerZoneOfLung),
}
#: CID 100; which region of the body was scanned is said by the finding sites.
PROCEDURE = codes.LN.CTUnspecifiedBodyRegion
PROBABILITY = codes.DCM.Probability
#: CID 7469 with the modifier mean of CID 7464.
VOLUME, ATTENUATION, MEAN = codes.SCT.Volume, codes.DCM.AttenuationCoefficient, codes.SCT.Mean
#: CID 230.
YES, NO = codes.SCT.Yes, codes.SCT.No
COMMENT = codes.DCM.Comment
#: TID 1500, row 12.
EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
NO_UNITS, HOUNSFIELD, MILLIMETER = codes.UCUM.NoUnits, codes.UCUM.HounsfieldUnit, codes.UCUM.Millimeter
MILLILITER = CodedConcept("ml", "UCUM", "ml")
RANK = private("RANK", "Rank by change of log-odds (1 is the largest)")
CRUCIAL = private("CRUCIAL", "Crucial for the decision")
DELTA = private("DELTA-LOG-ODDS", "Change of log-odds that the lesion causes")
CENTROID = tuple(private(f"CENTROID-{axis}", f"Centroid {axis.lower()}, patient coordinates (LPS)") for axis in "XYZ")
CANNOT_TELL = private("CANNOT-TELL", "Why the model has no say in this scan")
OUT_OF_COHORT = private("OUT-OF-COHORT", "Unlike the scans that the model was trained on")


def segment_codes(lesion: Lesion) -> tuple[CodedConcept, CodedConcept]:
    """Return category and type of a lesion's segment."""
    pair = (LESION_CATEGORY, LESION_TYPE) if lesion.kind == "lesion" else (REGION_CATEGORY, REGION_TYPE)
    return CodedConcept.from_code(pair[0]), CodedConcept.from_code(pair[1])


def class_concept(number: int, name: str) -> CodedConcept:
    """Return the concept of a class; its name is the site's, its code its place among the classes of the model."""
    return private(f"CLASS-{number}", name)


def decision_concept(number: int, operating_point: str) -> CodedConcept:
    """Return the concept of the decision at an operating point."""
    return private(f"DECISION-{number}", f"Decision at operating point {operating_point}")
