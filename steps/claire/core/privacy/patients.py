"""Whether the identifiers of a header name one patient: what `index` foretells and `ingest` obeys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from claire.core.privacy.pseudonym import is_generic


class Identifiers(Protocol):
    """The identifiers of a header, as `core.sources.dicom.Header` has them."""

    @property
    def issuer(self) -> str:
        """Issuer of the PatientID."""

    @property
    def patient_id(self) -> str:
        """PatientID."""

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""

    @property
    def sex(self) -> str:
        """PatientSex."""

    @property
    def birth_date(self) -> str:
        """PatientBirthDate."""


def identity_problem(header: Identifiers, ambiguous: frozenset[tuple[str, str]], shared: frozenset[str]) -> str:
    """Return why a header names no single patient, "" if it does; it quotes nothing of the header.

    `ambiguous` and `shared` are those of all headers of the patient and of the study.
    """
    if is_generic(header.patient_id):
        return "the PatientID is empty or generic; give `patient` in the table"
    if (header.issuer, header.patient_id) in ambiguous:
        return "one PatientID spans different sexes or birth dates"
    if header.study_uid in shared:
        return "another PatientID has the same study; give `patient` in the table"
    return ""


def ambiguous_patients(headers: Iterable[Identifiers]) -> frozenset[tuple[str, str]]:
    """Return (issuer, PatientID) of patients whose series differ in sex or birth date."""
    sexes: dict[tuple[str, str], set[str]] = defaultdict(set)
    births: dict[tuple[str, str], set[str]] = defaultdict(set)
    for header in headers:
        patient = header.issuer, header.patient_id
        sexes[patient] |= {header.sex} & {"M", "F"}
        births[patient] |= {header.birth_date} - {""}
    return frozenset(patient for patient in sexes if len(sexes[patient]) > 1 or len(births[patient]) > 1)


def shared_studies(headers: Iterable[Identifiers]) -> frozenset[str]:
    """Return the StudyInstanceUIDs that occur with several PatientIDs: one person under two identities."""
    patients: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for header in headers:
        if header.study_uid and not is_generic(header.patient_id):
            patients[header.study_uid].add((header.issuer, header.patient_id))
    return frozenset(uid for uid, owners in patients.items() if len(owners) > 1)
