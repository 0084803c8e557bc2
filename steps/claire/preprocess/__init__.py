"""Filter, crop and resize the slices of a shard's scans.

Slices with no or little lung are dropped as in the original pipeline; one crop to the body serves a whole scan; slices
are resized in plane and stay HU. Window, view and resampling along the slices belong to the variant and happen when a
training reads (`claire.core.networks.view`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from claire.core.command import cli
from claire.core.command.errors import ClaireError, RejectedScan
from claire.core.command.record import SCHEMA_VERSION, Record, atomic_path, canonical_json
from claire.core.command.tables import write_rejects

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from claire.core.contracts.scans import ShardReader
    from claire.preprocess.prepare import Prepared

STEP = "preprocess"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `claire preprocess`."""
    made = cli.parser(STEP, __doc__)
    flags = made.add_argument
    flags("--scans", type=cli.existing_file, required=True, help="NNNN.scans.zip of ingest: the scans of one shard")
    flags("--lungs", type=cli.existing_file, required=True, help="NNNN.lungs.zip of segment, of the same shard")
    flags("--size", type=cli.positive_int, default=256, help="rows and columns of a prepared slice in pixels")
    flags(
        "--min-lung-box",
        type=cli.fraction,
        default=0.038,
        help="share of a slice that the box around its lungs must cover, else the slice is dropped",
    )
    flags(
        "--min-lung-ratio",
        type=cli.fraction,
        default=0.10,
        help="ratio of lung to the rest of a slice that it must reach, else the slice is dropped",
    )
    flags(
        "--min-slices",
        type=cli.positive_int,
        default=8,
        help="scans with fewer slices left by the filter are set aside",
    )
    return made


def run(args: argparse.Namespace) -> None:
    """Write `NNNN.prepared.h5`, the rejects and the record; one scan is in memory at a time."""
    import h5py

    from claire.core.contracts.scans import ShardReader, shard_stem

    stem = shard_stem(args.scans)
    cli.about(STEP, stem)
    cli.require(
        stem == shard_stem(args.lungs),
        f"--scans is of shard {stem}, --lungs of shard {shard_stem(args.lungs)}",
        "Give the two files of one shard.",
    )
    parameters = {name: getattr(args, name) for name in ("size", "min_lung_box", "min_lung_ratio", "min_slices")}
    rejects: list[dict[str, Any]] = []
    with Record(STEP, stem, args.out, parameters, {"scans": args.scans, "lungs": args.lungs}) as record:
        path = args.out / f"{stem}.prepared.h5"
        with (
            ShardReader(args.scans) as scans,
            ShardReader(args.lungs) as lungs,
            atomic_path(path) as part,
            h5py.File(part, "w", libver=("v108", "v108"), track_order=True) as file,
        ):
            add_document(file, {"schema_version": SCHEMA_VERSION, "size": args.size})
            group = file.create_group("scans", track_order=True)
            for scan in cli.progress(segmented(scans, lungs), "prepared scan"):
                try:
                    kept = prepare_scan(scans, lungs, scan, group, parameters)
                except RejectedScan as reject:
                    place = {"step": STEP, "shard": stem, "line": scans.facts(scan).get("line"), "scan": scan}
                    rejects.append({**place, "reason": reject.reason, "detail": reject.detail})
                else:
                    record.counts.update(scans=1, slices=kept)
        record.output(path)
        record.output(write_rejects(args.out / f"{stem}.{STEP}.rejects.csv", rejects))
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step on command line arguments; return its exit code."""
    return cli.execute(build_parser(), run, argv)
