"""The inputs of the step, checked to belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError, require
from claire.core.command.files import sha256_file
from claire.core.command.record import TIME_FORMAT, read_record
from claire.core.contracts.archive import DAMAGE, ArchiveReader, stem_of
from claire.core.contracts.cohort import Scan
from claire.core.contracts.lesions import FoundLesions, FoundScan, read_found_lesions
from claire.core.contracts.model import Model, read_model
from claire.core.contracts.predictions import PredictedScan, PredictionsDocument, read_predictions
from claire.core.contracts.rejects import Reject, read_rejects
from claire.core.contracts.scans import ScanFacts, ScansReader
from claire.core.contracts.shard_list import ListedSeries, read_shard_list
from claire.core.contracts.verified import open_verified
from claire.core.imaging.volume import from_nifti_gz
from claire.core.privacy.pictures import may_show
from claire.core.privacy.pseudonym import Pseudonyms, read_key
from claire.deliver import Parameters

SAME = "Give the files of one run of `claire predict`."
EXPLAIN = "Run `claire explain --model` again."
#: Names of the pictures of explain, `<scan>.<name>.png`, and their titles.
PICTURES = {"lesions": "Lesions", "saliency": "Saliency maps"}


@dataclass(frozen=True)
class NewScan:
    """A predicted scan. `found`: None where it was not explained; `pictures`: PNG by title, those that may be shown.

    `withheld`: whether there are pictures that the policy forbids. `grid`: its entry in `scans.h5`.
    """

    predicted: PredictedScan
    grid: Scan
    facts: ScanFacts
    series: ListedSeries
    files: tuple[Path, ...]
    found: FoundScan | None
    pictures: Mapping[str, bytes]
    withheld: bool


class Inputs:
    """Everything that the step reads; a scan at a time. Raises UsageError unless the files belong together."""

    def __init__(self, parameters: Parameters) -> None:
        self.model: Model = read_model(parameters.model)
        self.predictions: PredictionsDocument = read_predictions(parameters.predictions)
        self.rejects: list[Reject] = read_rejects(parameters.reject_tables)
        self.pseudonyms: Pseudonyms = read_key(parameters.key)
        self.lesions: FoundLesions | None = read_found_lesions(parameters.lesions) if parameters.lesions else None
        self.created = _when(parameters.apply_record)
        self._source, self._images = parameters.source, parameters.images
        self._overlays, self._saliency = parameters.overlays, parameters.saliency
        cohort = open_verified(parameters.scans, None)  # --keep-identity leaves nothing in the store
        self._grids = {scan.scan: scan for scan in cohort.scans}
        self._found = {scan.explained.scan: scan for scan in self.lesions.scans} if self.lesions else {}
        self._series = {
            (stem_of(path), series.line): series for path in parameters.shards for series in read_shard_list(path)
        }
        self._volumes = _volumes(parameters.volumes)
        self._require_same(sha256_file(parameters.model), cohort.sha256)

    def _require_same(self, model_sha256: str, cohort_sha256: str) -> None:
        predictions, lesions = self.predictions, self.lesions
        require(predictions.model_sha256 == model_sha256, "--predictions are of another model than --model", SAME)
        require(predictions.cohort_sha256 == cohort_sha256, "--predictions are of other scans than --scans", SAME)
        if lesions:
            same = (lesions.model_sha256, lesions.cohort_sha256) == (model_sha256, cohort_sha256)
            require(same, "--lesions are of another model or of other scans than --predictions", SAME)
        for scan in predictions.scans:
            require(scan.scan in self._volumes, f"scan {scan.scan} is in none of --volumes", SAME)
            series = self._series.get((scan.shard, scan.line))
            require(series, f"scan {scan.scan} is in none of --shards", SAME)
            require(
                series and self.pseudonyms.scan(series.name) == scan.scan,
                f"scan {scan.scan} has another pseudonym by --key and --shards",
                "Give the key that ingest had, and the shards of the same run.",
            )

    def listed(self) -> list[ListedSeries]:
        """Return the series of the predicted scans."""
        return [self._series[scan.shard, scan.line] for scan in self.predictions.scans]

    def scan(self, predicted: PredictedScan) -> NewScan:
        """Return a scan with what belongs to it; its pictures are in memory, its voxels are not."""
        name, series = predicted.scan, self._series[predicted.shard, predicted.line]
        with ScansReader(self._volumes[name]) as volumes:
            facts = volumes.facts(name)
        found, shown = self._found.get(name), may_show(self._images, predicted.phantom)
        drawn = found.explained.images if found and self._overlays else ()
        return NewScan(
            predicted=predicted,
            grid=self._grids[name],
            facts=facts,
            series=series,
            files=tuple(self._source / file for file in series.files),
            found=found,
            pictures=self._pictures(name, drawn) if shown else {},
            withheld=not shown,
        )

    def affine(self, scan: str) -> np.ndarray:
        """Return the affine of an ingested scan."""
        with ScansReader(self._volumes[scan]) as volumes:
            return volumes.volume(scan).affine

    def labels(self, scan: str) -> np.ndarray | None:
        """Return the label map of a scan's lesions on its prepared grid; None without --saliency."""
        if self._saliency is None:
            return None
        with ArchiveReader(self._saliency, EXPLAIN) as archive:
            content = archive.read(f"{scan}.lesions.nii.gz")
        try:
            return from_nifti_gz(content).data
        except DAMAGE as error:
            raise ClaireError(f"{self._saliency.name} is damaged: lesions of {scan} cannot be read", EXPLAIN) from error

    def _pictures(self, scan: str, drawn: Sequence[str]) -> dict[str, bytes]:
        if not drawn or self._overlays is None:
            return {}
        with ArchiveReader(self._overlays, EXPLAIN) as archive:
            names = {title: f"{scan}.{name}.png" for name, title in PICTURES.items()}
            return {title: archive.read(name) for title, name in names.items() if name in drawn}


def _volumes(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the archive of each scan."""
    volumes: dict[str, Path] = {}
    for path in paths:
        with ScansReader(path) as archive:
            volumes |= dict.fromkeys(archive.scans(), path)
    return volumes


def _when(apply_record: Path | None) -> datetime:
    """Return when the model was run, without a record now."""
    started = read_record(apply_record).started if apply_record else None
    return datetime.strptime(started, TIME_FORMAT) if started else datetime.now(UTC).replace(tzinfo=None)
