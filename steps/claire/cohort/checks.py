"""What a cohort must be before anybody trains on it: each refusal says what is wrong and what to do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from claire.cohort.shards import Member, reject_row
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.cohort import Scan
from claire.core.contracts.scans import shard_stem

#: Class names that are known to mean negative, best first.
NEGATIVE = ("negative", "normal", "control", "healthy", "non-covid", "noncovid", "no", "0")
#: A choice, no fault: series passed over for a better one of the same acquisition.
NOT_CHOSEN = "not_chosen"


def require_all_shards(prepared: Iterable[Path], rejects: Iterable[Path]) -> None:
    """Raise UsageError where a shard has a table of rejects but no prepared scans: a part of the cohort is missing."""
    missing = sorted({shard_stem(path) for path in rejects} - {shard_stem(path) for path in prepared})
    if missing:
        raise UsageError(
            f"shard {missing[0]} has rejects but no prepared scans ({len(missing)} such shards)",
            "Give the NNNN.prepared.h5 of every shard to --prepared.",
        )


def require_scans(scans: Sequence[Member], rejects: Iterable[Mapping[str, Any]]) -> None:
    """Raise ClaireError when no scan is left; UsageError when that is because the labels table matches none."""
    if scans:
        return
    reasons = reject_reasons(rejects)
    if set(reasons) == {"no_label"}:
        raise UsageError(
            f"none of the {reasons['no_label']} chosen series has a label: the labels table matches none of them",
            "Compare its key column with the headers of the series; spreadsheets drop leading zeros.",
        )
    raise ClaireError(
        f"no scan is left for the cohort ({told(reasons) or 'and none was set aside'})",
        "Look at the details of the reasons in rejects.csv of each step, and mend the source.",
    )


def require_few_rejects(kept: int, rejects: Iterable[Mapping[str, Any]], limit: float) -> None:
    """Raise ClaireError when more than `limit` of the chosen scans were set aside."""
    reasons = reject_reasons(rejects)
    lost = sum(reasons.values())
    if lost > limit * (kept + lost):
        raise ClaireError(
            f"{lost} of {kept + lost} chosen scans were set aside ({told(reasons)}), "
            f"more than --max-reject-fraction {limit:g} allows",
            "Mend the source or the labels table, or raise --max-reject-fraction if that is as expected.",
        )


def reject_reasons(rejects: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return how many chosen scans were set aside under each reason, most first."""
    found = Counter(row["reason"] for row in rejects if row["reason"] != NOT_CHOSEN)
    return Counter(dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))))


def told(counts: Mapping[str, int]) -> str:
    """Return counts in words."""
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def without_duplicates(members: Sequence[Member]) -> tuple[list[Member], list[dict[str, Any]]]:
    """Return the members without a patient's second copy of the same pixels, and the reject rows of those.

    Raises ClaireError when the same pixels stand under two patients: folds would leak.
    """
    first: dict[str, Member] = {}
    kept, rejects = [], []
    for member in members:
        pixels = member.scan.facts.get("pixel_hash") or member.scan.scan
        other = first.setdefault(pixels, member)
        if other is member:
            kept.append(member)
        elif other.scan.patient == member.scan.patient:
            rejects.append(reject_row(member, "duplicate", f"same pixels as {other.scan.scan}"))
        else:
            raise ClaireError(
                f"patients {other.scan.patient} and {member.scan.patient} have the same pixels "
                f"(scans {other.scan.scan} and {member.scan.scan})",
                "Give both one `patient` in the labels table, or leave one of them out of it.",
            )
    return kept, rejects


def require_one_value(scans: Sequence[Scan], what: str, values: Sequence[str]) -> None:
    """Raise ClaireError naming the patients whose scans differ in `values`, one a scan."""
    found: dict[str, set[str]] = defaultdict(set)
    for scan, value in zip(scans, values, strict=True):
        found[scan.patient].add(value)
    torn = {patient: sorted(given) for patient, given in sorted(found.items()) if len(given) > 1}
    if torn:
        patient, given = next(iter(torn.items()))
        words = " and ".join(f"'{value}'" if value else "none" for value in given)
        more = f", and {len(torn) - 1} more patients likewise" if len(torn) > 1 else ""
        raise ClaireError(
            f"patient {patient} has scans with different {what}: {words}{more}",
            f"Give all scans of a patient one {what} in the labels table, or leave some of them out of it.",
        )


def class_order(labels: Collection[str], wanted: str) -> tuple[str, ...]:
    """Return the classes in order: `wanted` (comma list) or a known negative name first, then by the alphabet.

    Raises UsageError on fewer than two classes, on names that differ in case only, and when `wanted` is not the same
    set as `labels`.
    """
    folded = Counter(label.casefold() for label in labels)
    alike = sorted(label for label in labels if folded[label.casefold()] > 1)
    if alike:
        raise UsageError(f"labels differ in case only: {', '.join(alike)}", "Spell each class one way.")
    if len(labels) < 2:
        raise UsageError(
            f"all patients have the label '{next(iter(labels), '')}': there is nothing to tell apart",
            "Label patients of at least two classes.",
        )
    if wanted:
        return _wanted_order(labels, [name.strip() for name in wanted.split(",")])
    return tuple(sorted(labels, key=lambda label: (_rank(label), label)))


def _rank(label: str) -> int:
    name = label.casefold()
    return NEGATIVE.index(name) if name in NEGATIVE else len(NEGATIVE)


def _wanted_order(labels: Collection[str], names: Sequence[str]) -> tuple[str, ...]:
    if sorted(names) != sorted(labels):
        raise UsageError(
            f"--classes names {', '.join(names)}, but the scans are labelled {', '.join(sorted(labels))}",
            "Name each of these once, or mend the labels table.",
        )
    return tuple(names)
