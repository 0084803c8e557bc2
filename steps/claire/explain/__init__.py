"""Show which lesions decided a fold's test scans.

Candidate lesions are proposed by HU and by saliency maps, each is removed by several infills, and what that does to the
network is measured: the lesions come out ranked, with the set without which the decision turns. Beside it a healer is
trained against the network; gates, which fail closed, say whether it may be believed. The network of fold k explains
the test scans of fold k.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from claire.core.command.parameters import InputFile, StepParameters, parameter
from claire.core.privacy.pictures import Policy


class Parameters(StepParameters):
    """Parameters of `claire explain`."""

    weights: InputFile = parameter(help="`.safetensors` of the run; names variant and fold")
    run: InputFile = parameter(help="`.run.zip` of the same run")
    cohort: InputFile = parameter(help="cohort.h5 that the run was trained on")
    folds: InputFile = parameter(help="folds.csv of the cohort")
    images: Policy = parameter("phantom", help="whose pictures are drawn")
    seed: int = parameter(0, help="seed of everything that is drawn", ge=0)
    device: Literal["auto", "cpu", "cuda"] = parameter("auto", help="where the network runs")
    limit: int = parameter(0, help="most scans explained, those called positive first; 0: all", ge=0)
    candidates: int = parameter(16, help="most candidate lesions of a scan called positive; half for others", ge=1)
    attribution_steps: int = parameter(8, help="points of integrated gradients", ge=1)
    refine_steps: int | None = parameter(None, help="steps of refinement; else 120 on a GPU, 24 without; 0: none", ge=0)
    heal_steps: int | None = parameter(
        None, help="training steps of the healer; else 400 on a GPU, 60 without; 0: none", ge=0
    )
    shapley: int = parameter(5, help="exact Shapley values up to so many candidates (2ⁿ sets each)", ge=0)
    judge: InputFile | None = parameter(
        None, help="weights of another architecture on the same grid and fold, for a gate"
    )
    keep_weights: bool = parameter(False, help="write the weights of the explained network too")


def run(parameters: Parameters) -> None:
    """Explain the test scans of the weights' fold and write maps, pictures and lesions."""
    from claire.core.command.record import Record
    from claire.explain.inputs import open_inputs
    from claire.explain.work import explain

    inputs = open_inputs(parameters)
    recorded = parameters.recorded() | {"device": inputs.probe.device.kind}
    hashed: dict[str, Path | str] = {name: getattr(parameters, name) for name in ("weights", "run", "folds")}
    hashed["cohort"] = inputs.cohort.sha256
    if parameters.judge is not None:
        hashed["judge"] = parameters.judge
    with Record("explain", inputs.run.name, parameters.out, recorded, hashed) as record:
        explain(inputs, parameters, record)
