"""Show which lesions decided a fold's test scans.

Whole lesions, found by HU, are removed by several infills, and the effect on the network is measured: the result is a
ranking of lesions, and the crucial set without which the decision turns. Gates, which fail closed, say from validation
scans whether the question has an answer for this network. The network of fold k explains the test scans of fold k.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, StoredParameters, parameter
from claire.core.privacy.pictures import Policy


class Parameters(StoredParameters):
    """Parameters of `claire explain`."""

    weights: InputFile | None = parameter(
        None, unless="model", help="`<run>.safetensors` of the run; names variant and fold"
    )
    run: InputFile | None = parameter(
        None,
        unless="model",
        help="`<run>.run.zip` of the same run",
        details="Its validation predictions give the operating point of scans (those of `evaluate` are of patients): "
        "Youden's, on 1 − p of the reference class.",
    )
    cohort: InputFile = parameter(
        help="cohort.h5 that the run was trained on; with --model scans.h5 of apply", details="Another one is refused."
    )
    folds: InputFile | None = parameter(None, unless="model", help="folds.csv of the cohort")
    model: InputFile | None = parameter(
        None,
        help="`<variant>.model.zip` of bundle: new scans are explained, in place of the test scans of a run",
        details="Each scan by the network nearest to what all networks say. Its gates are those of the model.",
    )
    predictions: InputFile | None = parameter(None, help="predictions.json of apply; with --model")
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
        help="most whole lesions of a scan called positive that are measured one by one; half for others",
        details="The largest; smaller opacities are removed together, and counted in `candidates_left_out`.",
        ge=1,
    )
    maps: Literal["few", "all"] = parameter(
        "few",
        help="saliency maps beside the ranking by interventions",
        details="`few`: Grad-CAM, integrated gradients and the HU baselines; `all`: every method of `lesions.json`.",
    )
    attribution_steps: int = parameter(8, help="points of integrated gradients", details="32 for a publication.", ge=1)
    refine: Literal["auto", "none", "healed", "rounds", "attacked"] = parameter(
        "auto",
        help="how the network is refined; auto: healed, unless it learned from healed copies",
        details="`healed`: on copies without their opacities; `rounds`: the copies of a healer too, in alternating "
        "rounds; `attacked`: on small changes of HU. Never taken below 20 validation scans.",
    )
    refine_steps: int | None = parameter(
        None, help="steps of refinement, 0 for none; without it 240 on a GPU, else 80", ge=0
    )
    auc_loss: float = parameter(
        0.02,
        help="a refined network is taken unless the upper 95 % limit of its AUC loss on validation exceeds this",
        details="Paired by patient. With no true loss 0.02 takes it in 0.4 of cases with 40 validation patients, 0.9 "
        "with 300; 0.05 is easier to show.",
        ge=0,
        le=0.5,
    )
    heal_steps: int = parameter(
        0,
        help="training steps of a healer whose mask is shown as a map and proposes regions; 0: no healer",
        details="400 on a GPU. It earned no place in the default: see docs/method.md.",
        ge=0,
    )
    shapley: int = parameter(
        6,
        help="exact Shapley values and interactions for scans with up to this many candidates",
        details="Costs 2ⁿ sets per scan and infill; 8 is bearable with a GPU.",
        ge=0,
        le=12,
    )
    insertions: int = parameter(
        200,
        help="places of the insertion audit: lesions set into lungs called negative; 0 for none",
        details="One evaluation of the network each.",
        ge=0,
    )
    winner: InputFile | None = parameter(
        None,
        help="winner.json of evaluate: the guards that fired, and whether the variant is better than chance",
        details="The gate `shortcut_guards` is closed without it. It names no site, unlike metrics.json.",
    )
    judge: InputFile | None = parameter(
        None,
        help="weights of another architecture on the same grid and fold, for a gate",
        details="Same view, size, slices, cohort and fold. The gate `flips_judge` needs it and is closed without. The "
        "workflow gives the best such run by validation.",
    )
    list: bool = parameter(
        False,
        help="print how many patients each gate needs, and how many there are; explain nothing",
        details="Read from the run's predictions alone.",
        for_people=True,
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
