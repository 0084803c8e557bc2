"""Print the completion of commands and flags for a shell.

For bash: `claire completion bash >~/.local/share/bash-completion/completions/claire`. A new shell then completes steps,
flags, choices and paths. Print it again after an update.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Literal

from claire.core.command.cli import add_argument
from claire.core.command.errors import UsageError
from claire.core.command.listing import COMMANDS, STEPS
from claire.core.command.parameters import Kind, StepParameters, describe, parameter

try:
    import shtab
except ImportError:  # an environment made before the completion was added
    shtab = None  # type: ignore[assignment]

Shell = Literal["bash", "zsh", "fish"]
FILE_KINDS: tuple[Kind, ...] = ("file", "manifest")
DIRECTORY_KINDS: tuple[Kind, ...] = ("directory", "path")


class Parameters(StepParameters):
    """Parameters of `claire completion`."""

    shell: Shell = parameter(help="bash, zsh or fish", positional=True)


def run(parameters: Parameters) -> None:
    """Print the script, made from the flags of every step and command."""
    if shtab is None:
        raise UsageError("completion needs the package shtab: it is not installed", "Run `pip install shtab`.")
    print(shtab.complete(front_parser(), shell=parameters.shell))


def front_parser() -> argparse.ArgumentParser:
    """Return one parser of `claire` with every step and command in it, marked with what its values are."""
    front = argparse.ArgumentParser(prog="claire")
    front.add_argument("--version", action="store_true", help="print the version")
    choices = front.add_subparsers()
    for name, line in {**STEPS, **COMMANDS}.items():
        package = "claire" if name in STEPS else "claire.commands"
        model: type[StepParameters] = importlib.import_module(f"{package}.{name}").Parameters
        command = choices.add_parser(name, help=line, description=line)
        for each in describe(model):
            argument = add_argument(command, each)
            if each.kind == "choice":
                argument.choices = each.choices
            elif each.kind in FILE_KINDS:
                argument.complete = shtab.FILE  # type: ignore[attr-defined]
            elif each.kind in DIRECTORY_KINDS:
                argument.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return front
