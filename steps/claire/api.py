"""The pipeline's model in Python: `import claire; claire.load("v1.model.zip").predict("series/")`.

The scans go through the same steps as in the workflow, in a folder that is removed at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claire import apply, index, ingest, preprocess, segment
from claire.core.command.errors import ClaireError
from claire.core.contracts.model import ModelDocument, read_model
from claire.core.contracts.predictions import PredictionsDocument, read_predictions
from claire.core.imaging.volume import Volume, to_nifti_gz


@dataclass(frozen=True)
class LoadedModel:
    """A model file. `document`: what it says of itself: classes, variant, figures, card."""

    path: Path
    document: ModelDocument

    def predict(
        self, scans: str | os.PathLike[str] | np.ndarray, affine: np.ndarray | None = None, threads: int = 1
    ) -> PredictionsDocument:
        """Return what the model says of scans without labels: a directory of DICOM series or NIfTI files, one NIfTI
        file, or an array.

        An array is (slices, rows, columns) HU, rounded to integers, with its `affine` (4×4), (column, row, slice, 1) →
        RAS mm. Each call makes pseudonyms of its own; `line` and `shard` of a scan mean nothing afterwards. Raises
        ClaireError where no scan is left; `set_aside` of the result counts series that were not predicted by reason.
        """
        with tempfile.TemporaryDirectory(prefix="claire.") as folder:
            return _predict(self, _source(scans, affine, Path(folder)), Path(folder), threads)


def load(path: str | os.PathLike[str]) -> LoadedModel:
    """Open a model file; every member is checked and no code of it is run. Raises ClaireError."""
    model = read_model(Path(path))
    return LoadedModel(model.path.resolve(), model.document)


def _source(scans: str | os.PathLike[str] | np.ndarray, affine: np.ndarray | None, folder: Path) -> Path:
    """Return the directory that index reads; an array or a single file gets one of its own."""
    if not isinstance(scans, np.ndarray):
        path = Path(scans).resolve()
        if path.is_dir():
            return path
        if not path.is_file():
            raise ClaireError(f"{path.name} is neither a file nor a directory", "Give a directory or a NIfTI file.")
        (folder / "source").mkdir()
        shutil.copyfile(path, folder / "source" / path.name)  # index follows no links
        return folder / "source"
    if scans.ndim != 3 or not scans.size or affine is None or np.shape(affine) != (4, 4):
        raise ClaireError("an array needs three axes and an affine of 4×4", "Give (slices, rows, columns) and affine.")
    (folder / "source").mkdir()
    volume = Volume(_as_hu(scans), np.asarray(affine, float))
    (folder / "source/scan.nii.gz").write_bytes(to_nifti_gz(volume))
    return folder / "source"


def _as_hu(voxels: np.ndarray) -> np.ndarray:
    """Return voxels as int16 HU. Raises ClaireError where they are no numbers or more than int16 holds."""
    if not np.issubdtype(voxels.dtype, np.integer) and not np.issubdtype(voxels.dtype, np.floating):
        raise ClaireError(f"an array of {voxels.dtype} holds no HU", "Give integers or floating-point numbers.")
    limits = np.iinfo(np.int16)
    if not (np.isfinite(voxels).all() and voxels.min() >= limits.min and voxels.max() <= limits.max):
        raise ClaireError(
            f"an array has values that are no HU: expected numbers from {limits.min} to {limits.max}",
            "Replace NaN and padding by -1024.",
        )
    return np.ascontiguousarray(np.rint(voxels) if voxels.dtype.kind == "f" else voxels, np.int16)


def _predict(model: LoadedModel, source: Path, folder: Path, threads: int) -> PredictionsDocument:
    (folder / "key").write_text(secrets.token_hex(32))
    options = model.document.preparation.flags()
    common: dict[str, Any] = {"out": folder, "threads": threads}
    shard, scans, lungs = (folder / name for name in ("0000.shard.jsonl", "0000.scans.zip", "0000.lungs.zip"))
    index.run(index.Parameters(source=source, shards=1, **options["index"], **common))
    ingest.run(ingest.Parameters(source=source, shard=shard, key=folder / "key", **options["ingest"], **common))
    segment.run(segment.Parameters(scans=scans, **common))
    preprocess.run(preprocess.Parameters(scans=scans, lungs=lungs, **options["preprocess"], **common))
    rejects = tuple(sorted(folder.glob("0000.*.rejects.csv")))
    prepared = (folder / "0000.prepared.h5",)
    apply.run(apply.Parameters(model=model.path, prepared=prepared, reject_tables=rejects, **common))
    return read_predictions(folder / "predictions.json")
