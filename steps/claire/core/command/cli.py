"""The command line of a step, built from its parameters."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from claire.core.command.parameters import Parameter, StepParameters, describe, explain

P = TypeVar("P", bound=StepParameters)


def parser(step: str, doc: str | None, model: type[StepParameters]) -> argparse.ArgumentParser:
    """Return the parser of `claire <step>`; the values stay strings until `parse` validates them.

    `doc` is the docstring of the step's package: its first line is the summary that `claire --help` prints.
    """
    step_parser = argparse.ArgumentParser(
        prog=f"claire {step}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for parameter in describe(model):
        add_argument(step_parser, parameter)
    return step_parser


def add_argument(step_parser: argparse.ArgumentParser, parameter: Parameter) -> argparse.Action:
    """Add one parameter to a parser; return the argument."""
    if parameter.positional:
        nargs = None if parameter.required else "?"
        return step_parser.add_argument(parameter.name, metavar=parameter.flag, nargs=nargs, help=_help(parameter))
    options = _options(parameter)
    required = parameter.required and not parameter.unless
    return step_parser.add_argument(parameter.flag, required=required, help=_help(parameter), **options)


def parse(step: str, doc: str | None, model: type[P], argv: Sequence[str] | None) -> P:
    """Return the parameters in `argv`. Raises SystemExit as argparse does: 0 for --help, 2 for wrong usage."""
    step_parser = parser(step, doc, model)
    values = vars(step_parser.parse_args(argv))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        step_parser.error("; ".join(_fault(fault, describe(model)) for fault in error.errors(include_url=False)))


def _options(parameter: Parameter) -> dict[str, Any]:
    if parameter.kind == "flag":
        return {"action": "store_true"}
    if parameter.kind == "choice":
        return {"choices": parameter.choices}
    metavars = {"file": "FILE", "directory": "DIR", "path": "DIR", "manifest": "LIST", "integer": "N", "number": "X"}
    return {"metavar": metavars.get(parameter.kind, "TEXT")}


def _help(parameter: Parameter) -> str:
    default = parameter.default
    notes = [parameter.unit] if parameter.unit else []
    if parameter.required:
        notes.append("required")
    elif default not in (None, "", (), False) and parameter.name != "out":
        notes.append(f"default: {default}")
    text = parameter.help + (f" ({'; '.join(notes)})" if notes else "")
    return text.replace("%", "%%")


def _fault(fault: Any, parameters: Sequence[Parameter]) -> str:
    name, text = str(fault["loc"][0]) if fault["loc"] else "", str(fault["msg"])
    parameter = next((each for each in parameters if each.name == name), None)
    if parameter is None:
        text = text.removeprefix("Value error, ")
        return f"argument {name}: {text}" if name else text
    return f"argument {parameter.flag}: {explain(parameter, fault)}"
