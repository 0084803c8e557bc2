"""Train one variant on one fold and predict its validation and test scans.

Learns from the fold's training patients, stops by its validation patients, and predicts its test patients once, when
the best epoch is fixed. Writes the weights, an archive of predictions and history, and last the record.

With --store, a finished training is taken from there instead of being repeated, and an unfinished one resumes from its
checkpoint: run the same command again after any interruption.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire train`."""

    variant: InputFile = parameter(
        help="`<id>.variant.json` of `claire plan`", details="It holds every setting of the training."
    )
    cohort: InputFile = parameter(
        help="cohort.h5 of `claire cohort`", details="It is mapped into memory, never read as a whole."
    )
    folds: InputFile = parameter(help="folds.csv of `claire cohort`", details="The one written beside that cohort.")
    fold: int = parameter(
        help="fold whose patients are the test, counted from 0",
        details="The next fold validates, the others train. Fixed splits of the labels table stay in every fold.",
        ge=0,
    )
    pretrained: InputFile | None = parameter(
        None,
        help="weights file that the variant's pretraining names",
        details="A safetensors file, or a torch file of tensors alone: a pickle that could run code is refused. "
        "Weights are matched by name and shape; log and record say what was loaded, left random and unused.",
    )
    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto",
        help="where to train; auto: a GPU if there is one",
        details="A GPU counts that this PyTorch serves (sm_70 and newer); `cuda` refuses to run without one.",
    )


def run(parameters: Parameters) -> None:
    """Train, or take a finished training from the store."""
    from claire.train import work

    work.run(parameters)
