"""Grids: a YAML file that spans the space of variants by presets, bases, axes, unions and exclusions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from claire.core.command.errors import UsageError
from claire.core.command.yaml_files import read_yaml_mapping
from claire.core.contracts.variant import Settings, Variant, explain_faults, parse_variant

#: The workflow engines read the plan in one piece of at most 64 KiB, about 16 bytes a variant.
MOST_VARIANTS = 4000

#: Colonnelli et al. 2021 (arXiv:2108.01033) as published: slices inherit their scan's label, grey levels are
#: stretched per slice, nothing is augmented. 64 slices stand for the original's subjects of at least 50.
PRESETS: dict[str, dict[str, object]] = {
    "original-2021": {
        "dimensions": "2D",
        "view": "box",
        "window": {"centre": -500, "width": 1500},
        "normalisation": "slice",
        "size": 224,
        "slices": 64,
        "architecture": "torchvision:densenet121",
        "labels": "inherited",
        "pooling": "mean",
        "optimiser": "adam",
        "schedule": "step",
        "gamma": 0.1,
        "epochs": 50,
        "patience": 10,
        "batch_size": 32,
        "class_weights": True,
        "augmentation": "none",
    }
}

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _axes() -> type[BaseModel]:
    """Return the model of `axes`: each key of a variant with the list of its values."""
    annotated: Any = Annotated  # as values, for mypy takes subscripts of types for types
    list_of: Any = list
    fields: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        value = annotated[(field.annotation, Field(), *field.metadata)]
        fields[name] = (annotated[list_of[value], Field(min_length=1, description=field.description)], [])
    return create_model("Axes", __config__=_STRICT, __doc__="Keys with their values: all combinations.", **fields)


Axes = _axes()


class GridPart(BaseModel):
    """A product of axes over a base. What comes later wins: preset, then base, then axes."""

    model_config = _STRICT
    preset: Annotated[Literal["original-2021"] | None, Field(description="published settings to start from")] = None
    base: Annotated[Settings, Field(description="settings that all variants of this part share")] = Settings()
    axes: Annotated[Axes, Field(description="settings to vary, each with the list of its values")] = Axes()  # type: ignore[valid-type]  # made at run time
    exclude: Annotated[
        list[Settings], Field(description="combinations to leave out: a variant with all values of an entry is dropped")
    ] = []

    def values(self) -> dict[str, list[object]]:
        """Return the keys that this part sets, each with its values."""
        preset = Settings.model_validate(PRESETS[self.preset]) if self.preset else Settings()
        return {
            **{name: [value] for name, value in _set_keys(preset).items()},
            **{name: [value] for name, value in _set_keys(self.base).items()},
            **_set_keys(self.axes),
        }


class Grid(GridPart):
    """A grid of variants. The parts of `union` inherit preset, base, axes and exclude of the grid and override them."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$", description="name of the grid, without spaces")]
    union: Annotated[list[GridPart], Field(description="parts whose variants are joined")] = []

    def products(self) -> list[tuple[str, dict[str, list[object]], list[Settings]]]:
        """Return (name, keys with their values, exclusions) of each product of axes in the grid."""
        inherited = self.values()
        if not self.union:
            return [("grid", inherited, self.exclude)]
        return [
            (f"union.{i}", {**inherited, **part.values()}, [*self.exclude, *part.exclude])
            for i, part in enumerate(self.union)
        ]


def _set_keys(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields if name in model.model_fields_set}


def load_grid(path: Path) -> Grid:
    """Read a grid. Raises UsageError that names the file, the keys at fault and what they may be."""
    values = read_yaml_mapping(
        path, "Give a grid such as configs/grids/sample.yml: a name, and base, axes, union or exclude."
    )
    try:
        return Grid.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            f"{path.name}: {explain_faults(error, Grid.model_fields)}",
            f"Use the keys of a grid: {', '.join(Grid.model_fields)}.\n"
            f"  And those of a variant: {', '.join(Settings.model_fields)}.",
        ) from error


def expand(grid: Grid, seed: int = 0) -> list[Variant]:
    """Return the variants of a grid in its order, without duplicates; `seed` is theirs where the grid sets none.

    Settings without effect get one value (see `without_idle_settings`), so that no training is done twice. Raises
    UsageError on settings that exclude each other, on a grid without variants and on one with too many.
    """
    products = grid.products()
    count = sum(math.prod(map(len, axes.values())) for _, axes, _ in products)
    if count > MOST_VARIANTS:
        raise UsageError(
            f"grid '{grid.name}' is too large: expected at most {MOST_VARIANTS} combinations, got {count}",
            "Split it into several grids.",
        )
    variants = dict.fromkeys(
        parse_variant(without_idle_settings(values), f"grid '{grid.name}', {name}")
        for name, axes, exclude in products
        for values in _combinations(axes, seed)
        if not any(_matches(values, entry) for entry in exclude)
    )
    if not variants:
        raise UsageError(f"grid '{grid.name}' excludes all of its {count} combinations", "Correct `exclude`.")
    return list(variants)


def _combinations(axes: Mapping[str, list[object]], seed: int) -> Iterator[dict[str, Any]]:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    for values in itertools.product(*axes.values()):
        yield {**defaults, "seed": seed, **dict(zip(axes, values, strict=True))}


def _matches(values: Mapping[str, object], entry: Settings) -> bool:
    return all(values[name] == value for name, value in _set_keys(entry).items())


def without_idle_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which those without effect have one fixed value.

    Only the step schedule has a step size and a factor. Inherited labels and volumes have nothing to pool: a scan's
    score is the mean over its slices, or comes from the volume at once.
    """
    effective = dict(values)
    if values["schedule"] != "step":
        effective |= {name: Settings.model_fields[name].default for name in ("step_size", "gamma")}
    if values["labels"] == "inherited" or values["dimensions"] == "3D":
        effective["pooling"] = "mean"
    return effective


def grid_schema() -> dict[str, Any]:
    """Return the JSON Schema of a grid: what `configs/grids/grid.schema.json` holds."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Grid.model_json_schema()}
