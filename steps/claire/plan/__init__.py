"""Turn a grid of variants into the list of trainings.

Needs no data, so that whatever is wrong with a grid is told before anything is submitted. `--list` prints the
variants and what they cost, and writes nothing.
"""

from __future__ import annotations

from claire.core.command.parameters import InputFile, Integers, Manifest, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire plan`."""

    grid: InputFile = parameter(help="YAML grid of variants")
    fold_count: int = parameter(help="folds that each variant is trained on", ge=1)
    seed: int = parameter(0, help="seed of the variants whose grid names none", ge=0)
    pretrained: Manifest = parameter((), help="manifest of the weights files that `pretraining` may name")
    explain_folds: Integers | None = parameter(
        None, help="folds whose test scans are to be explained: checked here; all by default, `none` for none"
    )
    list: bool = parameter(False, help="print the variants and their cost; write nothing", for_people=True)


def run(parameters: Parameters) -> None:
    """Read the grid, then list the plan or write it."""
    from claire.core.command.record import Record
    from claire.core.contracts.folds import require_count
    from claire.core.networks.architectures import require_known
    from claire.plan.grid import expand, load_grid
    from claire.plan.work import listing, make_plan, require_folds, write_trainings

    require_count(parameters.fold_count)
    require_folds(parameters.explain_folds or (), parameters.fold_count)
    grid = load_grid(parameters.grid)
    variants = expand(grid, parameters.seed)
    for variant in variants:
        require_known(variant.architecture, variant.dimensions)
    plan = make_plan(grid.name, variants, parameters.fold_count, [path.name for path in parameters.pretrained])
    if parameters.list:
        print(listing(plan, variants))
        return
    files = {"grid": parameters.grid, **{f"pretrained/{path.name}": path for path in parameters.pretrained}}
    recorded = parameters.recorded() | {"name": grid.name}
    with Record("plan", "", parameters.out, recorded, files) as record:
        write_trainings(parameters.out, plan, variants, record)
