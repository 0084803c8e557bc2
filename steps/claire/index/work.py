"""The series found, chosen and cut into shards."""

from __future__ import annotations

from claire.core.command.findings import Findings
from claire.core.command.progress import log
from claire.core.command.record import Record
from claire.core.contracts.labels import read_labels, read_slice_labels
from claire.index import Parameters
from claire.index.choice import Rule, choose
from claire.index.early import Request, foretell
from claire.index.series import find_series, require_series
from claire.index.shards import write_shards
from claire.index.table import passed_over, table
from claire.index.tree import Passed


def run(parameters: Parameters) -> None:
    """Write the shards and the record, or print the table."""
    rule = rule_of(parameters)
    request = _read_tables(parameters)
    passed = Passed()
    if parameters.list:
        series = require_series(find_series(parameters.source, parameters.threads, passed), passed)
        labels = request.labels if request else None
        print(table(series, choose(series, rule), labels), passed_over(passed), sep="\n\n")
        return
    tables = {"labels": parameters.labels, "slice_labels": parameters.slice_labels}
    inputs = {name: path for name, path in tables.items() if path}
    with Record("index", "", parameters.out, parameters.recorded(), inputs) as record:
        series = require_series(find_series(parameters.source, parameters.threads, passed), passed)
        verdicts = choose(series, rule)
        if request:
            _check(foretell(series, verdicts, request).findings)
        write_shards(parameters.out, series, verdicts, parameters.shards, record)
        record.counts.update(passed.counts)
        if passed.summary():
            log.info("passed over: %s", passed.summary())


def rule_of(parameters: Parameters) -> Rule:
    """Return the rule of choice that the flags ask for."""
    kernels = tuple(part.strip() for part in parameters.kernels.split(",") if part.strip())
    return Rule(parameters.max_thickness, kernels, parameters.min_slices)


def _read_tables(parameters: Parameters) -> Request | None:
    """Return what is asked of the headers, None without --labels. Raises UsageError with the faults of both tables."""
    findings = Findings()
    labels, slice_labels = None, None
    with findings.collect():
        labels = read_labels(parameters.labels) if parameters.labels else None
    with findings.collect():
        slice_labels = read_slice_labels(parameters.slice_labels) if parameters.slice_labels else None
    _require_none(findings)
    if labels is None:
        return None
    return Request(labels, slice_labels, parameters.classes, parameters.fold_count, parameters.min_slices)


def _check(findings: Findings) -> None:
    """Log notes and warnings. Raises UsageError with all faults."""
    for note in findings.notes:
        log.info("%s", note.problem)
    for warning in findings.warnings:
        log.warning("%s", warning.problem)
    _require_none(findings)


def _require_none(findings: Findings) -> None:
    if findings.faults:
        raise findings.error(
            "labels, patients, classes and folds have", "Correct each of them; nothing was read but headers."
        )
