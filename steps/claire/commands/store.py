"""Look into a store of finished results: what it holds, whether it is whole, what can go.

Nothing is removed without --prune, and with it only what no run needs: results moved aside as damaged, and what
processes that are gone left half-written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from claire.core.command.errors import ClaireError
from claire.core.command.lease import is_held
from claire.core.command.listing import STEPS
from claire.core.command.parameters import InputDirectory, StepParameters, parameter
from claire.core.command.store import Entry


class Parameters(StepParameters):
    """Parameters of `claire store`."""

    store: InputDirectory = parameter(help="the store of a job", positional=True)
    verify: bool = parameter(
        False,
        help="read every result and compare it with its hashes; damaged ones are named and end with 1",
        details="Runs notice damage by themselves when they take a result: this looks at all of them beforehand.",
    )
    prune: bool = parameter(
        False,
        help="remove damaged results and what ended processes left half-written",
        details="Checkpoints and whole results stay.",
    )


def run(parameters: Parameters) -> None:
    """Print the store by step, verify and prune it as asked. Raises ClaireError where results are damaged."""
    damaged = []
    for step in (name for name in STEPS if (parameters.store / name).is_dir()):
        folder = parameters.store / step
        results = [Entry(path) for path in sorted(folder.iterdir()) if path.is_dir() and not path.suffix]
        damaged += [f"{step}/{each.folder.name}" for each in results if parameters.verify and not each.whole]
        rest = [*remains(folder)]
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        unfinished = len([*folder.glob("*.partial")])
        print(
            f"{step:<11}{len(results):>6} finished  {unfinished:>4} unfinished  {len(rest):>4} to prune  "
            f"{size / 2**20:>10.1f} MiB"
        )
        if parameters.prune:
            for path in rest:
                remove(path)
    if damaged:
        raise ClaireError(
            f"{len(damaged)} results are damaged: {', '.join(damaged[:10])}",
            "The next run makes them again; check the disk.",
        )


def remains(folder: Path) -> Iterator[Path]:
    """Yield what no run needs: damaged results, and staging folders and leases of processes that are gone."""
    yield from folder.glob("*.damaged")
    for path in folder.glob("*.lease"):
        if not is_held(path):
            yield path
    for path in folder.glob("*.new"):
        if not is_held(folder / f"{path.name.partition('.')[0]}.lease"):
            yield path


def remove(path: Path) -> None:
    """Remove a file or folder of the store; published ones are read-only."""
    if path.is_dir():
        path.chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
