"""Diagnose new patients by a model file: probabilities, lesions that decided, a page a patient, DICOM.

The scans need no labels. Everything stays in --out: begin with pages/index.html. The same command again goes on where a
run ended.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputDirectory, InputFile, SitePath, StepParameters, parameter
from claire.core.privacy.pictures import Policy


class Parameters(StepParameters):
    """Parameters of `claire predict`."""

    model: InputFile = parameter(help="`<variant>.model.zip` of a finished run", positional=True)
    scans: InputDirectory = parameter(help="directory of DICOM series or NIfTI files", positional=True)
    key: InputFile | None = parameter(
        None,
        help="file with the secret key of the pseudonyms",
        details="Any: it need not be that of the training. Without it a new one is made in --out and used again there.",
    )
    no_lesions: bool = parameter(
        False, help="tell the probabilities alone", details="Seconds a scan, where the lesions take minutes."
    )
    images: Policy = parameter(
        "all",
        help="whose pictures are drawn and shown",
        details="The pages stay in --out, at the site of the data. `phantom` and `none` show no patient.",
    )
    keep_identity: bool = parameter(
        False,
        help="pages and objects name the patient as the series does, in place of the pseudonym",
        details="For a doctor at the site of the data, who must know whose scan it is. Nothing of it may leave it.",
    )
    engine: Literal["cwltool", "streamflow"] = parameter("cwltool", help="engine that runs the workflow")
    site: InputFile | None = parameter(
        None,
        help="StreamFlow file of the site",
        details="As `claire run` takes it, made for main.cwl; its deployments must see the paths of this machine.",
    )
    store: SitePath | None = parameter(
        None, help="directory that keeps finished results; without it one in --out", details="An absolute path."
    )
    out: SitePath = parameter("diagnosis", help="directory for the results; created if missing")


def run(parameters: Parameters) -> None:
    """Run cwl/predict.cwl on the scans and arrange the results."""
    from claire.commands.predict import work

    work.run(parameters)
