"""The whole step: write scans, rejects and the private table of a shard, one scan in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from claire.core.command.errors import RejectedScan, require
from claire.core.command.files import file_state, sha256_file
from claire.core.command.progress import about, log, progress
from claire.core.command.record import Record, read_record
from claire.core.command.store import Entry, stored
from claire.core.contracts.archive import stem_of
from claire.core.contracts.rejects import Reject, reject, write_rejects
from claire.core.contracts.scans import write_scans
from claire.core.contracts.shard_list import ListedSeries, read_shard_list
from claire.core.privacy.patients import ambiguous_patients, shared_studies
from claire.core.privacy.pseudonym import Pseudonyms, read_key
from claire.core.sources.formats import DICOM, VOLUMES
from claire.ingest import Parameters
from claire.ingest.private import Outcome, make_private, write_private
from claire.ingest.scan import make_scan
from claire.ingest.site import Site
from claire.ingest.tables import Tables, read_tables


def run(parameters: Parameters) -> None:
    """Write scans, rejects, the private table and the record of one shard, or take them from the store."""
    stem = stem_of(parameters.shard)
    about("ingest", stem)
    series = read_shard_list(parameters.shard)
    unknown = sorted({each.kind for each in series} - {DICOM, *VOLUMES})
    require(
        not unknown,
        f"{parameters.shard.name} holds series of an unknown format: expected {DICOM} or {', '.join(VOLUMES)}, "
        f"got {', '.join(unknown)}",
        "Run `claire index` of this version again.",
    )
    if parameters.private:
        require(
            parameters.private.is_absolute(),
            f"--private {parameters.private} is a relative path: it would be deleted with the job's folder",
            "Give an absolute path at the data site.",
        )
        make_private(parameters.private)
    else:
        log.info("no --private: the table from pseudonyms to series is not written")
    tables = read_tables(parameters, series)
    known = {
        "source": [list(file_state(parameters.source / name)) for each in series for name in each.files],
        **tables.digests,
    }
    stored("ingest", parameters, partial(ingest, tables), known, partial(private_is_whole, parameters))


def private_is_whole(parameters: Parameters, entry: Entry) -> bool:
    """Return whether the private table of a stored result is in --private: it is kept nowhere else."""
    if parameters.private is None:
        return True
    stem = stem_of(parameters.shard)
    table, record = parameters.private / f"{stem}.private.csv", entry.folder / f"{stem}.ingest.run.json"
    if not table.is_file() or not record.is_file():
        return False
    return read_record(record).facts.get("private_table") == seal(table, read_key(parameters.key))


def seal(table: Path, pseudonyms: Pseudonyms) -> str:
    """Return a keyed hash of the private table: it tells nothing to who does not have the key."""
    return pseudonyms.digest("private table", "", sha256_file(table)).hex()


def ingest(tables: Tables, parameters: Parameters) -> None:
    """Write scans, rejects, the private table and the record of one shard."""
    stem = stem_of(parameters.shard)
    pseudonyms, headers = tables.pseudonyms, tables.headers
    inputs: dict[str, Path | str] = {"shard": parameters.shard, **tables.digests}
    with Record("ingest", stem, parameters.out, parameters.recorded(), inputs) as record:
        site = Site(
            source=parameters.source,
            shard=stem,
            labels=tables.labels,
            slice_labels=tables.slice_labels,
            pseudonyms=pseudonyms,
            ambiguous=ambiguous_patients(headers.values()),
            shared_studies=shared_studies(headers.values()),
            resample_tilt=parameters.gantry_tilt == "resample",
            min_slices=parameters.min_slices,
            threads=parameters.threads,
        )
        outcomes = write_outputs(parameters.out, tables.series, site, record)
        if parameters.private:
            record.facts["private_table"] = seal(write_private(parameters.private, stem, outcomes, headers), pseudonyms)


def write_outputs(out: Path, series: Sequence[ListedSeries], site: Site, record: Record) -> list[Outcome]:
    """Write the scans and rejects of a shard; return the outcome of each series."""
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
