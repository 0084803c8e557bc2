"""The order of the classes: the negative one first. Only the user knows which one that is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from claire.core.command.errors import UsageError

#: Class names that are known to mean negative, in the form of `_folded`.
NEGATIVE = frozenset(
    [
        "negative",
        "neg",
        "normal",
        "control",
        "controls",
        "healthy",
        "none",
        "no",
        "0",
        "absent",
        "nofinding",
        "nofindings",
        "noncovid",
        "noncovid19",
        "noncovidct",
        "notcovid",
        "ctnoncovid",
        "covidnegative",
        "covid19negative",
        "nocovid",
        "nocovid19",
        "noinfection",
        "nopneumonia",
        "nodisease",
    ]
)


def class_order(labels: Collection[str], classes: str) -> tuple[str, ...]:
    """Return the classes in order: `classes` (comma list), or the known negative name first, then alphabetically.

    Raises UsageError on fewer than two classes, on names that differ in case only, when `classes` is not the same set
    as `labels`, and when the negative class is unknown.
    """
    folded = Counter(label.casefold() for label in labels)
    case_variants = sorted(label for label in labels if folded[label.casefold()] > 1)
    if case_variants:
        raise UsageError(f"labels differ in case only: {', '.join(case_variants)}", "Spell each class one way.")
    if len(labels) < 2:
        raise UsageError(
            f"all patients have the label '{next(iter(labels), '')}': there is nothing to distinguish",
            "Label patients of at least two classes.",
        )
    if classes:
        return _given_order(labels, [name.strip() for name in classes.split(",")])
    negative = sorted(label for label in labels if _folded(label) in NEGATIVE)
    if len(negative) != 1:
        names = ", ".join(sorted(labels))
        reason = "several of them may" if negative else "none of them is known to"
        raise UsageError(
            f"the classes are {names}: {reason} mean negative",
            f"Name all classes in order, the negative one first: --classes '{','.join(sorted(labels))}' "
            "(`classes` in a job file), in the order that is right.",
        )
    return (negative[0], *sorted(set(labels) - set(negative)))


def _folded(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.casefold())


def _given_order(labels: Collection[str], names: Sequence[str]) -> tuple[str, ...]:
    if sorted(names) != sorted(labels):
        raise UsageError(
            f"--classes names {', '.join(names)}: expected the labels of the scans, {', '.join(sorted(labels))}",
            "Name each of these once, or correct the labels table.",
        )
    return tuple(names)
