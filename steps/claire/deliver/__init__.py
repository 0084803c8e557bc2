"""Write a page a patient and DICOM objects of predicted scans.

`<patient>.html` says in plain words what the model says, which lesions decided, and what the model is; `index.html`
lists all scans. Beside them the same as DICOM: lesions (SEG), pictures (SC) and report (SR). Everything is marked as
for research use only, and holds pseudonyms unless the site of the data asks for the identity of the source.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputDirectory, InputFile, Manifest, StoredParameters, parameter
from claire.core.privacy.pictures import Policy


class Parameters(StoredParameters):
    """Parameters of `claire deliver`."""

    model: InputFile = parameter(help="`<variant>.model.zip` of bundle, as apply had it")
    predictions: InputFile = parameter(help="predictions.json of apply")
    scans: InputFile = parameter(help="scans.h5 of apply")
    lesions: InputFile | None = parameter(
        None, help="scans.lesions.json of explain; without it pages and objects have no lesions"
    )
    overlays: InputFile | None = parameter(None, help="scans.overlays.zip of explain: the pictures")
    saliency: InputFile | None = parameter(
        None,
        help="scans.saliency.zip of explain, for the label maps of lesions",
        details="Without it no SEG is written; report and page measure the lesions all the same.",
    )
    volumes: Manifest = parameter(help="manifest of the NNNN.scans.zip files of ingest")
    shards: Manifest = parameter(help="manifest of the NNNN.shard.jsonl files of index")
    reject_tables: Manifest = parameter(
        (),
        help="manifest of the rejects.csv files of ingest, segment and preprocess",
        details="The list says which series were set aside, and why.",
    )
    apply_record: InputFile | None = parameter(
        None,
        help="apply.run.json: when the model was run, for objects with the identity",
        details="Without it their date is that of writing. Objects of pseudonyms have no date.",
    )
    source: InputDirectory = parameter(help="the directory that index was pointed to")
    key: InputFile = parameter(help="secret key of the pseudonyms, as ingest had it")
    images: Policy = parameter(
        "phantom",
        help="whose pictures are shown, on pages and as objects",
        details="`phantom`: only scans that the scanner marked as a phantom's. Only what explain drew can be shown.",
    )
    objects: Literal["dicom", "none"] = parameter(
        "dicom",
        help="objects that are written of scans that came as DICOM",
        details="Others have a page that says that they have none.",
    )
    keep_identity: bool = parameter(
        False,
        help="pages and objects carry the identity of the source in place of pseudonyms",
        details="At the site of the data only: a PACS then files the objects beside the scan. Files are readable by "
        "their owner alone, and nothing is stored.",
    )


def run(parameters: Parameters) -> None:
    """Write the pages, the list of patients, the objects and the record."""
    from claire.deliver import work

    work.run(parameters)
