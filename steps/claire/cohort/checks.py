"""What a cohort must be before anybody trains on it: each refusal says what is wrong and what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.archive import stem_of
from claire.core.contracts.members import Member
from claire.core.contracts.rejects import Reject, count_reasons, counts_text
from claire.core.contracts.scans import ScanFacts


def require_all_shards(prepared: Iterable[Path], rejects: Iterable[Path]) -> None:
    """Raise UsageError where a shard has a table of rejects but no prepared scans: a part of the cohort is missing."""
    missing = sorted({stem_of(path) for path in rejects} - {stem_of(path) for path in prepared})
    if missing:
        raise UsageError(
            f"shard {missing[0]} has rejects but no prepared scans ({len(missing)} such shards)",
            "Give the NNNN.prepared.h5 of every shard to --prepared.",
        )


def require_scans(members: Sequence[Member], rejects: Sequence[Reject]) -> None:
    """Raise ClaireError when no scan is left; UsageError when that is because the labels table matches none."""
    if members:
        return
    reasons = count_reasons(row for row in rejects if row.reason != "not_chosen")
    if set(reasons) == {"no_label"}:
        raise UsageError(
            f"none of the {reasons['no_label']} chosen series has a label: the labels table matches none of them",
            "Compare its key column with the headers of the series; spreadsheets drop leading zeros.",
        )
    raise ClaireError(
        f"no scan is left for the cohort ({counts_text(reasons) or 'and none was set aside'})",
        "Look at the details of the reasons, and correct the source.",
    )


def require_few_rejects(entered: int, rejects: Sequence[Reject], limit: float) -> None:
    """Raise ClaireError when more than `limit` of the scans that could have entered were set aside."""
    reasons = count_reasons(rejects, lost=True)
    lost = sum(reasons.values())
    if lost > limit * (entered + lost):
        raise ClaireError(
            f"{lost} of {entered + lost} scans that could have entered were set aside ({counts_text(reasons)}), "
            f"more than --max-reject-fraction {limit:g} allows",
            "Correct the source or the labels table, or raise --max-reject-fraction if that is as expected.",
        )


def without_duplicates(members: Sequence[Member]) -> tuple[list[Member], list[Reject]]:
    """Return the members without a patient's second copy of the same voxels, and the rejects of those.

    Raises ClaireError when the same voxels are under two patients: folds would leak.
    """
    first: dict[str, Member] = {}
    unique: list[Member] = []
    duplicates: list[Reject] = []
    for member in members:
        first_copy = first.setdefault(member.facts.pixel_hash, member)
        if first_copy is member:
            unique.append(member)
        elif first_copy.facts.patient == member.facts.patient:
            duplicates.append(member.rejected("duplicate", f"same voxels as {first_copy.facts.scan}"))
        else:
            raise ClaireError(
                f"patients {first_copy.facts.patient} and {member.facts.patient} have the same voxels "
                f"(scans {first_copy.facts.scan} and {member.facts.scan})",
                "Give both one `patient` in the labels table, or leave one of them out of it.",
            )
    return unique, duplicates


def require_one_value(scans: Sequence[ScanFacts], what: str, values: Sequence[str]) -> None:
    """Raise ClaireError naming the patients whose scans differ in `values`, one per scan."""
    values_of: dict[str, set[str]] = defaultdict(set)
    for scan, value in zip(scans, values, strict=True):
        values_of[scan.patient].add(value)
    torn = {patient: sorted(different) for patient, different in sorted(values_of.items()) if len(different) > 1}
    if torn:
        patient, different = next(iter(torn.items()))
        values_text = " and ".join(f"'{value}'" if value else "none" for value in different)
        more = f", and {len(torn) - 1} more patients likewise" if len(torn) > 1 else ""
        raise ClaireError(
            f"patient {patient} has scans with different {what}: {values_text}{more}",
            f"Give all scans of a patient one {what} in the labels table, or leave some of them out of it.",
        )
