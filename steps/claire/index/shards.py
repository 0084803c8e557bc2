"""Distribution of series to shards: what must stay together, and how shards are balanced."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

from claire.core.command.progress import log
from claire.core.command.record import Record
from claire.core.contracts.shard_list import ListedSeries, write_shard_list
from claire.index.choice import Verdict
from claire.index.series import Series

#: Weight of a series that is not chosen: one row in the rejects.
_IDLE_BYTES = 1


def write_shards(
    out: Path, series: Sequence[Series], verdicts: Sequence[Verdict], shard_count: int, record: Record
) -> None:
    """Write `NNNN.shard.jsonl`, `shard_count` files, balanced by the bytes of the chosen series."""
    for number, members in enumerate(deal(series, verdicts, shard_count)):
        lines = [_listed(line, series[index], verdicts[index]) for line, index in enumerate(members)]
        record.output(write_shard_list(out / f"{number:04d}.shard.jsonl", lines))
    chosen = sum(verdict.chosen for verdict in verdicts)
    record.counts.update(series=len(series), chosen=chosen)
    log.info("%d series, %d chosen, in %d shards", len(series), chosen, shard_count)


def deal(series: Sequence[Series], verdicts: Sequence[Verdict], shard_count: int) -> list[list[int]]:
    """Deal series to shards, heaviest owner first to the lightest shard; a patient's series stay together.

    So do the series of a study, even under several PatientIDs. Returns positions in `series`, ascending in each shard.
    """
    owners = owners_of(series)
    weight: Counter[tuple[str, ...]] = Counter()
    for owner, each, verdict in zip(owners, series, verdicts, strict=True):
        weight[owner] += each.bytes if verdict.chosen else _IDLE_BYTES
    loads, shard_of = [0] * shard_count, {}
    for owner in sorted(weight, key=lambda owner: (-weight[owner], owner)):
        shard_of[owner] = loads.index(min(loads))
        loads[shard_of[owner]] += weight[owner]
    return [[i for i, owner in enumerate(owners) if shard_of[owner] == shard] for shard in range(shard_count)]


def owners_of(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """Return the owner of each series: the first of all patients that are linked by a shared StudyInstanceUID."""
    parent: dict[Hashable, Hashable] = {}

    def root(node: Hashable) -> Hashable:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for each in series:
        if each.header and each.header.study_uid:
            parent[root(("study", each.header.study_uid))] = root(each.owner)
    groups: dict[Hashable, list[tuple[str, ...]]] = defaultdict(list)
    for each in series:
        groups[root(each.owner)].append(each.owner)
    first = {group: min(owners) for group, owners in groups.items()}
    return [first[root(each.owner)] for each in series]


def _listed(line: int, series: Series, verdict: Verdict) -> ListedSeries:
    header = series.header
    return ListedSeries(
        line=line,
        kind=series.kind,
        study_uid=header.study_uid if header else "",
        series_uid=header.series_uid if header else "",
        part=series.part,
        bytes=series.bytes,
        files=tuple(series.files),
        instances=series.instances,
        modality=header.modality if header else "",
        chosen=verdict.chosen,
        why=verdict.why,
        problem=series.problem,
    )
