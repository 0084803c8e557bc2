"""The cohort written: voxels scan by scan, and its tables."""

from __future__ import annotations

from claire.cohort import Parameters, tables
from claire.cohort.gather import Gathered, gather
from claire.core.command.progress import progress
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.cohort import write_cohort
from claire.core.contracts.cohort_summary import write_cohort_summary
from claire.core.contracts.folds import require_count, write_folds
from claire.core.contracts.members import cohort_scans, voxel_blocks
from claire.core.contracts.scan_table import write_scan_table


def run(parameters: Parameters) -> None:
    """Join the shards, or take the finished cohort from the store."""
    stored("cohort", parameters, join)


def join(parameters: Parameters) -> None:
    """Gather the shards, check them, and write the cohort, its tables and the record."""
    require_count(parameters.fold_count)
    files = {f"prepared/{path.name}": path for path in parameters.prepared}
    files |= {f"reject_tables/{path.name}": path for path in parameters.reject_tables}
    with Record("cohort", "", parameters.out, parameters.recorded(), files) as record:
        write(parameters, gather(parameters), record)


def write(parameters: Parameters, gathered: Gathered, record: Record) -> None:
    """Write cohort.h5, cohort.json, scans.csv and folds.csv into `parameters.out`."""
    out, scans = parameters.out, cohort_scans(gathered.members, gathered.classes)
    blocks = progress(voxel_blocks(gathered.members), "joined scan", len(scans))
    sha256 = write_cohort(out / "cohort.h5", scans, gathered.classes, gathered.size, blocks)
    record.output(out / "cohort.h5", sha256)
    summary = tables.summarise(gathered, scans, sha256, parameters.fold_count, parameters.seed)
    record.output(write_cohort_summary(out / "cohort.json", summary))
    record.output(write_scan_table(out / "scans.csv", map(tables.scan_row, gathered.members)))
    record.output(write_folds(out / "folds.csv", tables.fold_rows(gathered.patients, gathered.folds)))
    record.output(out / "rejects.csv")
    record.counts.update(scans=len(scans), patients=len(gathered.patients), rejects=len(gathered.rejects))
    tables.log_summary(summary)
