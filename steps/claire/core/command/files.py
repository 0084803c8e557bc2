"""Atomic files, canonical JSON and hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from claire.core.command.errors import UsageError, require


@contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file next to `path`; rename it to `path` if the block succeeds, else remove it."""
    part = partial_path(path)
    try:
        with part.open(mode, newline="" if "b" not in mode else None) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """As `atomic`, for libraries that open a file by its name."""
    part = partial_path(path)
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def partial_path(path: Path) -> Path:
    """Return the temporary name of `path`; it keeps the suffix, for libraries that depend on it."""
    return path.with_name(f".{os.getpid()}.part.{path.name}")


def require_plain(name: str, path: Path) -> None:
    """Raise UsageError on the path of `name` if an engine would take a part of it for a fragment or an escape."""
    require(
        not any(sign in str(path) for sign in "#%"),
        f"the path of {name} has '#' or '%' in it, which workflow engines take for a URL",
        "Rename the folder, or name a link to it without these signs in a path of its own.",
    )


def write_text(path: Path, text: str) -> Path:
    """Write `text` to `path` atomically."""
    with atomic(path, "w") as stream:
        stream.write(text)
    return path


def canonical_json(value: object) -> str:
    """Return `value` as JSON with sorted keys and no blanks, for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_json(path: Path, value: object) -> Path:
    """Write `value` to `path` as readable JSON. Raises ValueError on NaN: JSON does not have it; use None."""
    return write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """Return the SHA-256 of `canonical_json(value)`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_state(path: Path) -> tuple[int, int]:
    """Return size and time of change (ns) of a source file, as make and git tell whether it changed; −1 if absent."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


@contextmanager
def only_for_owner() -> Iterator[None]:
    """Within the block new files have mode 0600 and new folders 0700. Not for several threads: the umask is one."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def make_directory(path: Path, flag: str) -> None:
    """Create a directory that a flag names, with its parents. Raises UsageError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{flag} {path} cannot be created: a file is in the way", "Name a directory.") from error
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be created: {error.strerror}", "Name another directory.") from error
