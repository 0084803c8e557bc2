"""The plan of a grid: made, written, listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.core.command.errors import UsageError
from claire.core.command.findings import Findings
from claire.core.command.progress import log
from claire.core.command.record import Record
from claire.core.contracts.folds import require_count
from claire.core.contracts.plan import Plan, write_plan
from claire.core.contracts.variant import Variant, write_variant, write_variants
from claire.core.networks.architectures import require_known
from claire.plan import Parameters
from claire.plan.grid import expand, load_grid


def run(parameters: Parameters) -> None:
    """Read the grid, then list the plan or write it."""
    names = [path.name for path in parameters.pretrained]
    request = Request(parameters.grid, parameters.fold_count, parameters.seed, parameters.explain_folds or (), names)
    findings = Findings()
    planned = survey(request, findings)
    if planned is None:
        raise findings.error("grid and folds have", "Correct each of them.")
    plan, variants = planned
    if parameters.list:
        print(variant_table(plan, variants))
        return
    files = {"grid": parameters.grid, **{f"pretrained/{path.name}": path for path in parameters.pretrained}}
    recorded = parameters.recorded() | {"name": plan.name}
    with Record("plan", "", parameters.out, recorded, files) as record:
        write_plan_files(parameters.out, plan, variants, record)


@dataclass(frozen=True)
class Request:
    """What a plan is made from; `pretrained` are the names of the weights files."""

    grid: Path
    fold_count: int
    seed: int = 0
    explain_folds: Sequence[int] = ()
    pretrained: Sequence[str] = ()


def survey(request: Request, findings: Findings) -> tuple[Plan, list[Variant]] | None:
    """Return the plan and its variants, or None after adding every fault of grid, networks, weights and folds."""
    fault_count = len(findings.faults)
    with findings.collect():
        require_count(request.fold_count)
    with findings.collect():
        require_folds(request.explain_folds, request.fold_count)
    name, variants = "", list[Variant]()
    with findings.collect():
        grid = load_grid(request.grid)
        name, variants = grid.name, expand(grid, request.seed)
    for architecture, dimensions in dict.fromkeys((each.architecture, each.dimensions) for each in variants):
        with findings.collect():
            require_known(architecture, dimensions)
    for pretraining in dict.fromkeys(each.pretraining for each in variants):
        with findings.collect():
            weights_position(pretraining, request.pretrained)
    if len(findings.faults) > fault_count:
        return None
    with findings.collect():
        return make_plan(name, variants, request.fold_count, request.pretrained), variants
    return None


def require_folds(folds: Sequence[int], fold_count: int) -> None:
    """Raise UsageError where `folds` names a fold that does not exist."""
    unknown = [fold for fold in folds if not 0 <= fold < fold_count]
    if unknown:
        raise UsageError(
            f"--explain-folds names a fold that does not exist: expected 0 to {fold_count - 1}, got {unknown[0]}",
            f"Name folds of --fold-count {fold_count}, counted from 0.",
        )


def make_plan(name: str, variants: Sequence[Variant], fold_count: int, pretrained: Sequence[str]) -> Plan:
    """Return the plan: variants in the grid's order, each with the position of its weights file (−1 = none).

    Every variant is trained on every fold. Raises UsageError when a pretraining is not among `pretrained`.
    """
    ids = [variant.id for variant in variants]
    if len(set(ids)) < len(ids):
        raise UsageError(f"grid '{name}' has two variants with the same short id", "Change a seed of the grid.")
    return Plan(
        name=name,
        fold_count=fold_count,
        trainings=len(variants) * fold_count,
        epochs=sum(variant.epochs for variant in variants) * fold_count,
        variants=tuple(ids),
        pretraining=tuple(weights_position(variant.pretraining, pretrained) for variant in variants),
    )


def weights_position(pretraining: str, pretrained: Sequence[str]) -> int:
    """Return the position of `weights:NAME` among the names of the weights files, −1 for `none`."""
    if pretraining == "none":
        return -1
    name = pretraining.removeprefix("weights:")
    if name not in pretrained:
        names = ", ".join(pretrained) or "none"
        raise UsageError(
            f"pretraining '{pretraining}' names an unknown weights file: expected one of --pretrained ({names})",
            f"Add a file named {name} to `pretrained` of the job file, or to the manifest of --pretrained.",
        )
    if pretrained.count(name) > 1:
        raise UsageError(f"weights file {name} is a duplicate: two paths of --pretrained end in it", "Rename one file.")
    return pretrained.index(name)


def write_plan_files(out: Path, plan: Plan, variants: Sequence[Variant], record: Record) -> None:
    """Write `<id>.variant.json` of each variant, all of them in `variants.zip`, and `plan.json`."""
    for variant in variants:
        record.output(write_variant(out / f"{variant.id}.variant.json", variant))
    record.output(write_variants(out / "variants.zip", variants))
    record.output(write_plan(out / "plan.json", plan))
    record.counts.update(variants=len(variants), trainings=plan.trainings, epochs=plan.epochs)
    log.info("%s", cost_line(plan))


def cost_line(plan: Plan) -> str:
    """Return the cost of a plan in trainings and epochs, as one line."""
    return (
        f"{plan.name}: {len(plan.variants)} variants x {plan.fold_count} folds = {plan.trainings} trainings, "
        f"at most {plan.epochs} epochs"
    )


def variant_table(plan: Plan, variants: Sequence[Variant]) -> str:
    """Return what `--list` prints: settings that all variants share, one row per variant with the others, the cost."""
    settings = [_cells(variant) for variant in variants]
    differing = [name for name in settings[0] if len({cells[name] for cells in settings}) > 1]
    shared = ", ".join(f"{name} {cell}" for name, cell in settings[0].items() if name not in differing)
    header = ["variant", *differing]
    rows = [[v.id, *(cells[name] for name in differing)] for v, cells in zip(variants, settings, strict=True)]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows)]
    return "\n".join([f"shared: {shared}", "", *lines, "", cost_line(plan)])


def _cells(variant: Variant) -> dict[str, str]:
    values = variant.model_dump(mode="json")
    values["window"] = "{centre:g}/{width:g}".format(**values["window"])
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
