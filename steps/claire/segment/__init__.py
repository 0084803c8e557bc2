"""Mask the left and right lung of every scan of a shard.

No weights: HU thresholds, components and shape (see `claire.segment.lungs`). Consolidations and pleural ground glass
stay inside the mask, the trachea stays outside. A scan without lungs is set aside with a reason; the others continue.
"""

from __future__ import annotations

from claire.core.command.parameters import InputFile, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire segment`."""

    scans: InputFile = parameter(help="NNNN.scans.zip of ingest: the scans of one shard")


def run(parameters: Parameters) -> None:
    """Write `NNNN.lungs.zip`, the rejects and the record; one scan is in memory at a time."""
    from claire.segment import work

    work.run(parameters)
