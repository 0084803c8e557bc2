"""The objects of one scan: whether it has some, and the names of their files or the reason why there are none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import claire
from claire.core.command.errors import ClaireError, RejectedScan
from claire.core.command.progress import log
from claire.core.contracts.rejects import REASONS
from claire.core.imaging.volume import Volume
from claire.core.sources.formats import DICOM
from claire.deliver.diagnosis import Diagnosis
from claire.deliver.grid import to_ingested
from claire.deliver.inputs import Inputs, NewScan
from claire.deliver.objects import write_objects
from claire.deliver.words import point_name


@dataclass(frozen=True)
class Written:
    """The objects of a scan: `paths` of the files, or `why` there are none."""

    paths: tuple[Path, ...] = ()
    why: str = ""


def make_diagnosis(new: NewScan, inputs: Inputs) -> Diagnosis:
    """Return what the objects of a scan report; where the model has no say there are no decisions."""
    verdict, explained = new.predicted.verdict, new.found.explained if new.found else None
    return Diagnosis(
        scan=new.predicted.scan,
        patient=new.predicted.patient,
        classes=inputs.predictions.classes,
        probabilities=tuple(verdict.probability[name] for name in inputs.predictions.classes),
        decisions={} if verdict.cannot_tell else {point_name(each): each.decision for each in verdict.decisions},
        model=inputs.predictions.model,
        model_sha256=inputs.predictions.model_sha256,
        version=claire.__version__,
        created=inputs.created,
        out_of_cohort=new.predicted.out_of_cohort,
        cannot_tell=verdict.cannot_tell,
        explained_class=explained.explained_class if explained else "",
        lesions=explained.lesions if explained else (),
    )


def write_scan_objects(
    new: NewScan, inputs: Inputs, out: Path, *, keep_identity: bool, counts: Counter[str]
) -> Written:
    """Write the objects of a scan. A scan of which none can be written is told in log and counts; others go on."""
    if new.facts.kind != DICOM:
        counts["scans_not_dicom"] += 1
        return Written(why=f"This scan came as {new.facts.kind.upper()}, not as DICOM: there is no series for objects.")
    try:
        paths = write_objects(
            new.files,
            _labels(new, inputs),
            new.facts,
            make_diagnosis(new, inputs),
            new.pictures,
            out,
            keep_identity=keep_identity,
            pseudonyms=inputs.pseudonyms,
        )
    except RejectedScan as error:
        counts["scans_without_objects"] += 1
        log.warning("scan %s has no DICOM objects: %s", new.predicted.scan, error)
        why = f"{REASONS[error.reason].meaning}: {error.detail}" if error.detail else REASONS[error.reason].meaning
        return Written(why=f"The DICOM objects could not be written: {why}.")
    except ClaireError as error:
        counts["scans_without_objects"] += 1
        log.warning("scan %s has no DICOM objects: %s", new.predicted.scan, error.problem)
        return Written(why=f"The DICOM objects could not be written: {error.problem}.")
    return Written(tuple(paths))


def _labels(new: NewScan, inputs: Inputs) -> Volume:
    """Return the ids of lesions on the grid of the ingested scan."""
    prepared = inputs.labels(new.predicted.scan) if new.found else None
    data = np.zeros(new.grid.original_shape, np.int16) if prepared is None else to_ingested(prepared, new.grid)
    return Volume(data, inputs.affine(new.predicted.scan))
