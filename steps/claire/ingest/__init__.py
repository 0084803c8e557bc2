"""Turn a shard of series into pseudonymised HU scans.

Each chosen series becomes one member of `NNNN.scans.zip`: int16 HU, sorted by position along the normal, with a JSON
sidecar. Unusable series are set aside with a reason. PatientID, UIDs and paths become keyed pseudonyms; the table
from pseudonyms to series is written only to --private.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputDirectory, InputFile, SitePath, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire ingest`."""

    source: InputDirectory = parameter(help="the directory that index was pointed to")
    shard: InputFile = parameter(help="NNNN.shard.jsonl of index")
    labels: InputFile | None = parameter(
        None,
        help="CSV table with a label for each patient or series; without it scans enter unlabelled, to be predicted",
        details="See below. Unlabelled scans whose header names no single patient are each their own patient.",
    )
    slice_labels: InputFile | None = parameter(
        None,
        help="CSV table with labels of single slices",
        details="A key column as in the table of labels, `slice` (from 0, slices sorted along the normal, from the "
        "feet) or `sop_uid`, and `label`.",
    )
    key: InputFile = parameter(
        help="file with the secret key of the pseudonyms, 16 bytes or more",
        details="`openssl rand -hex 32 > key`; blanks around it do not count. Keep it: the same key gives the same "
        "pseudonyms.",
    )
    private: SitePath | None = parameter(
        None,
        help="directory at the site for the table from pseudonyms to series; without it the link is dropped",
        details="An absolute path in a workflow. Give it where you must be able to find a scan again.",
    )
    gantry_tilt: Literal["reject", "resample"] = parameter(
        "reject",
        help="what to do with scans whose gantry is tilted by more than 0.5 degrees",
        details="`resample` shifts the slices in plane, linearly, until the stack rises along its normal: where the "
        "site tilts its gantry and interpolated slices are acceptable.",
    )
    min_slices: int = parameter(
        20, help="series with fewer slices are set aside", details="Give `index` the same number.", ge=1
    )


def run(parameters: Parameters) -> None:
    """Write scans, rejects, the private table and the record of one shard."""
    from claire.ingest import work

    work.run(parameters)
