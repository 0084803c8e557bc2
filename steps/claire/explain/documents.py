"""What the step writes: the document of lesions, their table, the maps, the explained weights."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from claire.core.command.files import atomic_path
from claire.core.command.record import SCHEMA_VERSION
from claire.core.contracts.run import Run
from claire.core.contracts.scans import ShardWriter
from claire.core.imaging.volume import Volume, to_nifti_gz
from claire.explain.healing.gates import Gate
from claire.explain.network import Chosen
from claire.explain.scan import ScanResult, Setting

COLUMNS = (
    "run", "scan", "patient", "label", "probability", "outcome", "rank", "crucial", "side", "zone", "volume_ml",
    "mean_hu", "x_mm", "y_mm", "z_mm", "delta", "delta_probability", "rank_low", "rank_high",
)  # fmt: skip
WORDS = {
    True: "All gates are open: the healing counts as one infill and one proposer among others.",
    False: "Healing not reliable: not every gate is open. Lesions are ranked by infills that are independent of it; "
    "the healing may only propose a candidate and widen the interval of a rank.",
}


def lesions_document(
    run: Run, setting: Setting, gates: Sequence[Gate], methods: list[dict[str, Any]], scans: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what `<run>.lesions.json` holds."""
    chosen = setting.chosen
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run.name,
        "variant": run.variant.id,
        "fold": run.fold,
        "classes": list(setting.classes),
        "network": {
            "auc_validation": _number(chosen.auc),
            "operating_point": _number(chosen.operating_point),
            "refined": chosen.refinement.taken,
            "refinement": {
                key: _number(value) if isinstance(value, float) else value
                for key, value in asdict(chosen.refinement).items()
            },
            "healer_steps": len(setting.healer.history) if setting.healer else 0,
        },
        "gates": [gate.document() for gate in gates],
        "reliable": setting.reliable,
        "healing_proposes": setting.proposing,
        "statement": WORDS[setting.reliable],
        "infills": list(setting.counted),
        "methods": methods,
        "scans": scans,
    }


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def lesion_rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `<run>.lesions.csv`."""
    for scan in document["scans"]:
        for lesion in scan["lesions"]:
            x, y, z = lesion["centroid_lps_mm"]
            row = {**scan, **lesion, "run": document["run"], "x_mm": x, "y_mm": y, "z_mm": z}
            yield {name: row[name] for name in COLUMNS} | {"crucial": str(row["crucial"]).lower()}


def add_maps(archive: ShardWriter, one: ScanResult) -> None:
    """Add the maps of a scan, `<scan>.<method>.nii.gz`, 8 bits and a scale, and the label map of its lesions."""
    scan, affine = one.document["scan"], one.case.view.affine
    for name, values in one.maps.items():
        archive.add(f"{scan}.{name}.nii.gz", _scaled_nifti(values, affine))
    labels = one.candidates.labels.astype(np.uint8)
    archive.add(f"{scan}.lesions.nii.gz", to_nifti_gz(Volume(labels, affine)))


def _scaled_nifti(values: np.ndarray, affine: np.ndarray) -> bytes:
    """NIfTI of 8 bits whose slope and intercept give the values back to within 1/255 of their range."""
    import nibabel as nib

    image = nib.Nifti1Image(values.astype(np.float32).T, affine)
    image.set_data_dtype(np.uint8)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as stream:
        stream.write(image.to_bytes())
    return packed.getvalue()


def write_weights(path: Path, source: Path, chosen: Chosen) -> Path:
    """Write the explained network under the metadata of the trained one and `refined`."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())
    state = {name: value.detach().cpu().contiguous() for name, value in chosen.probe.network.state_dict().items()}
    with atomic_path(path) as part:
        save_file(state, part, metadata | {"refined": json.dumps(chosen.refinement.taken)})
    return path
