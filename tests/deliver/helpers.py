"""A scan that index and ingest have read, its lesions, and the objects that are written for it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from claire.core.contracts.lesions import Lesion
from claire.core.contracts.scans import ScanFacts, ScansReader
from claire.core.contracts.shard_list import read_shard_list
from claire.core.imaging.affine import voxel_ml
from claire.core.imaging.volume import Volume
from claire.core.privacy.pseudonym import Pseudonyms
from claire.deliver.diagnosis import Diagnosis
from claire.deliver.objects import write_objects
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from tests.ingest.helpers import KEY, LABELS, go
from tests.support.command import claire
from tests.support.dicom_maker import SeriesMaker

PSEUDONYMS = Pseudonyms(KEY.encode())
CREATED = datetime(2024, 5, 6, 7, 8, 9)


@dataclass
class Delivered:
    """A scan, its source files, lesions and label volume; `write` writes its objects."""

    files: list[Path]
    volume: Volume
    facts: ScanFacts
    labels: Volume
    diagnosis: Diagnosis
    pictures: dict[str, bytes] = field(default_factory=dict)

    def write(self, out: Path, **options: Any) -> dict[str, Path]:
        """Write the objects to `out`; return their paths by what they are: seg, sc, sr."""
        out.mkdir(parents=True, exist_ok=True)
        options = {"keep_identity": False, "pseudonyms": PSEUDONYMS} | options
        paths = write_objects(self.files, self.labels, self.facts, self.diagnosis, self.pictures, out, **options)
        return {path.name.split(".")[-2]: path for path in paths}


def deliver_series(folder: Path, *flags: str, labels: str = LABELS, **maker: Any) -> Delivered:
    """Write a made-up series, ingest it, and set lesions into it."""
    series = SeriesMaker(**maker)
    series.write(folder / "in")
    return ingested(folder, *flags, labels=labels)


def ingested(folder: Path, *flags: str, labels: str = LABELS) -> Delivered:
    """Index and ingest the series in `folder`/in, and set lesions into it."""
    volume, facts = go(folder, *flags, labels=labels).scan()
    files = sorted(path for path in (folder / "in").rglob("*") if path.is_file())
    return with_lesions(files, volume, facts)


def ingested_source(source: Path, labels: Path, folder: Path) -> list[Delivered]:
    """Index and ingest a source folder; return its scans with lesions set into them."""
    (folder / "key").write_text(KEY)
    assert claire("index", ["--source", source, "--out", folder / "out", "--shards", 1]) == 0
    shard = folder / "out/0000.shard.jsonl"
    flags = ["--source", source, "--shard", shard, "--labels", labels, "--key", folder / "key"]
    assert claire("ingest", [*flags, "--out", folder / "out"]) == 0
    series = {PSEUDONYMS.scan(each.name): each for each in read_shard_list(shard)}
    with ScansReader(folder / "out/0000.scans.zip") as scans:
        return [
            with_lesions([source / name for name in series[scan].files], scans.volume(scan), scans.facts(scan))
            for scan in scans.scans()
        ]


def with_lesions(files: Sequence[Path], volume: Volume, facts: ScanFacts) -> Delivered:
    """Return a scan with three lesions of an uneven shape, none of them at a place of symmetry."""
    labels = np.zeros(volume.data.shape, np.uint16)
    depth, rows, columns = labels.shape
    z, y, x = np.mgrid[:depth, :rows, :columns]
    for number, (zc, yc, xc, radius) in {
        4: (0.3, 0.4, 0.28, 0.09),
        2: (0.7, 0.6, 0.7, 0.07),
        7: (0.5, 0.3, 0.65, 0.05),
    }.items():
        ball = ((z / depth - zc) ** 2 + (y / rows - yc) ** 2 + (x / columns - xc) ** 2) < radius**2
        labels[ball & ((x + 2 * y + z) % 5 != 0)] = number
    lesions = (
        lesion(7, labels, volume, rank=None, crucial=False, delta=-0.02, side="left", zone="upper", kind="region"),
        lesion(2, labels, volume, rank=2, crucial=False, delta=0.4, side="left", zone="lower"),
        lesion(4, labels, volume, rank=1, crucial=True, delta=2.25, side="right", zone="middle"),
    )
    diagnosis = Diagnosis(
        scan=facts.scan,
        patient=facts.patient,
        classes=("negative", "positive"),
        probabilities=(0.125, 0.875),
        decisions={"Youden": "positive", "sensitivity 95 %": "positive"},
        model="claire-0123456789.model.zip",
        model_sha256="ab" * 32,
        version="0.1.0",
        created=CREATED,
        out_of_cohort=("slice thickness 8.0 mm: the cohort has 1.0 to 5.0 mm",),
        explained_class="positive",
        lesions=lesions,
    )
    return Delivered([*files], volume, facts, Volume(labels, volume.affine), diagnosis, {"Lesions": picture()})


def lesion(number: int, labels: np.ndarray, volume: Volume, **values: Any) -> Lesion:
    """Return a lesion measured in a label volume."""
    inside = labels == number
    index = np.argwhere(inside).mean(axis=0)
    ras = volume.affine @ [*index[::-1], 1]
    return Lesion.model_validate(
        {
            "id": number, "kind": "lesion", "rank_low": values.get("rank"), "rank_high": values.get("rank"),
            "centroid_lps_mm": (-ras[0], -ras[1], ras[2]), "volume_ml": float(inside.sum() * voxel_ml(volume.affine)),
            "mean_hu": float(volume.data[inside].mean()), "proposers": ("hu",), "slice": int(index[0]),
            "delta_per_ml": 0.1, "delta_probability": 0.1, "noise": 0.05, "necessity": 0.5, "sufficiency": 0.5,
            "delta_by_infill": {}, "infills_agree": True, "shapley": None,
        } | values
    )  # fmt: skip


def picture(width: int = 480, height: int = 300) -> bytes:
    """Return a PNG with a gradient."""
    y, x = np.mgrid[:height, :width]
    packed = io.BytesIO()
    Image.fromarray(np.stack([x % 256, y % 256, (x + y) % 256], 2).astype(np.uint8)).save(packed, "PNG")
    return packed.getvalue()


def write_enhanced(folder: Path, series: SeriesMaker, files: int = 1) -> Path:
    """Write a series as enhanced multi-frame files (PS3.3 A.38), frames in an order that is not that of the slices."""
    folder.mkdir(parents=True)
    order = [(number * 7) % len(series.hu) for number in range(len(series.hu))]
    for part in range(files):
        numbers = order[part::files]
        image = series.dataset(numbers[0])
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{series.series}.{900 + part}"
        image.NumberOfFrames = len(numbers)
        image.PixelData = b"".join(series.dataset(number).PixelData for number in numbers)
        image.SharedFunctionalGroupsSequence = [_shared(image)]
        image.PerFrameFunctionalGroupsSequence = [_place(series.place(number)) for number in numbers]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                        "RescaleSlope", "RescaleIntercept"):  # fmt: skip
            delattr(image, keyword)
        image.save_as(folder / f"E{part}.dcm")
    return folder


def _shared(image: Dataset) -> Dataset:
    shared, measures, orientation, transform = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = image.PixelSpacing, image.SliceThickness
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = (
        image.RescaleSlope,
        image.RescaleIntercept,
        "HU",
    )
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [transform]
    return shared


def _place(position: Sequence[float]) -> Dataset:
    groups, plane = Dataset(), Dataset()
    plane.ImagePositionPatient = [*position]
    groups.PlanePositionSequence = [plane]
    return groups


def decoded(path: Path, delivered: Delivered) -> np.ndarray:
    """Return the label volume of a SEG, decoded by pydicom alone: bits of its frames, by number, placed by position.

    Values are ids of lesions as in `Tracking ID`. Fails where a frame lies at no slice of the scan or where segments
    overlap.
    """
    seg = pydicom.dcmread(path)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    ids = {segment.SegmentNumber: int(segment.TrackingID.split()[1]) for segment in seg.SegmentSequence}
    places = np.array(delivered.facts.positions_mm)
    result = np.zeros((len(places), seg.Rows, seg.Columns), np.uint16)
    shared = seg.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        distance = np.linalg.norm(places - position, axis=1)
        assert distance.min() < 1e-3
        segment = (groups if "SegmentIdentificationSequence" in groups else shared).SegmentIdentificationSequence[0]
        target = result[distance.argmin()]
        assert not target[frame > 0].any()
        target[frame > 0] = ids[segment.ReferencedSegmentNumber]
    return result
