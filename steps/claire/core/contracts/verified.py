"""`<store>/verified/<cohort's SHA-256>.json`: the cohort files whose voxels were compared with their hash.

Without it each of hundreds of trainings would read the whole cohort to find it undamaged.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from claire.core.command.documents import Part
from claire.core.command.errors import ClaireError
from claire.core.command.files import write_text
from claire.core.command.lease import lease
from claire.core.command.progress import log
from claire.core.command.store import open_folder
from claire.core.contracts.cohort import Cohort, content_sha256, open_cohort

#: Folder of the store.
FOLDER = "verified"
#: Files of one cohort that are remembered, the latest: each copy of it is another file.
MOST = 100


class FileIdentity(Part):
    """What tells that a file is the one that was verified: size in bytes, time of change in ns, and inode.

    Links keep all three, so a cohort that an engine links into each job's folder is verified once; a copy is another
    file. The device is left out: each machine numbers its mounts differently. A disk that changes bytes by itself
    changes none of them.
    """

    size: int
    mtime_ns: int
    inode: int


class Verified(Part):
    """The files of one cohort that were found undamaged, the latest last."""

    files: tuple[FileIdentity, ...] = ()


def open_verified(path: Path, store: Path | None) -> Cohort:
    """Map `cohort.h5` into memory after its content was compared with the hash that it carries.

    With a `store` a file is read for that once: of several processes that need it, one reads and the others wait.
    Raises ClaireError as `open_cohort` does, and where the content is not what was written.
    """
    cohort = open_cohort(path)
    if store is None or not cohort.sha256:
        _verify(path, cohort.sha256)
        return cohort
    marker = open_folder(store, FOLDER) / f"{cohort.sha256}.json"
    if _identity(path) not in _read(marker).files:
        with lease(marker.with_suffix(".lease")):
            _verify_once(path, cohort.sha256, marker)
    return cohort


def _verify_once(path: Path, sha256: str, marker: Path) -> None:
    identity = _identity(path)  # before the hash: a file that changes meanwhile is another one afterwards
    known = _read(marker).files
    if identity in known:
        return
    _verify(path, sha256)
    verified = Verified(files=(*known, identity)[-MOST:])
    write_text(marker, verified.model_dump_json())


def _verify(path: Path, sha256: str) -> None:
    started = time.monotonic()
    actual = content_sha256(path)
    if actual != sha256:
        raise ClaireError(
            f"{path.name} is damaged, its checksum does not match: expected {sha256[:12] or 'none'}…, "
            f"got {actual[:12]}…",
            "Copy the file again from where it was made, or run `claire cohort` again.",
        )
    seconds, gigabytes = time.monotonic() - started, path.stat().st_size / 1e9
    log.info("%s: checksum verified, %.2f GB in %.1f s", path.name, gigabytes, seconds)


def _identity(path: Path) -> FileIdentity:
    status = path.stat()
    return FileIdentity(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def _read(marker: Path) -> Verified:
    with suppress(OSError, ValidationError):  # absent or damaged: nothing is known, so the file is verified again
        return Verified.model_validate_json(marker.read_bytes())
    return Verified()
