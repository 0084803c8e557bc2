"""Finished results stored by content key, so that a failed workflow is simply run again.

`<store>/<step>/<key>/` holds a finished result, published by one rename, read-only and for its owner alone.
`<store>/<step>/<key>.partial/` holds the checkpoint of an unfinished one; `<store>/<step>/<key>.lease` names the
process that works on it: another one with the same key waits and takes its result.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import atomic_path, make_directory, sha256_file, sha256_json, write_json
from claire.core.command.lease import lease
from claire.core.command.parameters import StoredParameters, describe
from claire.core.command.progress import log
from claire.core.command.record import hash_input
from claire.core.command.sources import step_hash, step_libraries

#: Voxels on their way through the data steps: linked out of the store. Everything else may stand in somebody's results,
#: and is copied: nothing there leads into the store.
LINKED = (".scans.zip", ".lungs.zip", ".prepared.h5", "cohort.h5")
#: The SHA-256 of every file of a result, written when it is published.
SUMS = ".sha256.json"
#: The end of the file that engines wait for.
LAST = ".run.json"
P = TypeVar("P", bound=StoredParameters)


def stored(
    step: str,
    parameters: P,
    work: Callable[[P], None],
    known: Mapping[str, Any] | None = None,
    usable: Callable[[Entry], bool] | None = None,
) -> None:
    """Do the work of a step, or take its finished result from the store.

    The key: the sources and libraries of the step, its flags, and the names and hashes of its input files. `known`
    gives parts of the key in place of files that need not be hashed, by flag; `usable` says whether a finished result
    serves here: where it does not, the work is done again beside it.
    """
    if parameters.store is None:
        work(parameters)
        return
    entry = open_entry(parameters.store, step, step_key(step, parameters, known or {}))
    if usable and entry.finished and not usable(entry):
        work(parameters)
        return
    entry.obtain(lambda staging: work(parameters.model_copy(update={"out": staging})), parameters.out)


def step_key(step: str, parameters: StoredParameters, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the result of a step depends on; its hash is the key in the store."""
    inputs: dict[str, Any] = {}
    for each in describe(type(parameters)):
        value = getattr(parameters, each.name)
        if each.name in known:
            inputs[each.name] = known[each.name]
        elif each.kind == "file" and value is not None:
            inputs[each.name] = [value.name, hash_input(value)]
        elif each.kind == "manifest":
            inputs[each.name] = [[path.name, hash_input(path)] for path in value]
    return {
        "source": step_hash(step),
        "libraries": step_libraries(step),
        "parameters": parameters.recorded(),
        "inputs": inputs | {name: value for name, value in known.items() if name not in inputs},
    }


@dataclass(frozen=True)
class Entry:
    """The location of one result in a store."""

    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the result exists. It was complete when it was published."""
        return self.folder.is_dir()

    @property
    def whole(self) -> bool:
        """Whether every file of a finished result is as it was published; without its sums it counts as damaged.

        Raises OSError where the disk or the network does not answer: that is no damage.
        """
        try:
            sums = json.loads((self.folder / SUMS).read_bytes())
            return {path.name for path in self.folder.iterdir()} == {SUMS, *sums} and all(
                sha256_file(self.folder / name) == sha256 for name, sha256 in sums.items()
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError, TypeError, AttributeError):
            return False

    def obtain(self, make: Callable[[Path], None], out: Path) -> None:
        """Put the result into `out`: the finished one, or the one that `make` writes into an empty folder.

        While another process makes it, wait for it.
        """
        with lease(self.folder.with_name(self.folder.name + ".lease")):
            if self.take(out):
                log.info("already finished: taken from the store")
                return
            with self.publishing() as staging:
                make(staging)
            self.fetch(out)

    def take(self, out: Path) -> bool:
        """Put the finished result into `out` if there is one; return whether. A damaged one is moved aside."""
        if self.drop_if_damaged():
            log.warning("the result in the store is damaged: moved aside as .damaged; making it again")
        if not self.finished:
            return False
        self.fetch(out)
        return True

    def drop_if_damaged(self) -> bool:
        """Move a finished result aside if its files are not as published; return whether it was moved."""
        if not self.finished or self.whole:
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
            write_json(staging / SUMS, {path.name: sha256_file(path) for path in staging.iterdir()})
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

    def fetch(self, out: Path) -> list[Path]:
        """Copy the files of a finished result into `out`, voxels of data steps by a hard link; the record is last."""
        make_directory(out, "--out")
        results = (path.name for path in self.folder.iterdir() if path.name != SUMS)
        names = sorted(results, key=lambda name: (name.endswith(LAST), name))
        return [_fetch(self.folder / name, out / name) for name in names]


def open_entry(store: Path, step: str, key: Mapping[str, Any]) -> Entry:
    """Return the entry of a content key: the parts are hashed together. Raises as `open_folder` does."""
    return Entry(open_folder(store, step) / sha256_json(key))


def open_folder(store: Path, name: str) -> Path:
    """Return a folder of the store, for its owner alone; it is created if missing.

    Raises UsageError if `store` is not an absolute path (a relative one would be deleted with the job's folder) and
    ClaireError if it cannot be written.
    """
    if not store.is_absolute():
        raise UsageError(f"--store {store} is a relative path", "Give an absolute path where this step is executed.")
    folder = store / name
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
    return folder


def _make_durable(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        if path != folder:
            path.chmod(0o400)


def _fetch(source: Path, target: Path) -> Path:
    with atomic_path(target) as part:
        part.unlink(missing_ok=True)
        if source.name.endswith(LINKED):
            with suppress(OSError):  # another file system, or none that links
                part.hardlink_to(source)
                return target
        shutil.copyfile(source, part)
    return target
