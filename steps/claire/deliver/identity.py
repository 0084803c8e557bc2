"""Patient and study of an object: pseudonyms, or those of the source series."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from claire.core.command.errors import RejectedScan
from claire.core.contracts.scans import ScanFacts
from claire.core.sources.dicom import DECODING_ERRORS, open_dicom
from claire.deliver.diagnosis import Diagnosis

#: PS3.3 C.7.1.1 (Patient) and C.7.1.3 (Clinical Trial Subject).
_PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID"),
    *("OtherPatientIDsSequence", "OtherPatientNames", "PatientBirthDate", "PatientBirthTime", "PatientSex"),
    *("EthnicGroup", "PatientComments", "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID"),
    *("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    "ClinicalTrialSubjectReadingID",
)
#: PS3.3 C.7.2.1 (General Study), C.7.2.2 (Patient Study) and C.7.2.3 (Clinical Trial Study).
_STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "ConsultingPhysicianName", "StudyID"),
    *("AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyDescription", "PhysiciansOfRecord"),
    *("ProcedureCodeSequence", "PatientAge", "PatientSize", "PatientWeight", "AdmissionID"),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)
_READ = ("SpecificCharacterSet", *_PATIENT, *_STUDY)
#: Elements of type 2 that an object has even where the source lacks them.
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
#: In place of a date that DICOM requires (PS3.15 E.1.1, action D).
_NO_DATE = datetime(1900, 1, 1)
_METHOD = "Keyed pseudonyms (HMAC-SHA256), UIDs remapped, dates removed"


@dataclass(frozen=True)
class Identity:
    """`elements`: of the patient and study modules; `created`: date and time of content."""

    elements: Dataset
    created: datetime


def pseudonymous(diagnosis: Diagnosis, facts: ScanFacts) -> Identity:
    """Return pseudonyms in place of an identity: no dates, no birth, no text of the source."""
    elements = _blank()
    elements.PatientName, elements.PatientID, elements.PatientSex = diagnosis.patient, diagnosis.patient, facts.sex
    elements.PatientIdentityRemoved, elements.DeidentificationMethod = "YES", _METHOD
    elements.LongitudinalTemporalInformationModified = "REMOVED"
    return Identity(elements, _NO_DATE)


def copied(diagnosis: Diagnosis, path: Path) -> Identity:
    """Return the identity in a file of the source series, as it stands there. Raises RejectedScan (`unreadable`)."""
    try:
        with open_dicom(path) as stream:
            source = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=[*_READ])
            source.decode()
    except DECODING_ERRORS as error:
        raise RejectedScan("unreadable", f"patient or study cannot be read ({type(error).__name__})") from error
    elements = _blank()
    for keyword in (*_PATIENT, *_STUDY):
        if keyword in source:
            elements[keyword] = source[keyword]
    return Identity(elements, diagnosis.created)


def _blank() -> Dataset:
    elements = Dataset()
    for keyword in _EMPTY:
        setattr(elements, keyword, "")
    return elements
