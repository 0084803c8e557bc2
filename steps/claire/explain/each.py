"""Scans explained one after the other, their maps and pictures added to the archives of the step."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from claire.core.command.errors import RejectedScan
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.contracts.archive import ArchiveWriter
from claire.core.contracts.cohort import Scan
from claire.explain.documents import add_maps
from claire.explain.pictures.draw import draw_pictures
from claire.explain.scan import ScanResult, Setting, explain_scan


class Archives(NamedTuple):
    """The archives to which every explained scan is added."""

    saliency: ArchiveWriter
    overlays: ArchiveWriter


def explain_each(
    scans: Sequence[Scan], setting_of: Callable[[Scan], Setting], archives: Archives, record: Record
) -> Iterator[ScanResult]:
    """Yield each scan explained; one that cannot be is left out, named in the log and counted in the record."""
    for scan in progress(scans, "scans explained"):
        setting = setting_of(scan)
        rng = np.random.default_rng([setting.parameters.seed, zlib.crc32(scan.scan.encode())])
        try:
            result = explain_scan(scan, setting, rng)
        except RejectedScan as rejected:
            record.counts[f"set_aside_{rejected.reason}"] += 1
            log.warning("scan %s is left out: %s", scan.scan, rejected)
            continue
        add_maps(archives.saliency, result)
        images = draw_pictures(archives.overlays, result, setting)
        result.explained = result.explained.model_copy(update={"images": images})
        record.counts["network_evaluations"] += result.evaluations
        yield result
