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
from claire.core.contracts.gates import gates, reliable
from claire.core.contracts.lesions import ExplainedNetwork, ExplainedScan, LesionsDocument, MethodFigures
from claire.core.contracts.run import Run
from claire.core.contracts.weights import write_weights
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.imaging.infill import INDEPENDENT
from claire.core.imaging.volume import Volume, to_nifti_gz
from claire.explain.evidence import Measured
from claire.explain.refine import ChosenNetwork
from claire.explain.scan import ScanResult, Setting

STATEMENTS = {
    True: "The question which lesions decided has an answer for this network: every gate is open.",
    False: "Not reliable: not every gate is open in this fold. The report pools the folds of the variant.",
}


def lesions_document(
    run: Run, setting: Setting, measured: Measured, methods: Sequence[MethodFigures], scans: Sequence[ExplainedScan]
) -> LesionsDocument:
    """Return the content of `<run>.lesions.json`."""
    chosen = setting.chosen
    point = chosen.operating_point
    judged = gates([measured.evidence])
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
            healer_steps=setting.parameters.heal_steps if setting.healer else 0,
            healed_log_odds=None if measured.healed_odds is None else finite(measured.healed_odds, 6),
        ),
        evidence=measured.evidence,
        gates=judged,
        reliable=reliable(judged),
        statement=STATEMENTS[reliable(judged)],
        infills=INDEPENDENT,
        methods=tuple(methods),
        insertion=measured.insertion,
        scans=tuple(scans),
    )


def add_maps(archive: ArchiveWriter, result: ScanResult) -> None:
    """Add what a viewer needs of a scan, NIfTI on two grids.

    On the prepared grid: `hu`, `healed` (without the crucial lesions, or without all where none is crucial) and
    `lesions`, the label map by id. On the network's grid: `<method>`, 8 bits and a scale.
    """
    scan, affine = result.explained.scan, result.case.view.affine
    for name, values in result.maps.items():
        archive.add(f"{scan}.{name}.nii.gz", _scaled_nifti(values, affine))
    prepared = {"hu": result.case.prepared_hu, "healed": result.healed, "lesions": shown_labels(result)}
    for name, data in prepared.items():
        archive.add(f"{scan}.{name}.nii.gz", to_nifti_gz(Volume(np.ascontiguousarray(data), result.case.scan.affine)))


def shown_labels(result: ScanResult) -> np.ndarray:
    """Return the label map (kept slices, rows, columns) int16 by id; what was not measured one by one is 0."""
    labels = result.candidates.labels
    return np.where(labels == result.candidates.rest, 0, labels).astype(np.int16)


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
