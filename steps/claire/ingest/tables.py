"""The tables of the site, as far as they concern a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from claire.core.contracts.labels import LabelTable, SliceTable, read_labels, read_slice_labels
from claire.core.contracts.shard_list import ListedSeries
from claire.core.privacy.pseudonym import Pseudonyms, read_key
from claire.core.sources.dicom import Header
from claire.ingest import Parameters
from claire.ingest.patients import first_headers, names_of


@dataclass(frozen=True)
class Tables:
    """The key and the tables of the site, and the header of the first file of each readable line of a shard."""

    pseudonyms: Pseudonyms
    labels: LabelTable | None
    slice_labels: SliceTable | None
    headers: Mapping[int, Header]
    series: Sequence[ListedSeries]

    @cached_property
    def digests(self) -> dict[str, str]:
        """A keyed hash of the rows of each table that concern the shard: others may change."""
        names = [names_of(each, self.headers.get(each.line)) for each in self.series]
        found: dict[str, str] = {}
        for name, table in (("labels", self.labels), ("slice_labels", self.slice_labels)):
            if table is not None:
                rows = [[(value, table.rows[value]) for value in table.matches(each)] for each in names]
                found[name] = self.pseudonyms.digest(name, table.key, repr(rows)).hex()
        return found


def read_tables(parameters: Parameters, series: Sequence[ListedSeries]) -> Tables:
    """Read the key, the tables and the first headers of a shard."""
    slices = read_slice_labels(parameters.slice_labels) if parameters.slice_labels else None
    labels = read_labels(parameters.labels) if parameters.labels else None
    return Tables(read_key(parameters.key), labels, slices, first_headers(parameters.source, series), series)
