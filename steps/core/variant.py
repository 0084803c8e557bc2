"""A variant is data: everything that shapes a training, in one validated record with a content id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from steps.core.errors import ClaireError, UsageError
from steps.core.record import SCHEMA_VERSION, sha256_json

Positive = Annotated[int, Field(ge=1)]


class Window(BaseModel):
    """A window of HU: `centre` ± `width`/2 is mapped to 0…1 and clipped."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    centre: float = -500
    width: Annotated[float, Field(gt=0)] = 1500


class Variant(BaseModel):
    """One point of the experiment's space. Unknown keys are refused; defaults are a serious small training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: Annotated[
        Literal["2D", "3D"], Field(description="slices one by one and pooled, or the volume at once")
    ] = "2D"
    view: Annotated[
        Literal["whole", "lungs", "box"],
        Field(description="whole slice, everything but the lungs blackened, or the box around the lungs"),
    ] = "box"
    window: Window = Window()
    normalisation: Annotated[
        Literal["window", "slice"],
        Field(description="HU window as it is, or stretched per slice to its own range (the original's way)"),
    ] = "window"
    size: Annotated[int, Field(ge=16, le=1024, description="input rows and columns in pixels")] = 224
    slices: Annotated[
        int, Field(ge=1, le=1024, description="slices of a scan that the network sees (3D: the depth)")
    ] = 16
    architecture: Annotated[str, Field(pattern=r"^(torchvision|monai|python):\S+$")] = "torchvision:resnet18"
    pretraining: Annotated[
        str, Field(pattern=r"^(none|weights:[^/\s]+)$", description="none, or weights:NAME of a given file")
    ] = "none"
    labels: Annotated[
        Literal["multiple-instance", "inherited"],
        Field(description="learn from scans, or let every slice inherit its scan's label (the original's way)"),
    ] = "multiple-instance"
    pooling: Literal["attention", "topk", "mean", "max"] = "attention"
    optimiser: Literal["adam", "adamw"] = "adamw"
    rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    step_size: Annotated[int, Field(ge=1, description="epochs between drops of the step schedule")] = 10
    gamma: Annotated[float, Field(gt=0, le=1, description="factor of a drop")] = 0.1
    epochs: Positive = 50
    patience: Annotated[int, Field(ge=1, description="epochs without a better validation loss before it stops")] = 10
    batch: Annotated[int, Field(ge=1, description="scans a step (labels: inherited: slices a step)")] = 4
    class_weights: bool = True
    augmentation: Literal["none", "standard"] = "standard"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Variant:
        if self.dimensions == "3D" and self.labels == "inherited":
            raise ValueError("labels: inherited is for 2D variants; a volume has its scan's label anyway")
        if self.dimensions == "3D" and self.normalisation == "slice":
            raise ValueError("normalisation: slice is for 2D variants")
        return self

    @property
    def id(self) -> str:
        """Short content id: 8 hex digits of the SHA-256 of the canonical form, prefixed so that it is never a number."""
        return "v" + sha256_json(self.model_dump(mode="json"))[:8]

    def document(self) -> dict[str, object]:
        """Return what `<id>.variant.json` holds."""
        return {"schema_version": SCHEMA_VERSION, "id": self.id, "variant": self.model_dump(mode="json")}


def parse_variant(values: dict[str, object], where: str) -> Variant:
    """Validate `values`; raise UsageError that names `where`, the keys at fault and what they may be."""
    try:
        return Variant.model_validate(values)
    except ValidationError as error:
        known = ", ".join(Variant.model_fields)
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'variant'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{where}: {faults}", f"Known keys: {known}.") from error


def load_variant(path: Path) -> Variant:
    """Read `<id>.variant.json`. Raises ClaireError when the id does not match the content."""
    document = json.loads(path.read_text())
    variant = parse_variant(document["variant"], path.name)
    if variant.id != document["id"]:
        raise ClaireError(
            f"{path.name} was changed by hand: its content has the id {variant.id}", "Run `claire plan` again."
        )
    return variant
