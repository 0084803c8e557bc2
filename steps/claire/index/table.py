"""Table of the series and the choice, for people at the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from claire.core.contracts.labels import LabelTable, parse_date
from claire.index.choice import Verdict
from claire.index.early import label_of
from claire.index.series import Series
from claire.index.tree import PASSED, Passed

COLUMNS = (
    *("patient", "date", "study", "description", "series", "modality"),
    *("slices", "mm", "cover mm", "kernel", "label", "chosen", "why"),
)
#: Free text of headers and names in the list are cut; the shards hold all.
_LONGEST, _MOST_NAMES = 32, 20


def table(series: Sequence[Series], verdicts: Iterable[Verdict], labels: LabelTable | None) -> str:
    """Return the series and verdicts as text, with labels if a table is given; it names patients, UIDs and files."""
    rows = [COLUMNS, *(_row(each, verdict, labels) for each, verdict in zip(series, verdicts, strict=True))]
    shown = [column for column, name in enumerate(COLUMNS) if labels or name != "label"]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(row[column].ljust(widths[column]) for column in shown).rstrip() for row in rows]
    return "\n".join(lines)


def _row(each: Series, verdict: Verdict, labels: LabelTable | None) -> tuple[str, ...]:
    header, label = each.header, label_of(each, labels) if labels else None
    cells = (
        header.patient_id if header else "",
        study_date(each),
        _cut(header.study_description) if header else "",
        _cut(header.description) if header else "",
        (header.series_uid if header else "") or each.files[0],
        header.modality if header else "",
        str(each.instances),
        f"{each.thickness_mm:g}" if each.thickness_mm < 1e6 else "",
        f"{each.extent_mm:.0f}",
        header.kernel if header else "",
        label.label if label else "",
        "yes" if verdict.chosen else "no",
        verdict.why,
    )
    return tuple(map(printable, cells))


def study_date(each: Series) -> str:
    """Return the date of a series' study, YYYY-MM-DD; "" where it is missing or no date."""
    date = parse_date(each.header.study_date) if each.header else None
    return date.isoformat() if date else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def passed_over(passed: Passed) -> str:
    """Return what is no series: counts, then the names of links, archives and folders that may hold scans."""
    return "\n".join([f"passed over: {passed.summary() or 'nothing'}", *_names(passed)])


def _names(passed: Passed) -> Iterator[str]:
    for kind, (singular, _) in PASSED.items():
        names = sorted(passed.names.get(kind, []))
        yield from (f"  {singular}: {printable(name)}" for name in names[:_MOST_NAMES])
        if len(names) > _MOST_NAMES:
            yield f"  {singular}: and {len(names) - _MOST_NAMES} more"


def printable(text: str) -> str:
    """Replace control characters of headers, which could control the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
