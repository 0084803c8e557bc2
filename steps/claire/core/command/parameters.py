"""One model per step: its flags, help, recorded parameters, table in docs/usage.md and CWL ports.

A step declares

    class Parameters(StepParameters):
        shards: int = parameter(4, help="shards to cut the series into", ge=1)

and everything else follows from the fields: name (`--shards`), type, default, bounds, help, unit.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Kind = Literal["file", "directory", "manifest", "path", "choice", "flag", "integer", "number", "text", "integers"]


@dataclass(frozen=True)
class _KindMark:
    """Marks an annotation as a kind of parameter."""

    kind: Kind


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file '{path}'")
    return path


def _existing_directory(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"there is no directory '{path}'")
    return path


def _read_manifest(value: object) -> object:
    """Read a manifest given by name; in Python the paths are given directly."""
    if not isinstance(value, str):
        return value
    manifest = _existing_file(Path(value))
    paths = [Path(line) for line in manifest.read_text().splitlines() if line]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"a line of manifest '{value}' names no file: '{path.name}'")
    return paths


def _read_integers(value: object) -> object:
    """Read integers separated by commas; `none` is an empty list."""
    if not isinstance(value, str):
        return value
    return [] if value == "none" else value.split(",")


#: A file that must exist.
InputFile = Annotated[Path, AfterValidator(_existing_file), _KindMark("file")]
#: A directory that must exist.
InputDirectory = Annotated[Path, AfterValidator(_existing_directory), _KindMark("directory")]
#: Files in order: on the command line a text file with one path per line, in Python the paths.
Manifest = Annotated[tuple[InputFile, ...], BeforeValidator(_read_manifest), _KindMark("manifest")]
#: A path for output or storage.
SitePath = Annotated[Path, _KindMark("path")]
#: Integers: on the command line separated by commas.
Integers = Annotated[tuple[int, ...], BeforeValidator(_read_integers), _KindMark("integers")]

_KINDS: dict[type, Kind] = {bool: "flag", int: "integer", float: "number", str: "text", Path: "path"}
FILES: tuple[Kind, ...] = ("file", "directory", "manifest", "path")
#: Common flags: where and how a step runs, not what it computes.
COMMON = ("out", "threads", "log_level")


def parameter(
    default: Any = ...,
    *,
    help: str,
    details: str = "",
    unit: str = "",
    for_people: bool = False,
    positional: bool = False,
    unless: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Declare a field of `StepParameters`.

    `help` is its line in `--help`; `details` says in docs/usage.md when to change it; `for_people`: a flag that prints
    something and is not used by workflows; `positional`: it has no flag; `unless`: it is required unless the named one
    is given, so its default stands for nothing.
    """
    extra: dict[str, Any] = {
        "details": details, "unit": unit, "for_people": for_people, "positional": positional, "unless": unless,
    }  # fmt: skip
    return Field(default, description=help, json_schema_extra=extra, ge=ge, gt=gt, le=le, lt=lt)


class StepParameters(BaseModel):
    """The common parameters of all steps. A step's own model adds its fields.

    `out_is_file`: --out names the one file that is written, and its directory is created.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    out_is_file: ClassVar[bool] = False

    out: SitePath = parameter(Path(), help="directory for the results; created if missing")
    threads: int = parameter(1, help="processor threads that the step may use", ge=1)
    log_level: Literal["debug", "info", "warning"] = parameter("info", help="how much to log on stderr")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [
            parameter.flag
            for parameter in describe(type(self))
            if parameter.unless
            and not getattr(self, parameter.unless)
            and (parameter.name not in self.model_fields_set or getattr(self, parameter.name) is None)
        ]
        if missing:
            raise ValueError(f"the following arguments are required: {', '.join(missing)}")
        return self

    def recorded(self) -> dict[str, Any]:
        """Return the parameters that affect the result, as JSON values; no paths, common flags or `for_people`."""
        names = [p.name for p in describe(type(self)) if p.kind not in FILES and not p.common and not p.for_people]
        return self.model_dump(mode="json", include=set(names))


class StoredParameters(StepParameters):
    """The parameters of a step whose finished results are kept."""

    store: SitePath | None = parameter(
        None,
        help="absolute path of a directory that keeps finished results and checkpoints",
        details="With it a run that was interrupted goes on where it ended: give it wherever a job can be killed.",
    )


@dataclass(frozen=True)
class Parameter:
    """One parameter, as used for its flag, its documentation and its CWL port.

    `default` is None if there is none; `bounds` are (constraint, limit) pairs such as ("at least", 1).
    """

    name: str
    kind: Kind
    required: bool
    optional: bool
    default: Any
    help: str
    details: str
    unit: str
    choices: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    for_people: bool
    positional: bool
    unless: str

    @property
    def flag(self) -> str:
        """`--max-thickness` for `max_thickness`; the bare name of a positional one."""
        return self.name.upper() if self.positional else "--" + self.name.replace("_", "-")

    @property
    def common(self) -> bool:
        """Whether all steps have it."""
        return self.name in COMMON

    @property
    def expected(self) -> str:
        """What a value must be: `an integer of at least 1`."""
        nouns: dict[Kind, str] = {
            "integer": "an integer", "number": "a number", "text": "text", "integers": "integers separated by commas",
            "choice": "one of " + ", ".join(self.choices),
        }  # fmt: skip
        noun = nouns.get(self.kind, "a path")
        limits = " and ".join(f"{phrase} {limit:g}" for phrase, limit in self.bounds)
        return f"{noun} of {limits}" if limits else noun


def explain(parameter: Parameter, fault: Any) -> str:
    """Return a fault that pydantic reports for a parameter in words: `expected an integer of at least 1, got '-3'`."""
    if fault["type"] == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    return f"expected {parameter.expected}, got '{fault['input']}'"


def refused_values(model: type[StepParameters], values: Mapping[str, object]) -> dict[str, str]:
    """Return the faults of some values of a model's parameters in words, by name; other parameters may be missing."""
    parameters = {parameter.name: parameter for parameter in describe(model) if parameter.name in values}
    try:
        model.model_validate({name: values[name] for name in parameters})
    except ValidationError as error:
        faults = [(str(fault["loc"][0]), fault) for fault in error.errors(include_url=False) if fault["loc"]]
        return {name: explain(parameters[name], fault) for name, fault in faults if name in parameters}
    return {}


def describe(model: type[StepParameters]) -> list[Parameter]:
    """Return the parameters of a step's model: its own first, the common ones last."""
    described = [_describe(name, field) for name, field in model.model_fields.items()]
    return sorted(described, key=lambda parameter: parameter.common)


def _describe(name: str, field: FieldInfo) -> Parameter:
    annotation, metadata, optional = _unwrap(field.annotation, list(field.metadata))
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    choices = tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()
    default = None if field.default is PydanticUndefined else field.default
    return Parameter(
        name=name,
        kind=_kind(annotation, metadata),
        required=field.is_required() or bool(extra.get("unless")),
        optional=optional,
        default=default,
        help=field.description or "",
        details=str(extra.get("details", "")),
        unit=str(extra.get("unit", "")),
        choices=choices,
        bounds=tuple(_bounds(metadata)),
        for_people=bool(extra.get("for_people")),
        positional=bool(extra.get("positional")),
        unless=str(extra.get("unless", "")),
    )


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any], bool]:
    """Return (bare annotation, its metadata, whether None is allowed) of `Annotated[X, …] | None`."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = [part for part in get_args(annotation) if part is not type(None)]
        optional = True
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*metadata, *inner]
    return annotation, metadata, optional


def _kind(annotation: Any, metadata: Sequence[Any]) -> Kind:
    marked = next((mark.kind for mark in metadata if isinstance(mark, _KindMark)), None)
    if marked:
        return marked
    return "choice" if get_origin(annotation) is Literal else _KINDS[annotation]


def _bounds(metadata: Sequence[Any]) -> Iterator[tuple[str, float]]:
    named = ((Ge, "ge", "at least"), (Gt, "gt", "more than"), (Le, "le", "at most"), (Lt, "lt", "less than"))
    for mark in metadata:
        for kind, attribute, phrase in named:
            if isinstance(mark, kind):
                yield phrase, getattr(mark, attribute)
