"""The inputs of the step, checked to belong together before any network runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from claire.apply import Parameters
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import sha256_file
from claire.core.command.record import StepRecord, read_record
from claire.core.contracts.members import Member, read_members
from claire.core.contracts.model import Model, read_model
from claire.core.contracts.rejects import Reject, count_reasons, counts_text, read_rejects


@dataclass(frozen=True)
class Inputs:
    """The model with the SHA-256 of its file, the new scans in the order of their ids, the series set aside."""

    model: Model
    model_sha256: str
    members: list[Member]
    size: int
    rejects: list[Reject]


def read_inputs(parameters: Parameters) -> Inputs:
    """Read and check the inputs. Raises ClaireError where no scan is left, UsageError where they do not fit the model.

    Prepared otherwise than the model's cohort, a scan would be another picture to its networks.
    """
    model = read_model(parameters.model)
    members, size = read_members(parameters.prepared)
    rejects = read_rejects(parameters.reject_tables)
    if not members:
        reasons = count_reasons(row for row in rejects if row.reason != "not_chosen")
        raise ClaireError(
            f"no scan is left to be predicted ({counts_text(reasons) or 'and none was set aside'})",
            "Look at the details in the tables of rejects.",
        )
    _require_size(size, model.document.preparation.size)
    _require_preparation(model, [read_record(path) for path in parameters.records])
    return Inputs(model, sha256_file(parameters.model), members, size, rejects)


def _require_size(size: int, expected: int) -> None:
    if size != expected:
        raise UsageError(
            f"--prepared has slices of {size} pixels: the model was trained on {expected}",
            f"Prepare the scans with `--size {expected}`, as `claire predict MODEL SCANS` does.",
        )


def _require_preparation(model: Model, records: Sequence[StepRecord]) -> None:
    expected = model.document.preparation.flags()
    for record in records:
        for name, value in expected.get(record.step, {}).items():
            if record.parameters.get(name) != value:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"the scans were prepared otherwise than those of the model: --{flag} of {record.step} was "
                    f"{record.parameters.get(name)}, the model's was {value}",
                    f"Give {record.step} --{flag} {value}, as `claire predict MODEL SCANS` does.",
                )
