"""Write everything into one self-contained HTML page.

The page holds the cohort, the leaderboard, curves with intervals, guards, one page per scan with its ranked lesions,
rejects and provenance. It makes no network requests and opens in any browser. The provenance of the run is also written
in machine-readable form (`ro-crate-metadata.json`), from the records.
"""

from __future__ import annotations

from claire.core.command.parameters import InputFile, Manifest, StoredParameters, parameter
from claire.core.privacy.pictures import Policy


class Parameters(StoredParameters):
    """Parameters of `claire report`."""

    leaderboard: InputFile = parameter(help="leaderboard.csv of evaluate")
    metrics: InputFile = parameter(help="metrics.json of evaluate")
    comparisons: InputFile = parameter(help="comparisons.csv of evaluate")
    curves: InputFile = parameter(help="curves.csv of evaluate")
    cohort_summary: InputFile = parameter(help="cohort.json of cohort")
    scans: InputFile = parameter(help="scans.csv of cohort")
    folds: InputFile = parameter(help="folds.csv of cohort")
    rejects: InputFile = parameter(help="rejects.csv of cohort")
    lesions: Manifest = parameter(
        (),
        help="manifest of the lesions.json files of explain, one per fold",
        details="Without it the page says that no network was explained.",
    )
    overlays: Manifest = parameter(
        (), help="manifest of the overlays.zip files of explain", details="Matched to the lesions by run."
    )
    records: Manifest = parameter(
        (),
        help="manifest of the *.run.json records of all steps",
        details="Provenance, durations, memory and the crate are written from them.",
    )
    images: Policy = parameter(
        "phantom",
        help="whose pictures the page shows; pseudonymised CT stays personal health data",
        details="`phantom`: scans that `scans.csv` marks as a phantom's. It withholds pictures that are in the "
        "archives. A page with `all` must stay where the data may be.",
    )
    picture_limit: int = parameter(
        200,
        help="most pictures in the page, errors first; 0 for none",
        details="About 60 kB each; the others stay in the archives.",
        ge=0,
    )
    title: str = parameter("Chest CT report", help="title of the page and of the crate")


def run(parameters: Parameters) -> None:
    """Read everything, write the page, the crate and the record."""
    from claire.report import work

    work.run(parameters)
