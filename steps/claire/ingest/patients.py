"""Patient and label of a series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from claire.core.command.errors import RejectedScan
from claire.core.command.progress import log
from claire.core.contracts.labels import Label, Names
from claire.core.contracts.shard_list import ListedSeries
from claire.core.privacy.patients import identity_problem
from claire.core.sources import dicom
from claire.core.sources.dicom import Header
from claire.core.sources.formats import read_header
from claire.ingest.site import Site


def find_label(series: ListedSeries, header: Header, site: Site) -> tuple[Label, Names]:
    """Return the label of a series, "" without a table, and its names. Raises RejectedScan (`no_label`)."""
    names = names_of(series, header)
    if site.labels is None:
        return Label(""), names
    label = site.labels.find(names)
    if label is None:
        raise RejectedScan("no_label", f"the table has no label for its {site.labels.key}")
    return label, names


def names_of(series: ListedSeries, header: Header | None) -> Names:
    """Return the names of a series at the site; without a readable header those that index found."""
    if header is None:
        return Names("", series.study_uid, series.series_uid, series.files)
    return Names(header.patient_id, header.study_uid, header.series_uid, series.files)


def find_patient(series: ListedSeries, header: Header, label: Label, site: Site) -> str:
    """Return the pseudonym of the patient; an unlabelled scan whose header names none is a patient of its own.

    Raises RejectedScan (`ambiguous_patient`) where a label hangs on who the patient is.
    """
    if label.patient:
        return site.pseudonyms.patient("", label.patient)
    problem = identity_problem(header, site.ambiguous, site.shared_studies)
    if problem and site.labels is None:
        return site.pseudonyms.patient("series", series.name)
    if problem:
        raise RejectedScan("ambiguous_patient", problem)
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
