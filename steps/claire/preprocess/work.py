"""The whole step: read, prepare and write each scan of a shard with its mask, one in memory at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError, RejectedScan, require
from claire.core.command.progress import about, progress
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.archive import stem_of
from claire.core.contracts.masks import MasksReader
from claire.core.contracts.prepared import PreparedScan, PreparedWriter, write_prepared
from claire.core.contracts.rejects import Reject, reject, write_rejects
from claire.core.contracts.scans import ScanFacts, ScansReader
from claire.preprocess import Parameters
from claire.preprocess.prepare import Filter, prepare


def run(parameters: Parameters) -> None:
    """Prepare a shard, or take the finished one from the store."""
    about("preprocess", stem_of(parameters.scans))
    stored("preprocess", parameters, preprocess)


def preprocess(parameters: Parameters) -> None:
    """Write `NNNN.prepared.h5`, the rejects and the record; one scan is in memory at a time."""
    stem = stem_of(parameters.scans)
    require(
        stem == stem_of(parameters.lungs),
        f"--scans is of shard {stem}, --lungs of shard {stem_of(parameters.lungs)}",
        "Give the two files of one shard.",
    )
    inputs = {"scans": parameters.scans, "lungs": parameters.lungs}
    with Record("preprocess", stem, parameters.out, parameters.recorded(), inputs) as record:
        path = parameters.out / f"{stem}.prepared.h5"
        lung_filter = Filter(parameters.min_lung_box, parameters.min_lung_ratio, parameters.min_lung_slices)
        rejects = write_shard(path, parameters.scans, parameters.lungs, parameters.size, lung_filter, record)
        record.output(path)
        record.output(write_rejects(parameters.out / f"{stem}.preprocess.rejects.csv", rejects))
        record.counts.update(rejected=len(rejects))


def write_shard(
    path: Path, scans_path: Path, lungs_path: Path, size: int, lung_filter: Filter, record: Record
) -> list[Reject]:
    """Write the prepared scans of a shard; return the rejects. Raises ClaireError on masks of other scans."""
    rejects: list[Reject] = []
    with (
        ScansReader(scans_path) as scans,
        MasksReader(lungs_path) as masks,
        write_prepared(path, size) as prepared,
    ):
        for scan in progress(masked_scans(scans, masks), "prepared scan"):
            facts = scans.facts(scan)
            try:
                slice_count = prepare_scan(scans, masks, facts, size, lung_filter, prepared)
            except RejectedScan as error:
                rejects.append(reject("preprocess", facts.shard, facts.line, scan, error))
            else:
                record.counts.update(scans=1, slices=slice_count)
    return rejects


def masked_scans(scans: ScansReader, masks: MasksReader) -> list[str]:
    """Return the scans that have a mask; the others must be rejects of segment. Raises ClaireError."""
    masked = set(masks.scans())
    for scan in scans.scans():
        if scan not in masked and not masks.facts(scan).rejected:
            raise ClaireError(f"{masks.path.name} has no mask of {scan}", "Run `claire segment` again.")
    return [scan for scan in scans.scans() if scan in masked]


def prepare_scan(
    scans: ScansReader, masks: MasksReader, facts: ScanFacts, size: int, lung_filter: Filter, prepared: PreparedWriter
) -> int:
    """Prepare one scan; return the number of kept slices. Raises RejectedScan; ClaireError on a misfitting mask."""
    volume, mask, lungs = scans.volume(facts.scan), masks.volume(facts.scan).data, masks.facts(facts.scan).lungs
    if mask.shape != volume.data.shape or lungs is None:
        raise ClaireError(f"the mask of {facts.scan} has another shape than the scan", "Run `claire segment` again.")
    result = prepare(volume, mask, size, lung_filter, slice_origins(facts, len(mask)))
    depth, rows, columns = volume.data.shape
    scan = PreparedScan(
        facts=facts,
        lungs=lungs,
        slices=tuple(map(int, result.slices)),
        affine=result.affine,
        slice_positions_mm=tuple(map(float, result.positions_mm)),
        crop=result.crop,
        original_shape=(depth, rows, columns),
    )
    prepared.add(scan, result.hu, result.lungs)
    return len(result.slices)


def slice_origins(facts: ScanFacts, count: int) -> np.ndarray | None:
    """Return the RAS position of each slice's first pixel, (slices, 3) mm, if ingest recorded them (in LPS)."""
    if len(facts.positions_mm) != count:
        return None
    return np.asarray(facts.positions_mm, float) * (-1.0, -1.0, 1.0)
