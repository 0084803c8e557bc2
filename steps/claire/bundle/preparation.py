"""What prepares a new scan as those of the cohort were: out of the records of the steps that prepared these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError

from claire.bundle.inputs import Inputs
from claire.core.command.documents import Part
from claire.core.command.errors import ClaireError
from claire.core.command.files import canonical_json
from claire.core.command.record import StepRecord
from claire.core.contracts.model import FilterPreparation, IndexPreparation, IngestPreparation, Preparation

P = TypeVar("P", bound=Part)


def find_preparation(inputs: Inputs) -> Preparation:
    """Return the parameters of index, ingest and preprocess. Raises ClaireError where shards were prepared differently.

    Only the parameters that the contract names are taken: no other one of a record enters a model.
    """
    return Preparation(
        size=inputs.summary.size,
        index=_parameters("index", IndexPreparation, inputs.records),
        ingest=_parameters("ingest", IngestPreparation, inputs.records),
        preprocess=_parameters("preprocess", FilterPreparation, inputs.records),
    )


def _parameters(step: str, model: type[P], records: Sequence[StepRecord]) -> P | None:
    taken = [
        {name: record.parameters.get(name) for name in model.model_fields} for record in records if record.step == step
    ]
    if not taken:
        return None
    if len({canonical_json(values) for values in taken}) > 1:
        raise ClaireError(
            f"the records of {step} name different parameters",
            "Prepare all shards of a cohort alike, and give the records of one execution of the workflow.",
        )
    try:
        return model.model_validate(taken[0])
    except ValidationError as error:
        raise ClaireError(
            f"the record of {step} lacks parameters of this version", f"Run `claire {step}` again."
        ) from error
