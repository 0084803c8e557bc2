"""Facts of scans and masks as ingest and segment write them."""

from __future__ import annotations

from claire.core.contracts.masks import LungFacts
from claire.core.contracts.scans import ScanFacts


def scan_facts(scan: str = "S1", slices: int = 44, **changes: object) -> ScanFacts:
    """Return the facts of a scan; `slices` entries in every list with one entry a slice."""
    values: dict[str, object] = {
        "scan": scan, "shard": "0000", "line": 0, "patient": "P1", "label": "positive", "site": "north",
        "vendor": "Siemens", "thickness_mm": 2.5, "spacing_mm": (5.0, 0.7, 0.7), "phantom": True,
        "pixel_hash": f"hash of {scan}", "reference_standard": "RT-PCR", "sop_uids": (None,) * slices,
        "positions_mm": (),
    }  # fmt: skip
    return ScanFacts.model_validate(values | changes)


def lung_facts(**changes: object) -> LungFacts:
    """Return the quality facts of a mask."""
    values: dict[str, object] = {
        "right_ml": 900.0, "left_ml": 800.0, "components": 2, "cut_at_border": False, "mean_hu": -850.0,
        "closed_fraction": 0.1,
    }  # fmt: skip
    return LungFacts.model_validate(values | changes)
