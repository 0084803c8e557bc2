"""The files under a directory, and what was passed over: links, archives, hidden files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Suffixes of archives and compressed files, which are not opened.
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar", ".iso")
#: What each count of things passed over means, for one and for many.
PASSED = {
    "links": ("link not followed", "links not followed"),
    "archives": ("archive not opened", "archives not opened"),
    "masks": ("mask", "masks"),
    "objects": ("DICOM series without images", "DICOM series without images"),
    "unreadable_folders": ("folder that cannot be opened", "folders that cannot be opened"),
    "others": ("pipe or device", "pipes or devices"),
    "hidden": ("hidden file or folder", "hidden files or folders"),
    "not_dicom": ("file that is neither DICOM nor NIfTI", "files that are neither DICOM nor NIfTI"),
    "repeated": ("copy of a DICOM file", "copies of DICOM files"),
}


@dataclass
class Passed:
    """Counts of the files under a source by kind, and the names of those passed over that may hold scans.

    `names` maps a count to paths relative to the source. Identifying: for people at the site only.
    """

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def over(self, kind: str, name: str) -> None:
        """Count something passed over and keep its name."""
        self.counts[kind] += 1
        self.names.setdefault(kind, []).append(name)

    def summary(self) -> str:
        """Return "7 links not followed, 2 archives not opened", without names; "" where nothing was passed over."""
        counted = ((self.counts[kind], words) for kind, words in PASSED.items() if self.counts[kind])
        return ", ".join(f"{count} {words[count > 1]}" for count, words in counted)


def walk(source: Path, passed: Passed) -> Iterator[str]:
    """Yield the files under `source` as relative POSIX paths: without hidden files and links that leave it.

    Links to directories are not followed (their targets inside the source are visited anyway); links to files are
    followed if the file is inside. Pipes and devices are never opened.
    """
    root, pending = source.resolve(), [""]
    while pending:
        folder = pending.pop()
        try:
            entries = [*os.scandir(root / folder)]
        except OSError:
            passed.over("unreadable_folders", folder or ".")
            continue
        for entry in entries:
            name = f"{folder}{entry.name}"
            if entry.name.startswith("."):
                passed.counts["hidden"] += 1
            elif entry.is_dir(follow_symlinks=False):
                pending.append(f"{name}/")
            elif entry.is_file(follow_symlinks=False) or _links_inside(entry, root):
                yield name
            else:
                passed.over("links" if entry.is_symlink() else "others", name)


def _links_inside(entry: os.DirEntry[str], root: Path) -> bool:
    if not entry.is_symlink():
        return False
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # broken, or a loop
        return False
    return target.is_file() and target.is_relative_to(root)
