"""What a weights file says of its network, read from its header: no torch, no weights in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

from claire.core.command.documents import Document, parse_document
from claire.core.command.errors import ClaireError
from claire.core.contracts.variant import Variant

REMEDY = "Train this run again."
#: The entry of the metadata of safetensors that holds all facts.
KEY = "claire"
#: Bytes of the number at the start that counts the bytes of the header, and the most that safetensors allows.
_LENGTH, _MOST = 8, 100_000_000


class WeightsFacts(Document):
    """The network of a weights file: run, variant, cohort. `refined`: trained further by explain."""

    run: str
    variant: Variant
    fold: int
    classes: tuple[str, ...]
    cohort_sha256: str
    refined: bool = False


def read_weights_facts(path: Path) -> WeightsFacts:
    """Read the facts of a weights file from its header alone. Raises ClaireError if it is not one of `claire train`."""
    with path.open("rb") as stream:
        return parse_weights_facts(stream, path.name)


def parse_weights_facts(stream: BinaryIO, where: str) -> WeightsFacts:
    """Return the facts in the header at the start of `stream`; `where` names it in errors. Raises ClaireError."""
    try:
        length = int.from_bytes(stream.read(_LENGTH), "little")
        header = json.loads(stream.read(min(length, _MOST)))
        facts = header["__metadata__"][KEY]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise ClaireError(f"{where} is not a weights file of `claire train`", REMEDY) from error
    return parse_document(str(facts), WeightsFacts, where, REMEDY)
