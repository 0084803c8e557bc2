"""All objects of a scan, written as files."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from highdicom import SOPClass
from pydicom.valuerep import DA, TM

from claire.core.command.files import atomic, only_for_owner
from claire.core.contracts.scans import ScanFacts
from claire.core.imaging.volume import Volume
from claire.core.privacy.pseudonym import Pseudonyms
from claire.deliver.captures import make_capture
from claire.deliver.diagnosis import DESCRIPTION, Diagnosis
from claire.deliver.identity import Identity, copied, pseudonymous
from claire.deliver.segmentation import make_segmentation
from claire.deliver.source import read_source
from claire.deliver.structured_report import make_report
from claire.deliver.uids import make_uid


def write_objects(
    source_files: Sequence[Path],
    labels: Volume,
    facts: ScanFacts,
    diagnosis: Diagnosis,
    pictures: Mapping[str, bytes],
    out: Path,
    *,
    keep_identity: bool = False,
    pseudonyms: Pseudonyms | None = None,
) -> list[Path]:
    """Write the objects of a scan to the folder `out`; return their paths: SEG (if it has lesions), SC, SR.

    `source_files`: the instances of the source series; `labels`: (slices, rows, columns) integer ids of lesions, 0
    elsewhere, in the grid of the ingested scan; `facts`: of the scan; `pictures`: PNG by a short title. Without
    `keep_identity` patient, study and all UIDs are pseudonyms, and there are no dates. With it, patient and study are
    those of the source, so that a PACS files the objects beside it, and the files are readable by their owner alone:
    for the site of the data only. With the key (`pseudonyms`) it is checked that the files are those of the scan.
    The same input gives the same bytes.

    Raises ClaireError for a scan that did not come as DICOM and RejectedScan where the files are not those of the scan.
    """
    logging.getLogger("highdicom").setLevel(logging.CRITICAL)  # it logs the UIDs of the source
    if diagnosis.scan != facts.scan:
        raise ValueError(f"diagnosis of scan {diagnosis.scan}: expected {facts.scan}")
    source = read_source(source_files, labels, facts, keep_identity=keep_identity, pseudonyms=pseudonyms)
    identity = copied(diagnosis, min(source_files)) if keep_identity else pseudonymous(diagnosis, facts)
    # UIDs of identified objects follow from the identified series: nobody can compute them from a pseudonym.
    name = source.images[0].SeriesInstanceUID if keep_identity else diagnosis.scan
    key = make_uid(diagnosis.model_sha256, name, "identified" if keep_identity else "pseudonymous")
    segmentation = make_segmentation(labels, diagnosis, source, key)
    objects: dict[str, SOPClass] = {"lesions.seg": segmentation} if segmentation else {}
    for number, (title, picture) in enumerate(pictures.items(), 1):
        objects[f"{_file_part(title)}.sc"] = make_capture(title, picture, number, diagnosis, source, key)
    objects["report.sr"] = make_report(diagnosis, source, segmentation, key)
    descriptions = {"seg": "lesions", "sc": "pictures", "sr": "report"}
    paths = []
    with only_for_owner() if keep_identity else nullcontext():
        for part, each in objects.items():
            each.SeriesDescription = f"{DESCRIPTION}: {descriptions[part.rpartition('.')[2]]}"
            _stamp(each, identity, key)
            path = out / f"{diagnosis.scan}.{part}.dcm"
            with atomic(path) as stream:
                each.save_as(stream, enforce_file_format=True)
            paths.append(path)
    return paths


def _file_part(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "picture"


def _stamp(instance: SOPClass, identity: Identity, key: str) -> None:
    """Set patient and study, mark the object as research, and replace what the library took from clock and chance."""
    instance.update(identity.elements)
    instance.SpecificCharacterSet = "ISO_IR 192"
    instance.ContentQualification = "RESEARCH"
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        delattr(instance, keyword)
    for prefix, suffix in (("Content", ""), ("", "OfSecondaryCapture")):
        if f"{prefix}Date{suffix}" in instance:
            setattr(instance, f"{prefix}Date{suffix}", DA(identity.created.date()))
            setattr(instance, f"{prefix}Time{suffix}", TM(identity.created.time().replace(microsecond=0)))
    for equipment in instance.ContributingEquipmentSequence:
        del equipment.ContributionDateTime
    organization = make_uid(key, "dimensions")
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in instance.get(sequence, ()):
            item.DimensionOrganizationUID = organization
