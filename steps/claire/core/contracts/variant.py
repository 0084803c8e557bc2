"""A variant is data: everything that determines a training, in one validated record with a content id."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from claire.core.command.documents import Document, parse_document, read_document, write_document
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import sha256_json
from claire.core.contracts.archive import ArchiveReader, write_archive

REMEDY = "Run `claire plan` again."


def _refuse_boolean(value: object) -> object:
    """YAML reads yes, no, on and off as booleans, which would pass for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


#: Placed after the bounds in an annotation, so that they stay in the schema.
NUMBER = BeforeValidator(_refuse_boolean)


class Window(BaseModel):
    """A window of HU: `centre` ± `width`/2 is mapped to 0…1 and clipped."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    centre: Annotated[float, NUMBER] = -500.0
    width: Annotated[float, Field(gt=0), NUMBER] = 1500.0


class Settings(BaseModel):
    """The keys of a variant, each checked by itself. Unknown keys are refused; defaults give a small real training."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dimensions: Annotated[
        Literal["2D", "3D"], Field(description="slices one by one and pooled, or the volume at once")
    ] = "2D"
    view: Annotated[
        Literal["whole", "lungs", "box"],
        Field(description="whole slice, everything but the lungs blackened, or the box around the lungs"),
    ] = "box"
    window: Annotated[Window, Field(description="HU window, centre and width")] = Window()
    normalisation: Annotated[
        Literal["window", "slice"],
        Field(description="windowed HU as they are, or each slice stretched to its own range (as in the original)"),
    ] = "window"
    size: Annotated[int, Field(ge=16, le=1024, description="input rows and columns in pixels"), NUMBER] = 224
    slices: Annotated[
        int, Field(ge=1, le=1024, description="slices of a scan that the network sees (3D: the depth)"), NUMBER
    ] = 16
    architecture: Annotated[
        str,
        Field(
            pattern=r"^((torchvision|monai):\w+|python:[\w.]+:\w+)$",
            description="torchvision:NAME, monai:NAME or python:package.module:factory",
        ),
    ] = "torchvision:resnet18"
    pretraining: Annotated[
        str, Field(pattern=r"^(none|weights:[^/\s]+)$", description="none, or weights:NAME of a given file")
    ] = "none"
    labels: Annotated[
        Literal["multiple-instance", "inherited"],
        Field(description="learn from scans, or let every slice inherit its scan's label (as in the original)"),
    ] = "multiple-instance"
    pooling: Annotated[
        Literal["attention", "topk", "mean", "max"],
        Field(description="how the scores of slices are pooled to that of the scan (2D)"),
    ] = "attention"
    optimiser: Annotated[Literal["adam", "adamw"], Field(description="Adam, or Adam with decoupled weight decay")] = (
        "adamw"
    )
    learning_rate: Annotated[float, Field(gt=0, description="initial learning rate"), NUMBER] = 1e-4
    weight_decay: Annotated[float, Field(ge=0, description="weight decay of the optimiser"), NUMBER] = 5e-4
    schedule: Annotated[
        Literal["constant", "step", "cosine"], Field(description="schedule of the learning rate over the epochs")
    ] = "cosine"
    step_size: Annotated[int, Field(ge=1, description="epochs between drops of the step schedule"), NUMBER] = 10
    gamma: Annotated[float, Field(gt=0, le=1, description="factor of a drop of the step schedule"), NUMBER] = 0.1
    epochs: Annotated[int, Field(ge=1, description="maximum number of epochs"), NUMBER] = 50
    patience: Annotated[
        int, Field(ge=1, description="epochs without a lower validation loss before training stops"), NUMBER
    ] = 10
    batch_size: Annotated[
        int, Field(ge=1, description="scans per step (labels: inherited: slices per step)"), NUMBER
    ] = 4
    class_weights: Annotated[bool, Field(description="weight the loss by inverse class frequency")] = True
    augmentation: Annotated[
        Literal["none", "standard", "healed"],
        Field(
            description="random transforms of the training images; healed: also copies without their opacities, "
            "labelled as the reference class, and random holes"
        ),
    ] = "standard"
    seed: Annotated[int, Field(ge=0, lt=2**31, description="seed of all random numbers of a training"), NUMBER] = 0


class Variant(Settings):
    """One point of the experiment's space: settings that fit together."""

    @model_validator(mode="after")
    def _fits_together(self) -> Variant:
        if self.dimensions == "3D" and self.labels == "inherited":
            raise ValueError("labels: inherited is for 2D variants only: a volume has its scan's label anyway")
        if self.dimensions == "3D" and self.normalisation == "slice":
            raise ValueError("normalisation: slice is for 2D variants only")
        return self

    @property
    def id(self) -> str:
        """Short content id: 8 hex digits of the SHA-256 of the canonical form, prefixed so as never to be a number."""
        return "v" + sha256_json(self.model_dump(mode="json"))[:8]


#: What two variants must share for one network to judge what another is shown.
GRID = ("dimensions", "view", "size", "slices")


def differing_grid(first: Variant, second: Variant) -> list[str]:
    """Return the keys of `GRID` in which two variants differ: none, if both networks see a scan on the same grid."""
    return [name for name in GRID if getattr(first, name) != getattr(second, name)]


def explain_faults(error: ValidationError, known: Iterable[str] = ()) -> str:
    """Return the faults that pydantic reports in words; unknown keys are compared with a variant's and with `known`."""
    names = {*Settings.model_fields, *known}
    return "; ".join(_fault(fault, names) for fault in error.errors(include_url=False))


def _fault(fault: Any, names: Collection[str]) -> str:
    keys, kind, message = [str(key) for key in fault["loc"]], fault["type"], fault["msg"]
    path = ".".join(keys)
    if kind == "missing":
        return f"key '{path}' is missing"
    if kind == "extra_forbidden":
        return f"unknown key '{path}'" + _suggestion(keys[-1], Window.model_fields if "window" in keys else names)
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
        return f"{path}: {message}, got {fault['input']!r}" if keys else message
    if kind == "string_pattern_mismatch":
        field = next((Settings.model_fields[key] for key in keys if key in Settings.model_fields), None)
        message = f"should be {field.description}" if field else message
    return f"{path}: {message.removeprefix('Input ')}, got {fault['input']!r}"


def _suggestion(key: str, names: Collection[str]) -> str:
    """Return a question that names the nearest key; parts of a key count too: `rate` is near `learning_rate`."""
    nearest = {word: name for name in names for word in name.split("_")} | {name: name for name in names}
    close = get_close_matches(key, nearest, 1)
    return f" (did you mean '{nearest[close[0]]}'?)" if close else ""


def parse_variant(values: Mapping[str, object], where: str) -> Variant:
    """Return the variant of `values`. Raises UsageError that names `where`, the wrong keys and the known ones."""
    try:
        return Variant.model_validate(values)
    except ValidationError as error:
        known = ", ".join(Variant.model_fields)
        raise UsageError(f"{where}: {explain_faults(error)}", f"Use the keys of a variant: {known}.") from error


class VariantDocument(Document):
    """`<id>.variant.json`: a variant under its content id."""

    id: str
    variant: Variant

    @classmethod
    def of(cls, variant: Variant) -> VariantDocument:
        """Return the document of a variant."""
        return cls(id=variant.id, variant=variant)


def write_variant(path: Path, variant: Variant) -> Path:
    """Write `<id>.variant.json`."""
    return write_document(path, VariantDocument.of(variant))


def read_variant(path: Path) -> Variant:
    """Read `<id>.variant.json`. Raises ClaireError if it is not one or its id does not match its content."""
    return check_id(read_document(path, VariantDocument, REMEDY), path.name, REMEDY)


def write_variants(path: Path, variants: Iterable[Variant]) -> Path:
    """Write `variants.zip`: the `<id>.variant.json` of every variant of a plan, in its order.

    One file crosses to the trainings in place of hundreds.
    """
    with write_archive(path) as archive:
        for variant in variants:
            archive.add(f"{variant.id}.variant.json", VariantDocument.of(variant).to_json())
    return path


def read_variants(path: Path) -> dict[str, Variant]:
    """Read `variants.zip`: its variants by their id. Raises ClaireError if one is damaged or was changed by hand."""
    with ArchiveReader(path, REMEDY) as archive:
        archive.require_plain()
        documents = {name: archive.read(name) for name in archive.names()}
    variants = [
        check_id(parse_document(text, VariantDocument, name, REMEDY), name, REMEDY) for name, text in documents.items()
    ]
    return {variant.id: variant for variant in variants}


def check_id(document: VariantDocument, where: str, remedy: str) -> Variant:
    """Return the variant of a document. Raises ClaireError if its id is not that of its content."""
    if document.variant.id != document.id:
        raise ClaireError(f"{where} was changed by hand: its content has the id {document.variant.id}", remedy)
    return document.variant
