"""Turn a grid of variants into the list of trainings.

Needs no data, so that whatever is wrong with a grid is told before anything is submitted. `--list` prints the
variants and what they cost, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claire.core.command.errors import UsageError
from claire.core.command.files import canonical_json, write_json, write_text
from claire.core.command.parameters import InputFile, Manifest, StepParameters, parameter
from claire.core.command.progress import log
from claire.core.command.record import SCHEMA_VERSION, Record
from claire.core.contracts.folds import require_count
from claire.core.contracts.variant import Variant
from claire.core.networks.architectures import require_known
from claire.plan.grid import expand, load_grid


class Parameters(StepParameters):
    """Parameters of `claire plan`."""

    grid: InputFile = parameter(help="YAML grid of variants")
    fold_count: int = parameter(help="folds that each variant is trained on", ge=1)
    seed: int = parameter(0, help="seed of the variants whose grid names none", ge=0)
    weights: Manifest = parameter((), help="manifest of the weights files that `pretraining` may name")
    list: bool = parameter(False, help="print the variants and their cost; write nothing", for_people=True)


def run(parameters: Parameters) -> None:
    """Read the grid, then list the plan or write it."""
    require_count(parameters.fold_count)
    grid = load_grid(parameters.grid)
    variants = expand(grid, parameters.seed)
    for variant in variants:
        require_known(variant.architecture, variant.dimensions)
    plan = make_plan(grid.name, variants, parameters.fold_count, [path.name for path in parameters.weights])
    if parameters.list:
        print(listing(plan, variants))
        return
    recorded = parameters.recorded() | {"name": grid.name}
    files = {"grid": parameters.grid, **{f"weights/{path.name}": path for path in parameters.weights}}
    with Record("plan", "", parameters.out, recorded, files) as record:
        write_plan(parameters.out, plan, variants, record)


def make_plan(name: str, variants: Sequence[Variant], folds: int, weights: Sequence[str]) -> dict[str, Any]:
    """Return the plan: variants in the grid's order, each with the position of its weights in `weights` (−1 = none).

    Every variant is trained on every fold. Raises UsageError when a pretraining is not among the weights.
    """
    ids = [variant.id for variant in variants]
    if len(set(ids)) < len(ids):
        raise UsageError(f"grid '{name}' has two variants of the same short id", "Change a seed of the grid.")
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "folds": folds,
        "trainings": len(variants) * folds,
        "epochs": sum(variant.epochs for variant in variants) * folds,
        "variants": ids,
        "pretraining": [weights_position(variant.pretraining, weights) for variant in variants],
    }


def weights_position(pretraining: str, weights: Sequence[str]) -> int:
    """Return the position of `weights:NAME` among the names of the weights files, −1 for `none`."""
    if pretraining == "none":
        return -1
    name = pretraining.removeprefix("weights:")
    given = ", ".join(weights) or "none"
    if name not in weights:
        raise UsageError(
            f"pretraining '{pretraining}' names no weights file that was given (given: {given})",
            f"Add a file of the name {name} to the `weights` of the job, or to the manifest of --weights.",
        )
    if weights.count(name) > 1:
        raise UsageError(f"two weights files have the name {name}", "Rename one.")
    return weights.index(name)


def write_plan(out: Path, plan: Mapping[str, Any], variants: Sequence[Variant], record: Record) -> None:
    """Write `<id>.variant.json` of each variant and `plan.json`."""
    for variant in variants:
        record.output(write_json(out / f"{variant.id}.variant.json", variant.document()))
    record.output(write_text(out / "plan.json", canonical_json(plan) + "\n"))
    record.counts.update(variants=len(variants), trainings=plan["trainings"], epochs=plan["epochs"])
    log.info("%s", cost(plan))


def cost(plan: Mapping[str, Any]) -> str:
    """Return what a plan costs, in a line."""
    return (
        f"{plan['name']}: {len(plan['variants'])} variants x {plan['folds']} folds = {plan['trainings']} trainings, "
        f"at most {plan['epochs']} epochs"
    )


def listing(plan: Mapping[str, Any], variants: Sequence[Variant]) -> str:
    """Return the table of variants: what they share, then a line each with what differs; then the cost."""
    settings = [_cells(variant) for variant in variants]
    differing = [name for name in settings[0] if len({cells[name] for cells in settings}) > 1]
    shared = ", ".join(f"{name} {cell}" for name, cell in settings[0].items() if name not in differing)
    head = ["variant", *differing]
    rows = [[v.id, *(cells[name] for name in differing)] for v, cells in zip(variants, settings, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in (head, *rows)]
    return "\n".join([f"shared: {shared}", "", *table, "", cost(plan)])


def _cells(variant: Variant) -> dict[str, str]:
    values = variant.model_dump(mode="json")
    values["window"] = "{centre:g}/{width:g}".format(**values["window"])
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
