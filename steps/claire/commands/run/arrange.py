"""Results for people: the page at the top, everything else in folders by what it is."""

from __future__ import annotations

import itertools
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from claire.core.command.files import write_text

#: The pages of new patients link to each other: they stay together.
WHOLE = "pages"
#: By folder: patterns of names. What matches none stays at the top.
FOLDERS = {
    WHOLE: ("index.html", "P*.html"),
    "dicom": ("*.dcm",),
    "provenance": ("*.run.json", "ro-crate-metadata.json"),
    "lesions": ("*.lesions.json", "*.lesions.csv", "*.overlays.zip", "*.saliency.zip", "*.explained.safetensors"),
    "predictions": ("*.run.zip",),
    "model": ("*.model.zip", "*.safetensors", "winner.json"),
    "tables": ("*.csv", "metrics.json", "cohort.json"),
}
#: Files that a folder holds at most; more go into parts.
MOST = 90
PAGE = "report.html"
README = """Results of the CLAIRE pipeline.

report.html   everything in one page that works offline: begin here
tables        cohort, folds, rejects, leaderboard, comparisons, curves and all metrics
model         the winner: one file that diagnoses new scans, and the weights of each fold
predictions   the winner: predictions and history of each fold
lesions       by explained fold: ranked lesions, gates, pictures
provenance    what each step did: version, parameters, hashes, time and memory
log.txt       every line of the engine and the steps

docs/outputs.md of the pipeline describes every file, column and unit.
"""


def folder_of(name: str) -> str:
    """Return the folder of a result by its name; "" is the top."""
    return next((folder for folder, names in FOLDERS.items() if any(fnmatchcase(name, each) for each in names)), "")


def arrange(outputs: Path, out: Path, readme: str = README) -> None:
    """Move the outputs of the workflow into `out`, with a README.

    Results of an earlier run go into `earlier-1`, `earlier-2`, …
    """
    _set_aside(out)
    by_folder: dict[str, list[Path]] = {}
    for path in sorted(each for each in outputs.rglob("*") if each.is_file()):
        by_folder.setdefault(folder_of(path.name), []).append(path)
    for folder, paths in by_folder.items():
        for number, path in enumerate(paths):
            part = f"part-{number // MOST + 1}" if len(paths) > MOST and folder != WHOLE else ""
            (out / folder / part).mkdir(parents=True, exist_ok=True)
            _move(path, out / folder / part / path.name)
    shutil.rmtree(outputs)
    write_text(out / "README.txt", readme)


def _set_aside(out: Path) -> None:
    old = [path for name in (*FOLDERS, PAGE, "README.txt") if (path := out / name).exists()]
    if not old:
        return
    number = next(number for number in itertools.count(1) if not (out / f"earlier-{number}").exists())
    (out / f"earlier-{number}").mkdir()
    for path in old:
        path.rename(out / f"earlier-{number}" / path.name)


def _move(path: Path, target: Path) -> None:
    """Move a file; one that another place links to is copied, so that nothing leads out of the results."""
    if path.is_symlink() or path.stat().st_nlink > 1:
        shutil.copyfile(path, target)
    else:
        path.replace(target)
    target.chmod(0o600)
