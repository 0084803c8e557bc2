"""What will become of labels, classes, patients and folds, foretold from the headers before any voxel is read.

Everything that is wrong is collected, so that it is told at once. Problems name counts and lines of the tables;
identifiers stand in `names` alone, for people at the site.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from claire.core.command.findings import Findings
from claire.core.contracts.classes import class_order
from claire.core.contracts.fold_draw import Patient, class_faults, draw_folds
from claire.core.contracts.folds import Folds, require_count
from claire.core.contracts.labels import Label, LabelTable, Names, SliceTable
from claire.core.privacy.patients import ambiguous_patients, identity_problem, shared_studies
from claire.core.sources.dicom import Header, unfit
from claire.core.sources.formats import DICOM
from claire.index.choice import Verdict
from claire.index.series import Series

FEWEST_FOLDS = 3
_MOST_LINES = 5
_NAMELESS = (
    "the NIfTI file names no patient: no JSON of the same stem does, and there is no sub-<label> in the path; give "
    "`patient` in the table, such as the file's stem where each file is another patient"
)
PatientKey = tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """The tables and what is asked of them; without `fold_count` folds are not foretold."""

    labels: LabelTable
    slice_labels: SliceTable | None = None
    classes: str = ""
    fold_count: int | None = None
    min_slices: int = 20


@dataclass(frozen=True)
class Scan:
    """A chosen series with a label; `row` is its row's value of the key column.

    `reason` (of `contracts.rejects`) and `problem` say why ingest will set it aside; "" if it will not for its header.
    """

    series: Series
    label: Label
    row: str
    reason: str
    problem: str
    patient: PatientKey


@dataclass
class Outlook:
    """What will enter the cohort as far as headers tell; later steps may set aside more for its voxels."""

    findings: Findings = field(default_factory=Findings)
    chosen: list[Series] = field(default_factory=list)
    labelled: list[Scan] = field(default_factory=list)
    patients: list[Patient] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    folds: Folds | None = None

    @property
    def entering(self) -> list[Scan]:
        """The labelled scans that nothing in their headers sets aside."""
        return [scan for scan in self.labelled if not scan.reason]


def names_of(series: Series) -> Names | None:
    """Return the names of a series by which tables find it; None without a readable header."""
    header = series.header
    return Names(header.patient_id, header.study_uid, header.series_uid, tuple(series.files)) if header else None


def label_of(series: Series, labels: LabelTable) -> Label | None:
    """Return the label of a series; None if the table has none."""
    names = names_of(series)
    return labels.find(names) if names else None


def foretell(series: Sequence[Series], verdicts: Sequence[Verdict], request: Request) -> Outlook:
    """Return what the tables and the headers say of scans, patients, classes and folds, with all that is wrong."""
    outlook = Outlook()
    outlook.chosen = [each for each, verdict in zip(series, verdicts, strict=True) if verdict.chosen]
    outlook.labelled = _labelled(series, verdicts, request)
    findings = outlook.findings
    without = len(outlook.chosen) - len(outlook.labelled)
    findings.note(
        f"{len(outlook.labelled)} of {len(outlook.chosen)} chosen series have a label"
        + (f"; the other {without} are set aside" if without else ""),
        _files(each for each in outlook.chosen if label_of(each, request.labels) is None),
    )
    if not outlook.labelled:
        _refuse_unlabelled(series, outlook, request.labels)
        return outlook
    _check_rows(series, outlook, request)
    _check_set_aside(outlook)
    _note_nifti(outlook)
    _check_patients(outlook, request)
    with findings.collect():
        outlook.classes = class_order({patient.label for patient in outlook.patients}, request.classes)
    if request.fold_count is not None:
        _check_folds(outlook, request.fold_count)
    if request.slice_labels:
        _check_slices(series, outlook, request.slice_labels)
    return outlook


def _files(series: Iterable[Series]) -> list[str]:
    return [each.files[0] for each in series]


def _labelled(series: Sequence[Series], verdicts: Sequence[Verdict], request: Request) -> list[Scan]:
    headers = [each.header for each in series if each.header]
    ambiguous, shared = ambiguous_patients(headers), shared_studies(headers)
    scans = []
    for each, verdict in zip(series, verdicts, strict=True):
        names, header = names_of(each), each.header
        label = request.labels.find(names) if names else None
        if not (verdict.chosen and header and names and label):
            continue
        reason, problem = _unfit(header, each.instances, request.min_slices)
        if not reason and not label.patient:
            nameless = each.kind != DICOM and not header.patient_id
            problem = _NAMELESS if nameless else identity_problem(header, ambiguous, shared)
            reason = "ambiguous_patient" if problem else ""
        patient = ("table", label.patient) if label.patient else ("header", *each.patient)
        scans.append(Scan(each, label, request.labels.matches(names)[0], reason, problem, patient))
    return scans


def _unfit(header: Header, instances: int, min_slices: int) -> tuple[str, str]:
    """Return (reason, problem) of a header for which ingest sets a series aside, else ("", "")."""
    reason, detail = unfit(header.modality, header.sop_class, header.image_type, header.description)
    if reason:
        return reason, detail or reason
    if header.burned_in:
        return "burned_in", "annotation is burned into the pixels"
    if instances < min_slices:
        return "too_few_slices", f"fewer slices than --min-slices {min_slices}"
    return "", ""


def _refuse_unlabelled(series: Sequence[Series], outlook: Outlook, table: LabelTable) -> None:
    problem = f"none of the {len(outlook.chosen)} chosen series has a label"
    with_row = sum(bool(names and table.matches(names)) for names in map(names_of, outlook.chosen))
    if with_row:
        outlook.findings.fault(
            f"{problem}: {with_row} have a row in the labels table, with an empty label",
            "Fill in the column `label`.",
        )
        return
    outlook.findings.fault(
        f"{problem}: the labels table matches none of them",
        _near_matches(table.key, [*table.rows], series)
        or "Compare its key column with the headers of the series; spreadsheets drop leading zeros.",
        [*table.rows],
    )


def _check_rows(series: Sequence[Series], outlook: Outlook, request: Request) -> None:
    """Warn of labels that no series or no chosen series has."""
    table = request.labels
    matched = {row for names in map(names_of, series) if names for row in table.matches(names)}
    chosen = {row for names in map(names_of, outlook.chosen) if names for row in table.matches(names)}
    labelled = [row for row, label in table.rows.items() if label.label]
    unmatched = [row for row in labelled if row not in matched]
    if unmatched:
        outlook.findings.warn(
            f"{len(unmatched)} of {len(labelled)} labels match no series by {table.key} "
            f"({lines_text(table.lines, unmatched)})",
            _near_matches(table.key, unmatched, series) or f"Compare {table.key} with the headers of the series.",
            unmatched,
        )
    unused = [row for row in labelled if row in matched and row not in chosen]
    if unused:
        outlook.findings.warn(
            f"{len(unused)} labels match series of which none is chosen ({lines_text(table.lines, unused)})",
            "`claire index --list` says why they are not.",
            unused,
        )


def lines_text(lines: Mapping[str, int], rows: Collection[str]) -> str:
    """Return "lines 2, 3, 4 and 7 more" of the file for values of the key column."""
    numbers = sorted(lines[row] for row in rows)
    first = ", ".join(map(str, numbers[:_MOST_LINES]))
    more = f" and {len(numbers) - _MOST_LINES} more" if len(numbers) > _MOST_LINES else ""
    return f"line{'s' if len(numbers) > 1 else ''} {first}{more}"


def _near_matches(key: str, rows: Sequence[str], series: Sequence[Series]) -> str:
    """Return how many rows would match without leading zeros, case and blanks, as a remedy."""
    values = {getattr(names, key) for names in map(names_of, series) if names} if key != "path" else set()
    loose = {_loose(value) for value in values} - {""}
    near = sum(_loose(row) in loose for row in rows)
    return f"{near} would match without leading zeros, blanks or case: spreadsheets change these." if near else ""


def _loose(value: str) -> str:
    return "".join(value.split()).lstrip("0").casefold()


def _check_set_aside(outlook: Outlook) -> None:
    """Warn of labelled series that ingest will set aside; a fault where it will do so with all of them."""
    by_problem: dict[str, list[Series]] = defaultdict(list)
    for scan in outlook.labelled:
        if scan.reason:
            by_problem[scan.problem].append(scan.series)
    everything = not outlook.entering
    for problem, series in sorted(by_problem.items()):
        tell = outlook.findings.fault if everything else outlook.findings.warn
        tell(
            f"{len(series)} of {len(outlook.labelled)} labelled series will be set aside: {problem}",
            "Nothing is left for the cohort: correct the source, the labels table or the flag." if everything else "",
            _files(series),
        )


def _note_nifti(outlook: Outlook) -> None:
    """Say by which rule the patients of NIfTI files are told apart."""
    rules = Counter(_nifti_rule(scan) for scan in outlook.labelled if scan.series.kind != DICOM and not scan.reason)
    for rule, count in sorted(rules.items()):
        outlook.findings.note(f"{count} NIfTI files: the patient is {rule}")


def _nifti_rule(scan: Scan) -> str:
    if scan.label.patient:
        return "named by `patient` of the labels table"
    parts = {part.split("_")[0] for part in scan.series.files[0].split("/")}
    bids = scan.patient[-1].startswith("sub-") and scan.patient[-1] in parts
    return "the BIDS subject (sub-<label>) of the path" if bids else "named by the JSON of the same stem"


def _check_patients(outlook: Outlook, request: Request) -> None:
    """Set the patients; a fault where the scans of one have different labels or splits.

    If no scan enters, those of all labelled scans, so that other faults are told along with that one.
    """
    scans_of: dict[PatientKey, list[Scan]] = defaultdict(list)
    for scan in outlook.entering or outlook.labelled:
        scans_of[scan.patient].append(scan)
    for what in ("label", "split"):
        torn = {
            patient: scans
            for patient, scans in scans_of.items()
            if len({getattr(scan.label, what) for scan in scans}) > 1
        }
        if torn:
            rows = {scan.row for scans in torn.values() for scan in scans}
            count = "1 patient has" if len(torn) == 1 else f"{len(torn)} patients have"
            outlook.findings.fault(
                f"{count} scans with different {what}s ({lines_text(request.labels.lines, rows)} of the labels table)",
                f"Give all scans of a patient one {what}, or leave some of them out of the table.",
                [patient[-1] for patient in torn],
            )
    outlook.patients = [
        Patient("|".join(patient), scans[0].label.label, scans[0].label.site, scans[0].label.split)
        for patient, scans in sorted(scans_of.items())
    ]


def _check_folds(outlook: Outlook, fold_count: int) -> None:
    """Set the folds as `cohort` will draw them, up to who is in which; faults of classes that are too small for it."""
    drawn = any(not patient.split for patient in outlook.patients)
    findings = outlook.findings
    with findings.collect():
        require_count(fold_count)
        draw_folds(outlook.patients, fold_count, 0)
    count = max(fold_count, FEWEST_FOLDS) if drawn else 1
    outlook.folds = draw_folds(outlook.patients, count, 0)
    for fault in class_faults(outlook.patients, outlook.folds, sorted({each.label for each in outlook.patients})):
        findings.fault(fault.problem, fault.remedy)


def _check_slices(series: Sequence[Series], outlook: Outlook, table: SliceTable) -> None:
    """Faults of slice labels that are no classes; warnings of those that match nothing or no slice."""
    findings = outlook.findings
    classes = {patient.label for patient in outlook.patients}
    foreign = sorted({label for slices in table.rows.values() for label in slices.values()} - classes)
    if foreign:
        findings.fault(
            f"slices are labelled {', '.join(map(repr, foreign))}, but the classes are {', '.join(sorted(classes))}",
            "Use the names of the classes in the table of slice labels.",
        )
    matched = {row for names in map(names_of, series) if names for row in table.matches(names)}
    unmatched = [row for row in table.rows if row not in matched]
    if unmatched:
        findings.warn(
            f"slice labels of {len(unmatched)} of {len(table.rows)} values of {table.key} match no series "
            f"({lines_text(table.lines, unmatched)})",
            f"Compare {table.key} with the headers of the series.",
            unmatched,
        )
    beyond = [*_beyond(outlook.entering, table)]
    if beyond:
        findings.warn(
            f"{len(beyond)} labelled series will be set aside: a slice label names a slice that they do not have",
            "Count the sorted slices from 0.",
            _files(beyond),
        )


def _beyond(scans: Iterable[Scan], table: SliceTable) -> Iterator[Series]:
    for scan in scans:
        names = names_of(scan.series)
        rows = table.matches(names) if names else []
        numbers = [number for number in table.rows[rows[0]] if isinstance(number, int)] if rows else []
        if max(numbers, default=0) >= scan.series.instances:
            yield scan.series
