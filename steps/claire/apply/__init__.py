"""Predict new scans by a model file: probabilities, decisions, and whether the model has a say.

The networks of all folds predict each scan: their calibrated probabilities are averaged, and their spread is told. A
scan that is not like those of the model's cohort gets the reasons beside its probability, and no decision.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, Manifest, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire apply`."""

    model: InputFile = parameter(help="`<variant>.model.zip` of bundle", details="`claire bundle --list` shows it.")
    prepared: Manifest = parameter(help="manifest of the NNNN.prepared.h5 files of preprocess")
    reject_tables: Manifest = parameter(
        (), help="manifest of the rejects.csv files of ingest, segment and preprocess", details="For the counts."
    )
    records: Manifest = parameter(
        (),
        help="manifest of the records of index, ingest and preprocess",
        details="Scans that were prepared otherwise than the model's cohort are refused; without them only another "
        "size is.",
    )
    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto", help="where the networks run; auto: a GPU if there is one"
    )


def run(parameters: Parameters) -> None:
    """Write the predictions, their table and the scans as the networks read them."""
    from claire.apply import work

    work.run(parameters)
