"""What the step writes: the document of lesions, their table, the maps, the explained weights."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from claire.core.command.documents import finite
from claire.core.contracts.archive import ArchiveWriter
from claire.core.contracts.lesions import ExplainedNetwork, ExplainedScan, Gate, LesionsDocument, MethodFigures
from claire.core.contracts.run import Run
from claire.core.contracts.weights import WeightsFacts, write_weights
from claire.core.imaging.volume import Volume, to_nifti_gz
from claire.explain.refine import ChosenNetwork
from claire.explain.scan import ScanResult, Setting

STATEMENTS = {
    True: "All gates are open: the healing counts as one infill and one proposer among others.",
    False: "Healing not reliable: not every gate is open. Lesions are ranked by infills that are independent of it; "
    "the healing may only propose a candidate and widen the interval of a rank.",
}


def lesions_document(
    run: Run, setting: Setting, gates: Sequence[Gate], methods: Sequence[MethodFigures], scans: Sequence[ExplainedScan]
) -> LesionsDocument:
    """Return the content of `<run>.lesions.json`."""
    chosen = setting.chosen
    point = chosen.operating_point
    return LesionsDocument(
        run=run.name,
        variant=run.variant.id,
        fold=run.fold,
        classes=setting.classes,
        network=ExplainedNetwork(
            auc_validation=finite(chosen.auc, 6),
            operating_point=None if point is None else finite(point, 6),
            refined=chosen.refinement.taken,
            refinement=chosen.refinement,
            healer_steps=len(setting.healer.history) if setting.healer else 0,
        ),
        gates=tuple(gates),
        reliable=setting.reliable,
        healing_proposes=setting.proposing,
        statement=STATEMENTS[setting.reliable],
        infills=setting.counted,
        methods=tuple(methods),
        scans=tuple(scans),
    )


def add_maps(archive: ArchiveWriter, result: ScanResult) -> None:
    """Add the maps of a scan, `<scan>.<method>.nii.gz`, 8 bits and a scale, and the label map of its lesions."""
    scan, affine = result.explained.scan, result.case.view.affine
    for name, values in result.maps.items():
        archive.add(f"{scan}.{name}.nii.gz", _scaled_nifti(values, affine))
    labels = result.candidates.labels.astype(np.uint8)
    archive.add(f"{scan}.lesions.nii.gz", to_nifti_gz(Volume(labels, affine)))


def _scaled_nifti(values: np.ndarray, affine: np.ndarray) -> bytes:
    """8-bit NIfTI whose slope and intercept restore the values to within 1/255 of their range."""

    image = nib.Nifti1Image(values.astype(np.float32).T, affine)
    image.set_data_dtype(np.uint8)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as stream:
        stream.write(image.to_bytes())
    return packed.getvalue()


def write_explained_weights(path: Path, facts: WeightsFacts, chosen: ChosenNetwork) -> Path:
    """Write the explained network with the facts of the trained one and `refined`."""
    refined = facts.model_copy(update={"refined": chosen.refinement.taken})
    return write_weights(path, chosen.probe.network.state_dict(), refined)
