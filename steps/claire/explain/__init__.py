"""Show which lesions decided a fold's test scans.

Candidate lesions are proposed by HU and by saliency maps, each is removed by several infills, and the effect on the
network is measured: the result is a ranking of lesions, and the set without which the decision turns. A healer is also
trained against the network; gates, which fail closed, decide whether it is reliable. The network of fold k explains
the test scans of fold k.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, StepParameters, parameter
from claire.core.privacy.pictures import Policy


class Parameters(StepParameters):
    """Parameters of `claire explain`."""

    weights: InputFile = parameter(help="`<run>.safetensors` of the run; names variant and fold")
    run: InputFile = parameter(
        help="`<run>.run.zip` of the same run",
        details="Its validation predictions give the operating point of scans (those of `evaluate` are of patients): "
        "Youden's, on 1 − p of the reference class.",
    )
    cohort: InputFile = parameter(help="cohort.h5 that the run was trained on", details="Another one is refused.")
    folds: InputFile = parameter(help="folds.csv of the cohort")
    images: Policy = parameter(
        "phantom",
        help="whose pictures are drawn",
        details="`phantom`: only scans that the scanner marked as a phantom's. Pictures of patients are personal "
        "health data.",
    )
    seed: int = parameter(
        0,
        help="seed of infills, healer and bootstrap",
        details="The same seed gives the same bytes on a processor.",
        ge=0,
    )
    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto", help="where the network runs; auto: a GPU if there is one"
    )
    limit: int = parameter(
        0,
        help="most scans explained; 0: all",
        details="Three quarters are scans called positive, one quarter is a random sample of the others.",
        ge=0,
    )
    candidates: int = parameter(
        16,
        help="most candidate lesions of a scan called positive; half for others",
        details="Candidates beyond it are counted in `candidates_left_out`.",
        ge=1,
    )
    attribution_steps: int = parameter(8, help="points of integrated gradients", details="32 for a publication.", ge=1)
    refine_steps: int | None = parameter(
        None,
        help="steps of adversarial refinement, 0 for none; without it 120 on a GPU, else 24",
        details="Skipped under 20 validation scans, where the refined network could not be taken.",
        ge=0,
    )
    heal_steps: int | None = parameter(
        None,
        help="training steps of the healer, 0 for none; without it 400 on a GPU, else 60",
        details="More if the gates report that healing turns too few decisions.",
        ge=0,
    )
    shapley: int = parameter(
        5,
        help="exact Shapley values for scans with up to this many candidates",
        details="Costs 2ⁿ sets per scan and infill; 8 is bearable with a GPU.",
        ge=0,
    )
    judge: InputFile | None = parameter(
        None,
        help="weights of another architecture on the same grid and fold, for a gate",
        details="Same view, size, slices, cohort and fold. The gate “a network that the healer never saw” needs it and "
        "is closed without.",
    )
    keep_weights: bool = parameter(
        False,
        help="write the weights of the explained network too",
        details="They differ from the trained ones where the refined network was taken.",
    )


def run(parameters: Parameters) -> None:
    """Explain the test scans of the weights' fold and write maps, pictures and lesions."""
    from claire.explain import work

    work.run(parameters)
