"""Find the series under a directory, choose one per acquisition and cut them into shards.

Only headers are read, each once. Nothing is rejected here: series that are not chosen are listed in the shards with
the reason. With --labels the tables, the patients, the classes and the folds are checked before any voxel is read, and
all that is wrong is told at once. The shards hold paths and UIDs and stay at the site.
"""

from __future__ import annotations

from claire.core.command.parameters import InputDirectory, InputFile, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire index`."""

    source: InputDirectory = parameter(
        help="directory of DICOM series or NIfTI files",
        details="Any tree, any file names; a `.nii` or `.nii.gz` may have a JSON file of the same stem: DICOM-JSON or "
        "keywords of dcm2niix.",
    )
    labels: InputFile | None = parameter(
        None,
        help="CSV table of labels: checked against the series before any voxel is read",
        details="The workflow gives it, so that a table that matches nothing is refused in seconds.",
    )
    slice_labels: InputFile | None = parameter(
        None,
        help="CSV table with labels of single slices: checked with --labels",
        details="As `ingest` takes it.",
    )
    classes: str = parameter(
        "",
        help="class names in order, the negative one first; checked against --labels",
        details="As `cohort` takes them.",
    )
    fold_count: int | None = parameter(
        None,
        help="folds that each class of --labels must have patients for",
        details="The number that `cohort` draws.",
        ge=1,
    )
    shards: int = parameter(
        4,
        help="shards to cut the series into",
        details="Always as many as asked for, balanced by the bytes of the chosen series; the series of a patient stay "
        "together. Set it to the number of jobs that should work at once.",
        ge=1,
    )
    max_thickness: float = parameter(
        3.0,
        help="slice thickness that a series should not exceed",
        details="Raise it where your protocol has thicker slices only.",
        unit="mm",
        gt=0,
    )
    kernels: str = parameter(
        "",
        help="reconstruction kernels in order of preference, separated by commas; * is any text",
        details="As `B3*,Br40*`; case does not matter. Name them where all scans should have the same kind of kernel: "
        "it then counts more than thinner slices.",
    )
    min_slices: int = parameter(
        20, help="slices that a series should have", details="Change it where scans are thinned or very thick.", ge=1
    )
    list: bool = parameter(
        False,
        help="print the series and what was chosen for people, and write nothing",
        details="It names patients, dates, descriptions, UIDs and files, so look at it at the site only. Below stands "
        "what was passed over: links, archives, masks, files of other kinds.",
        for_people=True,
    )


def run(parameters: Parameters) -> None:
    """Write the shards and the record, or print the table."""
    from claire.index import work

    work.run(parameters)
