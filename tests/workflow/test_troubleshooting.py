"""docs/troubleshooting.md quotes messages of the code: each is still one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [quote for heading in re.findall(r"(?m)^### (.+)$", TEXT) for quote in re.findall(r"`([^`]+)`", heading)]


def texts(path: Path) -> Iterator[str]:
    """Yield every text of a module; what is formatted into it is `…`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


CODE = "\n".join(text for path in sorted((ROOT / "steps").rglob("*.py")) for text in texts(path))


@pytest.mark.parametrize("message", [message for message in MESSAGES if " " in message])
def test_a_quoted_message_is_one_of_the_code(message: str) -> None:
    fragments = [fragment.strip() for fragment in message.split("…") if len(fragment.strip()) > 3]
    assert [fragment for fragment in fragments if fragment not in CODE] == []


def test_messages_are_quoted() -> None:
    assert len(MESSAGES) > 20
