"""New patients predicted by a tiny model: every step called from Python, from made-up series to the lesions."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.support.dicom_maker import SeriesMaker, chest

CLASSES = ("negative", "positive")
#: Patients of the training: with the tiny network enough to be better than chance.
PATIENTS = 24
PHANTOM = {"QualityControlImage": "YES"}
#: Nothing of these may stand in what holds pseudonyms.
SECRETS = ("Weber", "Doe", "Jane", "Klinikum", "Waldfrieden", "20200315", "2020-03-15", "1.7.", "sub-northwind")
QUICK = {"attribution_steps": 2, "candidates": 4, "shapley": 0}
GRID = """
name: chain
base: {architecture: "python:tests.support.explaining:tiny", view: whole, size: 32, slices: 8, pooling: topk,
  epochs: 30, learning_rate: 0.02}
axes: {seed: [0]}
"""


def call(step: str, **parameters: Any) -> None:
    """Call a step as people do from Python."""
    module = importlib.import_module(f"claire.{step}")
    module.run(module.Parameters(**parameters))


@dataclass(frozen=True)
class Predicted:
    """A model and new patients that it predicted. `out` holds the results of all steps."""

    source: Path
    key: Path
    model: Path
    out: Path

    def parameters(self, out: Path, **changes: Any) -> dict[str, Any]:
        """Return the parameters of `claire deliver`."""
        return {
            "model": self.model,
            "predictions": self.out / "predictions.json",
            "scans": self.out / "scans.h5",
            "lesions": self.out / "scans.lesions.json",
            "overlays": self.out / "scans.overlays.zip",
            "saliency": self.out / "scans.saliency.zip",
            "volumes": sorted(self.out.glob("*.scans.zip")),
            "shards": sorted(self.out.glob("*.shard.jsonl")),
            "reject_tables": sorted(self.out.glob("*.rejects.csv")),
            "source": self.source,
            "key": self.key,
            "out": out,
        } | changes


def chest_with(rng: np.random.Generator, positive: bool, slices: int = 24, side: int = 18) -> np.ndarray:
    """Return a noisy chest, with a dense patch in a lung where it is positive."""
    hu = chest(slices)
    hu = hu + rng.normal(0, 8, hu.shape).astype(np.int16)
    if positive:
        hu[6:18, side : side + 8, 10:17] = -150
    return hu


def write_series(folder: Path, name: str, hu: np.ndarray, number: str, tags: dict[str, Any]) -> None:
    """Write a series of a patient whose headers identify a person."""
    tags = {"InstitutionName": "Klinikum Waldfrieden", "PatientBirthDate": "19570102", **tags}
    SeriesMaker(hu, name, f"1.7.{number}", f"1.8.{number}", pixel=7.0, spacing=9.0, tags=tags).write(folder / number)


def write_new(folder: Path) -> None:
    """Write the new patients: a positive one with two scans, a negative one, a person, a NIfTI file, two rejects."""
    rng = np.random.default_rng(1)
    write_series(folder, "Weber-1", chest_with(rng, True), "1", PHANTOM)
    write_series(folder, "Weber-1", chest_with(rng, True, side=20), "2", PHANTOM)
    write_series(folder, "Weber-2", chest_with(rng, False), "3", PHANTOM)
    write_series(folder, "Weber-3", chest_with(rng, True), "4", {})
    write_series(folder, "Weber-4", chest_with(rng, True, 6), "5", PHANTOM)
    solid = chest_with(rng, False)
    solid[solid < -500] = (
        np.where(np.arange(24) % 2, -1000, 30)[:, None, None].repeat(48, 1).repeat(48, 2)[solid < -500]
    )
    write_series(folder, "Weber-5", solid, "6", PHANTOM)
    image = nib.Nifti1Image(chest_with(rng, True).T, np.diag([-7.0, -7, 9, 1]))
    (folder / "sub-northwind").mkdir()
    nib.save(image, folder / "sub-northwind/ct.nii.gz")


def make_model(folder: Path) -> Path:
    """Train a tiny network on three folds and bundle it; return the model."""
    rng, out = np.random.default_rng(0), folder / "trained"
    out.mkdir(parents=True)
    for number in range(PATIENTS):
        write_series(folder / "cohort", f"Meier-{number}", chest_with(rng, number % 2 > 0), f"9{number}", PHANTOM)
    rows = [f"Meier-{number},{CLASSES[number % 2]}\n" for number in range(PATIENTS)]
    (folder / "labels.csv").write_text("patient_id,label\n" + "".join(rows))
    (folder / "key").write_text("0123456789abcdef")
    prepare(folder / "cohort", out, folder / "key", labels=folder / "labels.csv")
    shards = {"prepared": sorted(out.glob("*.prepared.h5")), "reject_tables": sorted(out.glob("*.rejects.csv"))}
    call("cohort", **shards, fold_count=3, out=out)
    (folder / "grid.yml").write_text(GRID)
    call("plan", grid=folder / "grid.yml", fold_count=3, out=out)
    cohort = {"cohort": out / "cohort.h5", "folds": out / "folds.csv"}
    (variant,) = out.glob("*.variant.json")
    for fold in range(3):
        call("train", variant=variant, **cohort, fold=fold, device="cpu", out=out)
    tables = {"scans": out / "scans.csv", "cohort_summary": out / "cohort.json", "runs": sorted(out.glob("*.run.zip"))}
    call("evaluate", **tables, bootstrap=100, out=out)
    weights = sorted(out.glob("*.safetensors"))
    first = {"weights": weights[0], "run": tables["runs"][0]}
    call("explain", **first, **cohort, **QUICK, insertions=0, refine="none", device="cpu", out=out)
    results = {"winner": out / "winner.json", "metrics": out / "metrics.json", "records": _records(out)}
    call(
        "bundle",
        weights=weights,
        **tables,
        **cohort,
        **results,
        lesions=[*out.glob("*.lesions.json")],
        exports="none",
        out=out,
    )
    (model,) = out.glob("*.model.zip")
    return model


def prepare(source: Path, out: Path, key: Path, **ingest: Any) -> None:
    """Index, ingest, segment and preprocess a source of one shard."""
    call("index", source=source, min_slices=8, shards=1, out=out)
    call("ingest", source=source, shard=out / "0000.shard.jsonl", key=key, min_slices=8, out=out, **ingest)
    call("segment", scans=out / "0000.scans.zip", out=out)
    scans = {"scans": out / "0000.scans.zip", "lungs": out / "0000.lungs.zip"}
    call("preprocess", **scans, size=48, min_lung_slices=11, out=out)


def predict_new(folder: Path) -> Predicted:
    """Make a model and the new patients, predict and explain them."""
    model = make_model(folder / "model")
    out, key, source = folder / "out", folder / "key", folder / "new"
    out.mkdir()
    key.write_text("fedcba9876543210")
    write_new(source)
    prepare(source, out, key)
    prepared = {"prepared": [out / "0000.prepared.h5"], "reject_tables": sorted(out.glob("*.rejects.csv"))}
    call("apply", model=model, **prepared, records=_records(out), device="cpu", out=out)
    new = {"model": model, "predictions": out / "predictions.json", "cohort": out / "scans.h5"}
    call("explain", **new, **QUICK, images="all", device="cpu", out=out)
    return Predicted(source, key, model, out)


def _records(out: Path) -> list[Path]:
    return [path for step in ("index", "ingest", "preprocess") for path in out.glob(f"*{step}.run.json")]
