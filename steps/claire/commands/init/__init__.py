"""Make a project of your own series: labels table, key, grid, job file and what a run will cost.

Only headers are read. The folder then holds a `labels.csv` to be filled in (or joined from a table of yours), a
`patients.csv` that helps to fill it, a `key` for the pseudonyms, a starter `grid.yml` and a `job.yml` whose comments
explain each line. Nothing that is there is overwritten, and nothing is written into the source.
"""

from __future__ import annotations

from claire.core.command.parameters import InputDirectory, InputFile, SitePath, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire init`."""

    directory: SitePath = parameter(
        help="folder of the new project; created if missing, outside the source", positional=True
    )
    source: InputDirectory = parameter(
        help="directory of DICOM series or NIfTI files", details="Only read, by headers, as `claire index` does."
    )
    labels_from: InputFile | None = parameter(
        None,
        help="CSV or TSV table of yours to take the labels from",
        details="Patients and rows are matched by patient ID, study or series UID, path or name of a file; how many "
        "matched, and how, is said. The columns `reference_standard` and `site` are taken along.",
    )
    key_column: str = parameter(
        "",
        help="column of --labels-from that names the patient, study, series or path",
        details="Without it a column named `patient_id`, `study_uid`, `series_uid` or `path`.",
    )
    label_column: str = parameter("label", help="column of --labels-from that holds the label")
    classes: str = parameter(
        "",
        help="class names in order, separated by commas, the negative one first",
        details="As normal,covid. It is never guessed which class is negative: without this flag you fill it in.",
    )
    seed: int = parameter(1, help="seed of folds and trainings, for the job file", ge=0, lt=2**31)
    calibrate: bool = parameter(
        False,
        help="time the starter grid's first variant here for a minute, to estimate the hours",
        details="Needs torch. Without it the hours are a guess from the project's own machine.",
    )


def run(parameters: Parameters) -> None:
    """Index the source, write the project and print what it holds, what it costs and what comes next."""
    from claire.commands.init import work

    work.run(parameters)
