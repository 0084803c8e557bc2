"""The patients of a source, and the rows that name their scans in a table of labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from claire.core.privacy.patients import ambiguous_patients, shared_studies
from claire.core.privacy.pseudonym import is_generic
from claire.core.sources.nifti import SUFFIXES
from claire.index.choice import Rule, Verdict
from claire.index.series import Series

#: What names a patient: the header, the BIDS subject of a path, the file of a NIfTI scan, the folder or study.
NamedBy = Literal["PatientID", "BIDS subject", "file", "study"]
ScanOf = tuple[Series, Verdict]


@dataclass
class Patient:
    """A patient with all series. `name` goes into the column `patient` where the header gives no PatientID."""

    name: str
    named_by: NamedBy
    scans: list[ScanOf] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> list[Series]:
        """The chosen series."""
        return [series for series, verdict in self.scans if verdict.chosen]

    @property
    def has_id(self) -> bool:
        """Whether ingest finds the patient by itself."""
        return self.named_by in ("PatientID", "BIDS subject")


def find_patients(series: Sequence[Series], verdicts: Sequence[Verdict], rule: Rule) -> list[Patient]:
    """Return the patients in the order of their names. Damaged files and masks that name no patient belong to none."""
    stems = Counter(stem_of(each) for each in series if each.header and not each.no_scan)
    patients: dict[tuple[str, ...], Patient] = {}
    for each, verdict in zip(series, verdicts, strict=True):
        key = _identity(each, stems)
        if key:
            named_by: NamedBy = key[0]  # type: ignore[assignment]  # _identity begins with a rule
            patient = patients.setdefault(key, Patient(key[1], named_by))
            patient.scans.append((each, verdict))
    _name_by_folder(patients.values())
    _add_problems(patients.values(), rule)
    return sorted(patients.values(), key=lambda patient: patient.name)


def _identity(each: Series, stems: Counter[str]) -> tuple[str, ...]:
    """Return (rule, name, …) of the patient of a series; () where it has none."""
    if each.header is None:
        return ()
    patient_id = each.header.patient_id
    if not is_generic(patient_id) and usable(patient_id):
        bids = each.kind != "dicom" and any(part.split("_")[0] == patient_id for part in each.files[0].split("/"))
        return ("BIDS subject" if bids and patient_id.startswith("sub-") else "PatientID", patient_id)
    if each.kind == "dicom":
        return ("study", each.header.study_uid or each.files[0], *each.study)
    if each.no_scan:
        return ()
    return ("file", stem_of(each) if stems[stem_of(each)] == 1 else _without_suffix(each.files[0]))


def usable(text: str) -> bool:
    """Return whether a table can hold a text as it is: printable, without blanks around it, in UTF-8."""
    return text.isprintable() and text == text.strip() and not any("\ud800" <= sign <= "\udfff" for sign in text)


def stem_of(each: Series) -> str:
    """Return the name of the first file of a series without folder and suffix."""
    return _without_suffix(PurePosixPath(each.files[0]).name)


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _name_by_folder(patients: Iterable[Patient]) -> None:
    """Name patients known by a study UID alone after the folder that holds nothing else, where there is one."""
    everyone = [*patients]
    folders = _own_folders(everyone)
    for number, patient in enumerate(everyone):
        if patient.named_by == "study" and folders[number]:
            patient.name = folders[number]


def _own_folders(patients: Sequence[Patient]) -> list[str]:
    """Return the deepest folder that holds all chosen series of each patient and of no other; "" if there is none."""
    owners: dict[str, set[int]] = defaultdict(set)
    common: list[str] = []
    for number, patient in enumerate(patients):
        files = [name for series in patient.chosen for name in series.files]
        above = [{str(parent) for parent in PurePosixPath(name).parents} for name in files]
        for folder in set().union(*above):
            owners[folder].add(number)
        shared = set.intersection(*above) if above else set()
        common.append(max(shared, key=len, default="."))
    return [
        folder if folder != "." and owners[folder] == {number} and usable(folder) else ""
        for number, folder in enumerate(common)
    ]


def _add_problems(patients: Iterable[Patient], rule: Rule) -> None:
    everyone = [*patients]
    headers = [series.header for patient in everyone for series in patient.chosen if series.header]
    ambiguous, shared = ambiguous_patients(headers), shared_studies(headers)
    for patient in everyone:
        problems = [problem for each in patient.scans for problem in _problems_of(*each, rule)]
        if not patient.chosen:
            reasons = sorted({verdict.why or series.problem for series, verdict in patient.scans})
            problems.append(f"no series chosen: {', '.join(reasons)}")
        for series in patient.chosen:
            if patient.has_id and series.patient in ambiguous:
                problems.append("one PatientID with different sexes or birth dates: several people?")
            if series.header and series.header.study_uid in shared:
                problems.append("another PatientID has the same study: one person?")
        patient.problems = [*dict.fromkeys(problems)]


def _problems_of(series: Series, verdict: Verdict, rule: Rule) -> Iterator[str]:
    if not verdict.chosen:
        return
    if verdict.why:
        yield verdict.why
    if series.instances < rule.min_slices:
        yield f"{series.instances} slices, fewer than {rule.min_slices}"
    if rule.max_thickness < series.thickness_mm < 1e6:
        yield f"slices of {series.thickness_mm:g} mm, thicker than {rule.max_thickness:g} mm"


@dataclass(frozen=True)
class LabelRow:
    """A row of labels.csv to be filled in: `key` in the key column; `patient` where the header names none."""

    key: str
    patient: str
    of: Patient


def label_rows(patients: Sequence[Patient]) -> tuple[str, list[LabelRow]]:
    """Return (key column, rows) that name every chosen series.

    By patient_id if ingest finds every patient by it, one row a patient; else by path: one row for a folder that
    holds one patient alone, else for the first file of each chosen series. Patients without a chosen series have none.
    """
    members = [patient for patient in patients if patient.chosen]
    if all(patient.has_id for patient in members):
        return "patient_id", [LabelRow(patient.name, "", patient) for patient in members]
    rows = []
    for patient, folder in zip(members, _own_folders(members), strict=True):
        name = "" if patient.has_id else patient.name
        paths = [folder] if folder and patient.named_by != "file" else [min(each.files) for each in patient.chosen]
        unusable = [path for path in paths if not usable(path)]
        if unusable:
            patient.problems.append("a path that no table can hold (blanks or control characters): rename the file")
        rows += [LabelRow(path, name, patient) for path in paths if path not in unusable]
    return "path", rows
