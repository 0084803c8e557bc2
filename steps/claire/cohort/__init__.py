"""Join shards into the one file of voxels that training reads, and draw the folds.

Refuses what could not be learned from fairly: patients with two labels or two splits, the same voxels under two
patients, too few patients a class for the folds, too many scans set aside. `rejects.csv` is written before anything is
refused, so that it says what became of every series.
"""

from __future__ import annotations

from claire.core.command.parameters import Manifest, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire cohort`."""

    prepared: Manifest = parameter(help="manifest of the NNNN.prepared.h5 files of preprocess")
    reject_tables: Manifest = parameter(help="manifest of the rejects.csv files of ingest, segment and preprocess")
    fold_count: int = parameter(
        5,
        help="folds of the cross-validation, at least 3; 1 where the labels table fixes every patient's split",
        details="In fold *k*, fold *k* tests, fold *k* + 1 validates, the others train. Fewer for small cohorts: each "
        "class needs a patient in every fold.",
        ge=1,
    )
    seed: int = parameter(
        0,
        help="seed of the folds",
        details="The same patients and seed give the same folds, however the input is ordered or sharded.",
        ge=0,
    )
    classes: str = parameter(
        "",
        help="class names in order, separated by commas, the negative class first: normal,covid",
        details="Without it the one name that is known to mean negative (negative, normal, control, healthy, …) comes "
        "first and the others follow the alphabet; where no name or several are known, it is asked for.",
    )
    max_reject_fraction: float = parameter(
        0.5,
        help="share of the scans that could have entered that may be set aside before the cohort is refused",
        details="Series that were not chosen, are no CT or have no label do not count. Lower it where you expect all "
        "scans to enter.",
        ge=0,
        le=1,
    )


def run(parameters: Parameters) -> None:
    """Gather the shards, check them, and write the cohort, its tables and the record."""
    from claire.cohort import work

    work.run(parameters)
