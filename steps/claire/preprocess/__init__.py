"""Filter, crop and resize the slices of a shard's scans.

Slices with no or little lung are dropped as in the original pipeline; one crop to the body serves a whole scan; slices
are resized in plane and stay HU. Window, view and resampling along the slices belong to the variant and happen when a
training reads (`claire.core.networks.view`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from claire.core.command.errors import ClaireError, RejectedScan, require
from claire.core.command.files import atomic_path, canonical_json
from claire.core.command.parameters import InputFile, StepParameters, parameter
from claire.core.command.progress import about, progress
from claire.core.command.record import SCHEMA_VERSION, Record
from claire.core.command.tables import write_rejects

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from claire.core.contracts.scans import ShardReader
    from claire.preprocess.prepare import Prepared

STEP = "preprocess"


class Parameters(StepParameters):
    """Parameters of `claire preprocess`."""

    scans: InputFile = parameter(help="NNNN.scans.zip of ingest: the scans of one shard")
    lungs: InputFile = parameter(help="NNNN.lungs.zip of segment, of the same shard")
    size: int = parameter(256, help="rows and columns of a prepared slice", unit="pixels", ge=1)
    min_lung_box: float = parameter(
        0.038, help="share of a slice that the box around its lungs must cover, else the slice is dropped", ge=0, le=1
    )
    min_lung_ratio: float = parameter(
        0.10, help="ratio of lung to the rest of a slice that it must reach, else the slice is dropped", ge=0, le=1
    )
    min_slices: int = parameter(8, help="scans with fewer slices left by the filter are set aside", ge=1)


def run(parameters: Parameters) -> None:
    """Write `NNNN.prepared.h5`, the rejects and the record; one scan is in memory at a time."""
    import h5py

    from claire.core.contracts.scans import ShardReader, shard_stem

    stem = shard_stem(parameters.scans)
    about(STEP, stem)
    require(
        stem == shard_stem(parameters.lungs),
        f"--scans is of shard {stem}, --lungs of shard {shard_stem(parameters.lungs)}",
        "Give the two files of one shard.",
    )
    rejects: list[dict[str, Any]] = []
    inputs = {"scans": parameters.scans, "lungs": parameters.lungs}
    with Record(STEP, stem, parameters.out, parameters.recorded(), inputs) as record:
        path = parameters.out / f"{stem}.prepared.h5"
        with (
            ShardReader(parameters.scans) as scans,
            ShardReader(parameters.lungs) as lungs,
            atomic_path(path) as part,
            h5py.File(part, "w", libver=("v108", "v108"), track_order=True) as file,
        ):
            add_document(file, {"schema_version": SCHEMA_VERSION, "size": parameters.size})
            group = file.create_group("scans", track_order=True)
            for scan in progress(segmented(scans, lungs), "prepared scan"):
                try:
                    kept = prepare_scan(scans, lungs, scan, group, parameters.recorded())
                except RejectedScan as reject:
                    place = {"step": STEP, "shard": stem, "line": scans.facts(scan).get("line"), "scan": scan}
                    rejects.append({**place, "reason": reject.reason, "detail": reject.detail})
                else:
                    record.counts.update(scans=1, slices=kept)
        record.output(path)
        record.output(write_rejects(parameters.out / f"{stem}.{STEP}.rejects.csv", rejects))
        record.counts.update(rejected=len(rejects))


def segmented(scans: ShardReader, lungs: ShardReader) -> list[str]:
    """Return the scans that have a mask; the others must stand among the rejects of segment. Raises ClaireError."""
    masked = set(lungs.names())
    for scan in scans.names():
        if scan not in masked and "rejected" not in lungs.facts(scan):
            raise ClaireError(f"{lungs.path.name} has no mask of {scan}", "Run `claire segment` again.")
    return [name for name in scans.names() if name in masked]


def prepare_scan(
    scans: ShardReader, lungs: ShardReader, scan: str, group: h5py.Group, parameters: dict[str, Any]
) -> int:
    """Prepare one scan of the shard into its own group; return the number of kept slices. Raises RejectedScan."""
    from claire.preprocess.prepare import prepare

    volume, mask, facts = scans.volume(scan), lungs.volume(scan).data, scans.facts(scan)
    if mask.shape != volume.data.shape:
        raise ClaireError(f"the mask of {scan} has another shape than the scan", "Run `claire segment` again.")
    made = prepare(volume, mask, origins_mm=slice_origins(facts, len(mask)), **parameters)
    document = scan_document(scan, facts | {"lungs": lungs.facts(scan)}, made, volume.data.shape)
    place = group.create_group(scan, track_order=True)
    place.create_dataset("hu", data=made.hu.astype("<i2", copy=False), track_times=False)
    place.create_dataset("lungs", data=made.lungs, track_times=False)
    add_document(place, document)
    return len(made.slices)


def slice_origins(facts: dict[str, Any], count: int) -> np.ndarray | None:
    """Return the RAS position of each slice's first pixel, (slices, 3) mm, where ingest noted them (in LPS)."""
    import numpy as np

    positions = facts.get("positions_mm")
    if not positions or len(positions) != count:
        return None
    return np.asarray(positions, float) * (-1.0, -1.0, 1.0)


def scan_document(scan: str, facts: dict[str, Any], made: Prepared, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the document of a prepared scan, as `claire.core.contracts.cohort.scan_from` reads it.

    Only `cohort` knows the classes, so `slice_labels` is −1 throughout here; the names of the labels of the kept
    slices stand in `facts["slice_labels"]` (null where nobody labelled a slice), and cohort turns them into indices.
    """
    from claire.core.contracts.cohort import Scan

    named = facts.get("slice_labels")
    kept = [int(z) for z in made.slices]
    if named:
        facts = facts | {"slice_labels": [named[z] for z in kept]}
    return Scan(
        scan=scan,
        patient=facts["patient"],
        label=facts["label"],
        first=0,
        count=len(kept),
        slices=tuple(kept),
        slice_labels=(-1,) * len(kept),
        affine=made.affine,
        slice_positions_mm=tuple(float(place) for place in made.positions_mm),
        crop=made.crop,
        original_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        facts=facts,
    ).document()


def add_document(place: h5py.Group, document: dict[str, Any]) -> None:
    """Add a JSON document as a dataset of bytes."""
    import numpy as np

    content = np.frombuffer(canonical_json(document).encode(), "u1")
    place.create_dataset("document", data=content, track_times=False)
