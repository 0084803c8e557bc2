"""Finished results stored by content key, so that a failed workflow is simply run again.

`<store>/<step>/<key>/` holds a finished result, published by one rename, read-only and for its owner alone.
`<store>/<step>/<key>.partial/` holds the checkpoint of an unfinished one. Several processes may compute the same key at
once: the first to finish publishes, the others use its result.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import atomic_path, make_directory, sha256_file, sha256_json
from claire.core.command.record import read_record


@dataclass(frozen=True)
class Entry:
    """The location of one result in a store."""

    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the result exists. It was complete when it was published."""
        return self.folder.is_dir()

    def drop_if_damaged(self) -> bool:
        """Move a finished result aside if its files do not match its record; return whether it was moved."""
        if not self.finished or _is_whole(self.folder):
            return False
        aside = tempfile.mkdtemp(prefix=f"{self.folder.name}.", suffix=".damaged", dir=self.folder.parent)
        with suppress(FileNotFoundError):  # another process was faster
            self.folder.chmod(0o700)
            self.folder.rename(aside)
        return True

    @property
    def partial(self) -> Path:
        """Folder for the checkpoint of an unfinished result; it may not exist."""
        return self.folder.with_name(self.folder.name + ".partial")

    @contextmanager
    def publishing(self) -> Iterator[Path]:
        """Yield an empty folder; what is written there is published as this result if the block succeeds.

        If another process published first, its result stays and this one is dropped.
        """
        staging = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.", suffix=".new", dir=self.folder.parent))
        try:
            yield staging
            _make_durable(staging)
            try:
                staging.rename(self.folder)
            except OSError:
                if not self.finished:
                    raise
            else:
                self.folder.chmod(0o500)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(self.partial, ignore_errors=True)

    def fetch(self, out: Path, last: str) -> list[Path]:
        """Hard-link (or copy) the files of a finished result into `out`; files that end in `last` are placed last."""
        make_directory(out, "--out")
        names = sorted((path.name for path in self.folder.iterdir()), key=lambda name: (name.endswith(last), name))
        return [_link(self.folder / name, out / name) for name in names]


def open_entry(store: Path, step: str, key: Mapping[str, Any]) -> Entry:
    """Return the entry of a content key: the parts are hashed together.

    Raises UsageError if `store` is not an absolute path (a relative one would be deleted with the job's folder) and
    ClaireError if it cannot be written.
    """
    if not store.is_absolute():
        raise UsageError(f"--store {store} is a relative path", "Give an absolute path where this step is executed.")
    folder = store / step
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():  # made by something else, open to others
            folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ClaireError(
            f"the store cannot be written: {error.strerror or type(error).__name__}",
            "Give --store a directory that this user may write, or leave it out.",
        ) from error
    return Entry(folder / sha256_json(key))


def _is_whole(folder: Path) -> bool:
    try:
        (record,) = folder.glob("*.run.json")
        outputs = read_record(record).outputs
        return all(sha256_file(folder / name) == sha256 for name, sha256 in outputs.items())
    except (FileNotFoundError, ValueError, ClaireError):
        return False


def _make_durable(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        if path != folder:
            path.chmod(0o400)


def _link(source: Path, target: Path) -> Path:
    with atomic_path(target) as part:
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
    return target
