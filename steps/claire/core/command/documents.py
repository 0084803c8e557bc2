"""JSON documents with a schema: one model, one writer and one reader per document."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from claire.core.command.errors import ClaireError
from claire.core.command.files import canonical_json, write_text

SCHEMA_VERSION: Literal[1] = 1


class Part(BaseModel):
    """A part of a document. Unknown keys, NaN and infinity are refused; instances are immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Part):
    """A JSON document that crosses between steps."""

    schema_version: Literal[1] = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the content of the document's file."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    def to_canonical_json(self) -> str:
        """Return the document with sorted keys and no blanks, for hashing and packing."""
        return canonical_json(self.model_dump(mode="json"))


D = TypeVar("D", bound=Document)


def finite(value: float, digits: int | None = None) -> float | None:
    """Return a number for a document: rounded to `digits`, None if it is NaN or infinite."""
    if not math.isfinite(value):
        return None
    return float(value) if digits is None else round(float(value), digits)


def write_document(path: Path, document: Document) -> Path:
    """Write a document to `path` atomically."""
    return write_text(path, document.to_json())


def read_document(path: Path, model: type[D], remedy: str) -> D:
    """Read a document. Raises ClaireError, naming the file and `remedy`, if it is not a document of `model`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ClaireError(f"{path.name} cannot be read: {error.strerror}", remedy) from error
    return parse_document(content, model, path.name, remedy)


def parse_document(content: bytes | str, model: type[D], where: str, remedy: str) -> D:
    """Return the document that `content` holds; `where` names it in errors. Raises ClaireError."""
    try:
        values: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ClaireError(f"{where} is not a JSON document", remedy) from error
    if not isinstance(values, dict):
        raise ClaireError(f"{where} is not a JSON object", remedy)
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ClaireError(f"{where} has schema version {version}: expected {SCHEMA_VERSION}", remedy)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ClaireError(f"{where} is not valid: {first_fault(error)}", remedy) from error


def first_fault(error: ValidationError) -> str:
    """Return the location and kind of the first fault, without the value, which may be confidential."""
    faults = error.errors(include_url=False, include_input=False)
    location = ".".join(map(str, faults[0]["loc"])) or "the document"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{location}: {faults[0]['msg']}{more}"
