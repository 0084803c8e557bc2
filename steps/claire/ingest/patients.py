"""Patient and label of a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from claire.core.command.errors import RejectedScan
from claire.core.command.progress import log
from claire.core.contracts.labels import Label, Names
from claire.core.contracts.shard_list import ListedSeries
from claire.core.privacy.pseudonym import is_generic
from claire.core.sources import dicom
from claire.core.sources.dicom import Header
from claire.core.sources.formats import read_header
from claire.ingest.site import Site


def find_label(series: ListedSeries, header: Header, site: Site) -> tuple[Label, Names]:
    """Return the label of a series and its names. Raises RejectedScan (`no_label`)."""
    names = Names(header.patient_id, header.study_uid, header.series_uid, series.files)
    label = site.labels.find(names)
    if label is None:
        raise RejectedScan("no_label", f"the table has no label for its {site.labels.key}")
    return label, names


def find_patient(header: Header, label: Label, site: Site) -> str:
    """Return the pseudonym of the patient. Raises RejectedScan (`ambiguous_patient`)."""
    if label.patient:
        return site.pseudonyms.patient("", label.patient)
    if is_generic(header.patient_id):
        raise RejectedScan("ambiguous_patient", "the PatientID is empty or generic; give `patient` in the table")
    if (header.issuer, header.patient_id) in site.ambiguous:
        raise RejectedScan("ambiguous_patient", "one PatientID spans different sexes or birth dates")
    if header.study_uid in site.shared_studies:
        raise RejectedScan("ambiguous_patient", "another PatientID has the same study; give `patient` in the table")
    return site.pseudonyms.patient(header.issuer, header.patient_id)


def first_headers(source: Path, series: Sequence[ListedSeries]) -> dict[int, Header]:
    """Return the header of the first file of each line, if readable."""
    headers = {}
    for each in series:
        path = source / each.files[0]
        try:
            headers[each.line] = read_header(each.kind, path)
        except (dicom.NotDicom, dicom.UnreadableHeader, OSError):
            log.debug("line %d: no readable header", each.line)
    return headers


def ambiguous_patients(headers: Iterable[Header]) -> frozenset[tuple[str, str]]:
    """Return (issuer, PatientID) of patients whose series differ in sex or birth date."""
    sexes: dict[tuple[str, str], set[str]] = defaultdict(set)
    births: dict[tuple[str, str], set[str]] = defaultdict(set)
    for header in headers:
        patient = header.issuer, header.patient_id
        sexes[patient] |= {header.sex} & {"M", "F"}
        births[patient] |= {header.birth_date} - {""}
    return frozenset(patient for patient in sexes if len(sexes[patient]) > 1 or len(births[patient]) > 1)


def shared_studies(headers: Iterable[Header]) -> frozenset[str]:
    """Return the StudyInstanceUIDs that occur with several PatientIDs: one person under two identities."""
    patients: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for header in headers:
        if header.study_uid and not is_generic(header.patient_id):
            patients[header.study_uid].add((header.issuer, header.patient_id))
    return frozenset(uid for uid, owners in patients.items() if len(owners) > 1)
