"""Show which lesions decided a fold's test scans.

Candidate lesions are proposed by HU and by saliency maps, each is removed by several infills, and what that does to the
network is measured: the lesions come out ranked, with the set without which the decision turns. Beside it a healer is
trained against the network; gates, which fail closed, say whether it may be believed. The network of fold k explains
the test scans of fold k.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from claire.core.command import cli
from claire.core.command.record import Record


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `claire explain`."""
    made = cli.parser("explain", __doc__)
    flags = made.add_argument
    flags("--weights", type=cli.existing_file, required=True, help="`.safetensors` of the run; names variant and fold")
    flags("--run", type=cli.existing_file, required=True, help="`.run.zip` of the same run")
    flags("--cohort", type=cli.existing_file, required=True, help="cohort.h5 that the run was trained on")
    flags("--folds", type=cli.existing_file, required=True, help="folds.csv of the cohort")
    flags("--images", choices=["none", "phantom", "all"], default="none", help="whose pictures are drawn")
    flags("--seed", type=cli.natural, default=0, help="seed of everything that is drawn")
    flags("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where the network runs")
    flags("--limit", type=cli.natural, default=0, help="most scans explained, those called positive first; 0: all")
    flags(
        "--candidates",
        type=cli.positive_int,
        default=16,
        help="most candidate lesions of a scan called positive; half for others",
    )
    flags("--attribution-steps", type=cli.positive_int, default=8, help="points of integrated gradients")
    flags(
        "--refine-steps",
        type=cli.natural,
        help="steps of refinement; else 120 on a GPU, 24 without; 0: none",
    )
    flags("--heal-steps", type=cli.natural, help="training steps of the healer; else 400 on a GPU, 60 without; 0: none")
    flags("--shapley", type=cli.natural, default=5, help="exact Shapley values up to so many candidates (2ⁿ sets each)")
    flags(
        "--judge", type=cli.existing_file, help="weights of another architecture on the same grid and fold, for a gate"
    )
    flags("--keep-weights", action="store_true", help="write the weights of the explained network too")
    return made


PARAMETERS = ("images", "seed", "limit", "candidates", "attribution_steps", "refine_steps", "heal_steps", "shapley")


def run(args: argparse.Namespace) -> None:
    """Explain the test scans of the weights' fold and write maps, pictures and lesions."""
    from claire.explain.work import explain, open_work

    work = open_work(args)
    parameters = {name: getattr(args, name) for name in PARAMETERS} | {"device": work.probe.where.kind}
    inputs: dict[str, Path | str] = {name: getattr(args, name) for name in ("weights", "run", "folds")}
    inputs |= {"cohort": work.cohort.sha256} | ({"judge": args.judge} if args.judge else {})
    with Record("explain", work.run.name, args.out, parameters, inputs) as record:
        explain(work, args, record)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `claire explain`; return its exit code."""
    return cli.execute(build_parser(), run, argv)
