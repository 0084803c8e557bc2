"""Pack the winner as it was measured into one file that diagnoses new scans.

`<variant-id>.model.zip` holds the networks of all folds with their operating points and calibration, what prepares a
scan for them, the fingerprint of the cohort they learned from, the measured figures, a model card, and exports to
ONNX, MONAI and containers. It names no patient, scan or site, and no code in it is run when it is read.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, Manifest, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire bundle`."""

    weights: Manifest = parameter(
        (), unless="list", help="manifest of the `<run>.safetensors` of the winner, one per fold"
    )
    runs: Manifest = parameter((), unless="list", help="manifest of the `<run>.run.zip` of the same runs, in any order")
    winner: InputFile | None = parameter(None, help="winner.json of evaluate", unless="list")
    metrics: InputFile | None = parameter(None, help="metrics.json of evaluate", unless="list")
    cohort: InputFile | None = parameter(
        None, help="cohort.h5 that the runs were trained on, for its fingerprint", unless="list"
    )
    cohort_summary: InputFile | None = parameter(None, help="cohort.json of the cohort", unless="list")
    scans: InputFile | None = parameter(None, help="scans.csv of the cohort", unless="list")
    folds: InputFile | None = parameter(None, help="folds.csv of the cohort", unless="list")
    lesions: Manifest = parameter(
        (),
        help="manifest of the `<run>.lesions.json` of explain",
        details="Of explained folds the log-odds without opacities enter, as a reference.",
    )
    records: Manifest = parameter(
        (),
        help="manifest of records of index, ingest and preprocess",
        details="What prepared the scans of the cohort prepares new ones; without them defaults do. Records of other "
        "steps are passed over.",
    )
    exports: Literal["all", "none"] = parameter(
        "all",
        help="whether the model holds exports for other programs: ONNX, a MONAI bundle, a container",
        details="ONNX holds the weights a second time, and needs torch where the step runs: without it the model says "
        "so.",
    )
    intended_use: str = parameter(
        "", help="what the model is meant for, for its card", details="Without it: research on scans like the cohort's."
    )
    licence: str = parameter("", help="licence of the model, for its card", details="Such as `CC-BY-4.0`.")
    data_licence: str = parameter(
        "",
        help="licences and terms of the scans that it learned from, for its card",
        details="They may bind the model.",
    )
    list: InputFile | None = parameter(
        None,
        help="print what a model file is: variant, classes, figures, folds, exports, fingerprint, hash; bundle nothing",
        details="Every member is checked against its hash; no code is run.",
        for_people=True,
    )


def run(parameters: Parameters) -> None:
    """Write the model of the winner, or print what a model file is."""
    from claire.bundle import work

    work.run(parameters)
