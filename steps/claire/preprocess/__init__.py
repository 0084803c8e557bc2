"""Filter, crop and resize the slices of a shard's scans.

Slices with no or little lung are dropped as in the original pipeline; one crop to the body serves a whole scan; slices
are resized in plane and stay HU. Window, view and resampling along the slices belong to the variant and happen when a
training reads (`claire.core.networks.view`).
"""

from __future__ import annotations

from claire.core.command.parameters import InputFile, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire preprocess`."""

    scans: InputFile = parameter(help="NNNN.scans.zip of ingest: the scans of one shard")
    lungs: InputFile = parameter(help="NNNN.lungs.zip of segment, of the same shard")
    size: int = parameter(
        256,
        help="rows and columns of a prepared slice",
        details="Variants see at most this; 320 or 512 keeps fine texture, with 1.6 and 4 times the voxels.",
        unit="pixels",
        ge=1,
    )
    min_lung_box: float = parameter(
        0.038,
        help="share of a slice that the box around its lungs must cover, else the slice is dropped",
        details="0.038 is the original's 10 000 of 512×512 pixels; 0 keeps all slices with lung.",
        ge=0,
        le=1,
    )
    min_lung_ratio: float = parameter(
        0.10,
        help="ratio of lung to the rest of a slice that it must reach, else the slice is dropped",
        details="In pixels, air around the patient included, as in the original. Lower it for a wide field of view or "
        "large patients, whose slices it drops first.",
        ge=0,
        le=1,
    )
    min_lung_slices: int = parameter(
        8,
        help="scans with fewer slices left by the filter are set aside",
        details="The original required 50 thin slices.",
        ge=1,
    )


def run(parameters: Parameters) -> None:
    """Write `NNNN.prepared.h5`, the rejects and the record; one scan is in memory at a time."""
    from claire.preprocess import work

    work.run(parameters)
