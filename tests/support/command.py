"""Steps called as from the command line, in this process."""

from __future__ import annotations

from claire.__main__ import main


def claire(step: str, argv: list[str]) -> int:
    """Run `claire <step> <argv>`; return its exit code."""
    return main([step, *map(str, argv)])
