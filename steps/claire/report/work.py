"""The whole step: read the inputs, write the page and the crate."""

from __future__ import annotations

from claire.core.command.errors import require
from claire.core.command.files import sha256_file, write_json, write_text
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.report import Parameters
from claire.report.crate import crate
from claire.report.inputs import read_inputs
from claire.report.page import render

TABLES = ("leaderboard", "metrics", "comparisons", "curves", "cohort_summary", "scans", "folds", "rejects")
MANIFESTS = ("lesions", "overlays", "records")


def run(parameters: Parameters) -> None:
    """Write the report, or take the finished one from the store."""
    stored("report", parameters, write_report)


def write_report(parameters: Parameters) -> None:
    """Read everything, write the page, the crate and the record."""
    tables = {name: getattr(parameters, name) for name in TABLES}
    inputs = read_inputs(
        parameters.title, parameters.images, tables, parameters.lesions, parameters.overlays, parameters.records
    )
    hashes = {name: inputs.hashes[path.name] for name, path in tables.items()}
    hashes |= {path.name: inputs.hashes[path.name] for name in MANIFESTS for path in getattr(parameters, name)}
    require(
        inputs.metrics.cohort_sha256 == inputs.cohort.sha256,
        f"{parameters.metrics.name} and {parameters.cohort_summary.name} are from different cohorts",
        "Give the files of one run.",
    )
    with Record("report", "", parameters.out, parameters.recorded(), hashes) as record:
        page = record.output(write_text(parameters.out / "report.html", render(inputs, parameters.picture_limit)))
        present = {**inputs.hashes, page.name: sha256_file(page)}
        document = crate([*inputs.records, record.so_far()], present, parameters.title)
        record.output(write_json(parameters.out / "ro-crate-metadata.json", document))
        record.counts.update(scans=len(inputs.scans), explained=len(inputs.explained), records=len(inputs.records))
