"""The whole step: mask the lungs of a shard, one scan in memory at a time."""

from __future__ import annotations

from claire.core.command.errors import RejectedScan
from claire.core.command.progress import about, progress
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.archive import stem_of
from claire.core.contracts.masks import write_masks
from claire.core.contracts.rejects import Reject, reject, write_rejects
from claire.core.contracts.scans import ScansReader
from claire.core.imaging.volume import Volume
from claire.segment import Parameters
from claire.segment.lungs import segment_lungs


def run(parameters: Parameters) -> None:
    """Mask the lungs of a shard, or take the finished masks from the store."""
    about("segment", stem_of(parameters.scans))
    stored("segment", parameters, segment)


def segment(parameters: Parameters) -> None:
    """Write `NNNN.lungs.zip`, the rejects and the record; one scan is in memory at a time."""
    stem = stem_of(parameters.scans)
    rejects: list[Reject] = []
    with Record("segment", stem, parameters.out, parameters.recorded(), {"scans": parameters.scans}) as record:
        path = parameters.out / f"{stem}.lungs.zip"
        with ScansReader(parameters.scans) as scans, write_masks(path) as masks:
            for scan in progress(scans.scans(), "lungs of scan"):
                volume = scans.volume(scan)
                try:
                    mask, lungs = segment_lungs(volume)
                except RejectedScan as error:
                    facts = scans.facts(scan)
                    rejects.append(reject("segment", facts.shard, facts.line, scan, error))
                    masks.add_rejected(scan, error.reason)
                    continue
                masks.add(scan, Volume(mask, volume.affine), lungs)
                record.counts.update(scans=1, warned=bool(lungs.warnings), cut_at_border=lungs.cut_at_border)
        record.output(path)
        record.output(write_rejects(parameters.out / f"{stem}.segment.rejects.csv", rejects))
        record.counts.update(rejected=len(rejects))
