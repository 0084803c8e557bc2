"""`claire <step>`: one command per step of the pipeline, each with complete `--help`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from claire import __version__
from claire.core.command.listing import COMMANDS, STEPS


def usage() -> str:
    """Return the text of `claire --help`."""
    width = max(map(len, {**STEPS, **COMMANDS}))
    lines = [
        f"claire {__version__}: {__doc__.split(': ', 1)[1]}",
        "",
        "usage: claire STEP [--flag value ...]",
        "",
        "steps:",
    ]
    lines += [f"  {name:<{width}}  {line}" for name, line in STEPS.items()]
    lines += ["", "commands:"] + [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join([*lines, "", "`claire STEP --help` describes every flag of a step."])


def _near(name: str) -> str:
    """Return the steps and commands that a misspelt name is near to, as a question."""
    from difflib import get_close_matches  # noqa: PLC0415 (for a slip only: `claire --help` is to be fast)

    near = get_close_matches(name.lower().replace("_", "-"), [*STEPS, *COMMANDS], n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step or command named first in `argv`; return its exit code (2 for wrong usage)."""
    name, *step_argv = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in STEPS and name not in COMMANDS:
        print(f"claire: there is no step '{name}'{_near(name)}. `claire --help` lists them.", file=sys.stderr)
        return 2
    from claire.core.command.execute import execute  # noqa: PLC0415 (`claire --help` needs no pydantic)

    package = "claire" if name in STEPS else "claire.commands"
    step = importlib.import_module(f"{package}.{name}")
    return execute(name, step.__doc__, step.Parameters, step.run, step_argv)


if __name__ == "__main__":
    sys.exit(main())
