"""The list of patients: a row per scan, and the series that were set aside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from claire.core.contracts.rejects import REASONS, Reject, count_reasons
from claire.deliver.inputs import Inputs
from claire.deliver.patient_page import ScanResult
from claire.deliver.render import render
from claire.deliver.words import shown_class

#: Reasons of a row; all stand on the page of the patient.
REASONS_SHOWN = 2


class ListPage:
    """Collects a row per scan, so that no picture stays in memory."""

    def __init__(self, inputs: Inputs, keep_identity: bool) -> None:
        self._inputs, self._keep_identity = inputs, keep_identity
        self._rows: list[dict[str, Any]] = []

    def add(self, scan: ScanResult) -> None:
        """Add the row of a scan."""
        predicted, found = scan.new.predicted, scan.new.found
        name = shown_class(predicted.verdict)
        lesions = found.explained.lesions if found else ()
        self._rows.append({
            "predicted": predicted,
            "shown": name,
            "identity": " · ".join([*scan.identity.values()][:2]),
            "lesions": "not sought" if found is None else str(len(lesions)),
            "crucial": sum(lesion.crucial for lesion in lesions) if found else None,
            "why": predicted.verdict.cannot_tell[:REASONS_SHOWN],
            "more": len(predicted.verdict.cannot_tell[REASONS_SHOWN:]),
        })  # fmt: skip

    def text(self) -> str:
        """Return the page."""
        rows = sorted(self._rows, key=lambda row: (row["predicted"].patient, row["predicted"].scan))
        return render(
            "index.html",
            {
                "rows": rows,
                "patients": len({row["predicted"].patient for row in rows}),
                "told": sum(not row["predicted"].verdict.cannot_tell for row in rows),
                "set_aside": set_aside(self._inputs.rejects),
                "predictions": self._inputs.predictions,
                "card": self._inputs.model.document.card,
                "keep_identity": self._keep_identity,
            },
        )


def set_aside(rejects: Sequence[Reject]) -> list[dict[str, Any]]:
    """Return the reasons, most frequent first, with their meaning and the pseudonyms."""
    rows: dict[str, list[Reject]] = defaultdict(list)
    for row in rejects:
        rows[row.reason].append(row)
    return [
        {"reason": reason, "meaning": REASONS[reason].meaning, "count": count, "rows": rows[reason]}
        for reason, count in count_reasons(rejects).items()
    ]
