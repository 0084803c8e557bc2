"""Table of the series and the choice, for people at the site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from claire.core.contracts.labels import LabelTable
from claire.index.choice import Verdict
from claire.index.early import label_of
from claire.index.series import Series


def table(series: Sequence[Series], verdicts: Iterable[Verdict], labels: LabelTable | None) -> str:
    """Return the series and verdicts as text, with labels if a table is given; it names UIDs or files."""
    rows = [("series", "modality", "slices", "mm", "cover mm", "kernel", "label", "chosen", "why")]
    for each, verdict in zip(series, verdicts, strict=True):
        label = label_of(each, labels) if labels else None
        rows.append((
            (each.header.series_uid if each.header else "") or each.files[0],
            each.header.modality if each.header else "",
            str(each.instances),
            f"{each.thickness_mm:g}" if each.thickness_mm < 1e6 else "",
            f"{each.extent_mm:.0f}",
            each.header.kernel if each.header else "",
            label.label if label else "",
            "yes" if verdict.chosen else "no",
            verdict.why,
        ))  # fmt: skip
    shown = [column for column in range(len(rows[0])) if labels or rows[0][column] != "label"]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(row[column].ljust(widths[column]) for column in shown).rstrip() for row in rows]
    return "\n".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    """Replace control characters of headers, which could control the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
