"""What the objects of a scan report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from claire.core.contracts.lesions import Lesion

#: Written into every object, and burned into every picture.
RESEARCH_USE = "RESEARCH USE ONLY - not for clinical use"
#: Description of every series; its end says what the series holds.
DESCRIPTION = "CLAIRE research use"
MANUFACTURER, PRODUCT = "CLAIRE", "CLAIRE pipeline"


@dataclass(frozen=True)
class Diagnosis:
    """The result of a model for one scan.

    `scan`, `patient`: pseudonyms. `classes` and `probabilities` have the same order. `decisions`: class that is called,
    by the name of the operating point. `out_of_cohort`: why the scan is unlike those that the model was trained on,
    in plain words without anything that identifies a patient; `cannot_tell`: why the model has no say in the scan; it
    then has no decisions. `model`, `model_sha256`: name and hash of the model file.
    `version`: of this software. `created`: when the model was run, of a record, not of the clock: then the same result
    gives the same bytes. `explained_class`: class whose log-odds the lesions change.
    """

    scan: str
    patient: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    decisions: Mapping[str, str]
    model: str
    model_sha256: str
    version: str
    created: datetime
    out_of_cohort: tuple[str, ...] = ()
    cannot_tell: tuple[str, ...] = ()
    explained_class: str = ""
    lesions: tuple[Lesion, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.probabilities):
            raise ValueError(f"{len(self.probabilities)} probabilities: expected {len(self.classes)}")
        unknown = sorted({*self.decisions.values()} - {*self.classes})
        if unknown:
            raise ValueError(f"decisions for unknown classes {unknown}: expected {list(self.classes)}")
        if self.cannot_tell and self.decisions:
            raise ValueError("decisions where the model has no say: expected none")

    @property
    def ranked(self) -> tuple[Lesion, ...]:
        """The lesions by rank, those without a rank last by id: the order of segments and of the report."""
        return tuple(sorted(self.lesions, key=lambda lesion: (lesion.rank is None, lesion.rank or 0, lesion.id)))


def rank_label(lesion: Lesion) -> str:
    """Return the rank of a lesion in words: "crucial 1", "rank 3" or "unranked"."""
    if lesion.rank is None:
        return "crucial, unranked" if lesion.crucial else "unranked"
    return f"{'crucial' if lesion.crucial else 'rank'} {lesion.rank}"


def lesion_name(lesion: Lesion) -> str:
    """Return the name by which segment and report call a lesion (Tracking ID)."""
    return f"lesion {lesion.id}"
