"""Mask the left and right lung of every scan of a shard.

No weights: HU thresholds, components and shape (see `claire.segment.lungs`). Consolidations and pleural ground glass
stay inside the mask, the trachea stays outside. A scan without lungs is set aside under a reason; the others go on.
"""

from __future__ import annotations

from typing import Any

from claire.core.command.errors import RejectedScan
from claire.core.command.parameters import InputFile, StepParameters, parameter
from claire.core.command.progress import about, progress
from claire.core.command.record import SCHEMA_VERSION, Record
from claire.core.command.tables import write_rejects

STEP = "segment"


class Parameters(StepParameters):
    """Parameters of `claire segment`."""

    scans: InputFile = parameter(help="NNNN.scans.zip of ingest: the scans of one shard")


def run(parameters: Parameters) -> None:
    """Write `NNNN.lungs.zip`, the rejects and the record; one scan is in memory at a time."""
    from claire.core.contracts.scans import ShardReader, shard_stem, write_shard
    from claire.core.imaging.volume import Volume
    from claire.segment.lungs import segment_lungs

    stem = shard_stem(parameters.scans)
    about(STEP, stem)
    rejects: list[dict[str, Any]] = []
    with Record(STEP, stem, parameters.out, {}, {"scans": parameters.scans}) as record:
        masks = parameters.out / f"{stem}.lungs.zip"
        with ShardReader(parameters.scans) as scans, write_shard(masks) as shard:
            for scan in progress(scans.names(), "lungs of scan"):
                volume = scans.volume(scan)
                try:
                    mask, facts = segment_lungs(volume)
                except RejectedScan as reject:
                    rejects.append(reject_row(stem, scan, scans.facts(scan), reject))
                    shard.add_facts(scan, {"schema_version": SCHEMA_VERSION, "scan": scan, "rejected": reject.reason})
                    continue
                shard.add_volume(
                    scan, Volume(mask, volume.affine), {"schema_version": SCHEMA_VERSION, "scan": scan, **facts}
                )
                record.counts.update(scans=1, warned=bool(facts["warnings"]), cut_at_border=facts["cut_at_border"])
        record.output(masks)
        record.output(write_rejects(parameters.out / f"{stem}.{STEP}.rejects.csv", rejects))
        record.counts.update(rejected=len(rejects))


def reject_row(stem: str, scan: str, facts: dict[str, Any], reject: RejectedScan) -> dict[str, Any]:
    """Return the row of the rejects table for one scan."""
    place = {"step": STEP, "shard": stem, "line": facts.get("line"), "scan": scan}
    return {**place, "reason": reject.reason, "detail": reject.detail}
