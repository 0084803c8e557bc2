"""Files as disks, networks and editors leave them, and what a step must say of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from claire.core.contracts.cohort import open_cohort
from hypothesis import strategies as st

#: What becomes of a file's bytes, by what happened to it.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "foreign": lambda content: b"\xff\xd8 no such file",
}


def damage(path: Path, how: str, folder: Path) -> Path:
    """Write a damaged copy of `path` under its own name into `folder`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / path.name
    copy.write_bytes(DAMAGES[how](path.read_bytes()))
    return copy


def flip_a_voxel(path: Path) -> Path:
    """Flip one bit of a scan's HU in the middle of a cohort file, as a bad disk or transfer does; return the path."""
    hu = open_cohort(path).hu
    with path.open("r+b") as file:
        file.seek(hu.offset + hu.nbytes // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    return path


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw what a few flipped bytes, a hole or a cut leave of `content`."""
    place = draw(st.integers(0, len(content) - 1))
    match draw(st.sampled_from(["cut", "hole", "flip"])):
        case "cut":
            return content[:place]
        case "hole":
            length = draw(st.integers(1, 600))
            return content[:place] + bytes(len(content[place : place + length])) + content[place + length :]
    changed = bytearray(content)
    for byte in draw(st.binary(min_size=1, max_size=8)):
        changed[draw(st.integers(0, len(content) - 1))] = byte
    return bytes(changed)


def require_told(error: str, step: str, *words: str) -> None:
    """Require that `error` is one message of a step: the words, a remedy below them, nothing unforeseen."""
    told = error.split(f"claire {step}: ")[-1]
    assert [word for word in words if word not in told] == [], told
    assert "unexpected" not in told, told
    assert "Traceback" not in error, error
    assert re.search(r"\n  \S|argument --", told), f"no remedy: {told}"
