"""Scans on the network's grid, made when asked for, the last few kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.explain.probe import Case, make_case

KEPT_BYTES = 512 * 2**20


class Cases:
    """The cohort's scans as a variant's network sees them; at most `KEPT_BYTES` of them stay in memory."""

    def __init__(self, cohort: Cohort, variant: Variant) -> None:
        self.cohort, self._variant = cohort, variant
        self._kept: OrderedDict[str, Case] = OrderedDict()
        self._most = max(2, KEPT_BYTES // (6 * variant.slices * variant.size**2))

    def get(self, scan: Scan) -> Case:
        """Return a scan on the network's grid."""
        if scan.scan not in self._kept:
            self._kept[scan.scan] = make_case(self.cohort, scan, self._variant)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(scan.scan)
        return self._kept[scan.scan]

    def loader(self, scan: Scan) -> Callable[[], Case]:
        """Return a function that loads one scan."""
        return partial(self.get, scan)
