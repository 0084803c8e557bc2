"""A shard ingested: scans, rejects and the private table written, one scan in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from claire.core.command.errors import RejectedScan
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.contracts.rejects import Reject, reject, write_rejects
from claire.core.contracts.scans import write_scans
from claire.core.contracts.shard_list import ListedSeries
from claire.ingest.private import Outcome
from claire.ingest.scan import make_scan
from claire.ingest.site import Site


def write_outputs(out: Path, series: Sequence[ListedSeries], site: Site, record: Record) -> list[Outcome]:
    """Write the scans and rejects of a shard; return what became of each series."""
    rejects: list[Reject] = []
    outcomes: list[Outcome] = []
    written: set[str] = set()
    path = out / f"{site.shard}.scans.zip"
    with write_scans(path) as scans:
        for each in progress(series, "series"):
            scan, reason, patient = site.pseudonyms.scan(each.name), "", ""
            try:
                volume, facts = make_scan(each, site, scan in written)
            except RejectedScan as error:
                reason = error.reason
                rejects.append(reject("ingest", site.shard, each.line, scan, error))
            else:
                scans.add(facts, volume)
                written.add(scan)
                patient = facts.patient
            record.counts[f"rejected_{reason}" if reason else "scans"] += 1
            outcomes.append(Outcome(each, scan, patient, reason))
    record.output(path)
    record.output(write_rejects(out / f"{site.shard}.ingest.rejects.csv", rejects))
    log.info("%d scans, %d series set aside", record.counts["scans"], len(rejects))
    return outcomes
