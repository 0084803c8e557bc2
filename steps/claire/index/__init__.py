"""Find the series under a directory, choose one per acquisition and cut them into shards.

Headers alone are read, each once. Nothing is rejected here: series that are not chosen stand in the shards with the
reason. With --labels the table, the classes and the folds are checked before any voxel is read. The shards hold paths
and UIDs and stay at the site.
"""

from __future__ import annotations

from claire.core.command.parameters import InputDirectory, InputFile, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire index`."""

    source: InputDirectory = parameter(help="directory of DICOM series or NIfTI files")
    labels: InputFile | None = parameter(
        None,
        help="CSV table of labels: checked against the series before any voxel is read",
        details="The workflow gives it, so that a table that matches nothing is refused in seconds.",
    )
    classes: str = parameter("", help="class names in order, the negative one first; checked against --labels")
    fold_count: int | None = parameter(None, help="folds that each class of --labels must have patients for", ge=1)
    shards: int = parameter(4, help="shards to cut the series into", ge=1)
    max_thickness: float = parameter(3.0, help="slice thickness that a series should not exceed", unit="mm", gt=0)
    kernels: str = parameter(
        "", help="reconstruction kernels in order of preference, separated by commas; * is any text"
    )
    min_slices: int = parameter(20, help="slices that a series should have", ge=1)
    list: bool = parameter(
        False, help="print the series and what was chosen for people, and write nothing", for_people=True
    )


def run(parameters: Parameters) -> None:
    """Write the shards and the record, or print the table."""
    from collections import Counter

    from claire.core.command.record import Record
    from claire.core.sources.labels import read_labels
    from claire.index.choice import Rule, choose
    from claire.index.early import check_labels
    from claire.index.series import find_series, require_series
    from claire.index.shards import write_shards
    from claire.index.table import table

    kernels = tuple(part.strip() for part in parameters.kernels.split(",") if part.strip())
    rule = Rule(parameters.max_thickness, kernels, parameters.min_slices)
    labels = read_labels(parameters.labels) if parameters.labels else None
    counts: Counter[str] = Counter()
    if parameters.list:
        series = require_series(find_series(parameters.source, parameters.threads, counts), counts)
        print(table(series, choose(series, rule), labels))
        return
    inputs = {"labels": parameters.labels} if parameters.labels else {}
    with Record("index", "", parameters.out, parameters.recorded(), inputs) as record:
        series = require_series(find_series(parameters.source, parameters.threads, counts), counts)
        verdicts = choose(series, rule)
        if labels:
            check_labels(series, verdicts, labels, parameters.classes, parameters.fold_count)
        write_shards(parameters.out, series, verdicts, parameters.shards, record)
        record.counts.update(counts)
