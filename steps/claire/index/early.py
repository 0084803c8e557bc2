"""Labels, classes and folds checked against the headers: refused in seconds, before any voxel is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from claire.core.command.errors import UsageError
from claire.core.command.progress import log
from claire.core.contracts.classes import class_order
from claire.core.contracts.labels import Label, LabelTable, Names
from claire.index.choice import Verdict
from claire.index.series import Series
from claire.index.shards import owners_of

FEWEST_FOLDS = 3


def label_of(series: Series, labels: LabelTable) -> Label | None:
    """Return the label of a series; None if the table has none."""
    header = series.header
    if header is None:
        return None
    return labels.find(Names(header.patient_id, header.study_uid, header.series_uid, tuple(series.files)))


def check_labels(
    series: Sequence[Series], verdicts: Sequence[Verdict], labels: LabelTable, classes: str, fold_count: int | None
) -> None:
    """Raise UsageError if the table matches no chosen series, the classes are ambiguous or a class is too small.

    Later checks are stricter: a scan may still be set aside for its voxels.
    """
    chosen = [i for i, verdict in enumerate(verdicts) if verdict.chosen]
    labelled = [(i, label) for i in chosen if (label := label_of(series[i], labels))]
    log.info("%d of %d chosen series have a label", len(labelled), len(chosen))
    if not labelled:
        raise UsageError(
            f"none of the {len(chosen)} chosen series has a label: the labels table matches none of them",
            "Compare its key column with the headers of the series; spreadsheets drop leading zeros.",
        )
    owners = owners_of(series)
    patients: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for i, label in labelled:
        if not label.split:
            patients[label.label].add(("table", label.patient) if label.patient else owners[i])
    class_order({label.label for _, label in labelled}, classes)
    if fold_count is not None:
        _check_size(patients, max(fold_count, FEWEST_FOLDS))


def _check_size(patients: dict[str, set[tuple[str, ...]]], needed: int) -> None:
    for name, members in sorted(patients.items()):
        if len(members) < needed:
            raise UsageError(
                f"class '{name}' has {len(members)} labelled patients: expected at least {needed}, one per fold",
                f"Give --fold-count {len(members)} at most, or add patients of this class."
                if len(members) >= FEWEST_FOLDS
                else f"Add patients of this class; {FEWEST_FOLDS} are the least.",
            )
