"""The series found, chosen and cut into shards."""

from __future__ import annotations

from claire.core.command.progress import log
from claire.core.command.record import Record
from claire.core.contracts.labels import read_labels
from claire.index import Parameters
from claire.index.choice import Rule, choose
from claire.index.early import check_labels
from claire.index.series import find_series, require_series
from claire.index.shards import write_shards
from claire.index.table import passed_over, table
from claire.index.tree import Passed


def run(parameters: Parameters) -> None:
    """Write the shards and the record, or print the table."""
    kernels = tuple(part.strip() for part in parameters.kernels.split(",") if part.strip())
    rule = Rule(parameters.max_thickness, kernels, parameters.min_slices)
    labels = read_labels(parameters.labels) if parameters.labels else None
    passed = Passed()
    if parameters.list:
        series = require_series(find_series(parameters.source, parameters.threads, passed), passed)
        print(table(series, choose(series, rule), labels), passed_over(passed), sep="\n\n")
        return
    inputs = {"labels": parameters.labels} if parameters.labels else {}
    with Record("index", "", parameters.out, parameters.recorded(), inputs) as record:
        series = require_series(find_series(parameters.source, parameters.threads, passed), passed)
        verdicts = choose(series, rule)
        if labels:
            check_labels(series, verdicts, labels, parameters.classes, parameters.fold_count)
        write_shards(parameters.out, series, verdicts, parameters.shards, record)
        record.counts.update(passed.counts)
        if passed.summary():
            log.info("passed over: %s", passed.summary())
