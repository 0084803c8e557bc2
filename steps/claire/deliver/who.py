"""Who a scan is of, where the pages may say it."""

from __future__ import annotations

from pathlib import Path

import pydicom

from claire.core.contracts.shard_list import ListedSeries
from claire.core.sources.dicom import DECODING_ERRORS, open_dicom
from claire.core.sources.formats import DICOM

#: Elements of the source that a page shows, and their names.
_ELEMENTS = {
    "PatientName": "Name",
    "PatientID": "Patient ID",
    "PatientBirthDate": "Born",
    "PatientSex": "Sex",
    "StudyDate": "Study date",
    "AccessionNumber": "Accession number",
    "StudyInstanceUID": "Study UID",
    "SeriesInstanceUID": "Series UID",
}
_READ = ("SpecificCharacterSet", *_ELEMENTS)


def identity_of(series: ListedSeries, files: tuple[Path, ...]) -> dict[str, str]:
    """Return the identity of a scan as its source says it, by name; of other formats than DICOM the file."""
    if series.kind != DICOM:
        return {"File": ", ".join(series.files)}
    try:
        with open_dicom(min(files)) as stream:
            source = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=[*_READ])
            source.decode()
        values = {name: _text(str(source.get(keyword, "") or "")) for keyword, name in _ELEMENTS.items()}
    except (*DECODING_ERRORS, OSError):
        return {"Source": "cannot be read"}
    return {name: value for name, value in values.items() if value}


def _text(value: str) -> str:
    """Return a value as people write it: of a date YYYY-MM-DD, of a name no carets."""
    if len(value) == 8 and value.isdigit():
        return f"{value[:4]}-{value[4:6]}-{value[6:]}"
    return " ".join(value.replace("^", " ").split())
