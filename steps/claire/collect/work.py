"""The trainings of a plan, looked for in the store one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any

from claire.collect import Parameters
from claire.core.command.errors import require
from claire.core.command.files import sha256_file, sha256_json
from claire.core.command.progress import log, progress
from claire.core.command.record import Record
from claire.core.command.store import Entry, open_folder
from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.run import run_name
from claire.core.contracts.trainings import Collected, TrainingRow, read_trainings, write_collected
from claire.core.contracts.variant import Variant, read_variants, write_variant
from claire.core.contracts.verified import open_verified
from claire.core.networks.training_key import device_kinds, training_key


def run(parameters: Parameters) -> None:
    """Write the files of the finished trainings, the variants of the others, `collected.json` and the record."""
    rows, variants = read_trainings(parameters.trainings), read_variants(parameters.variants)
    for row in rows:
        problem = f"trainings.csv names a variant that variants.zip does not have: {row.variant}"
        require(row.variant in variants, problem, "Give the variants.zip of the same plan.")
    cohort_sha256 = open_cohort(parameters.cohort).sha256
    inputs: dict[str, Path | str] = {"cohort": cohort_sha256, "folds": parameters.folds}
    with Record("collect", "", parameters.out, parameters.recorded(), inputs) as record:
        found = [] if parameters.store is None else collect(rows, variants, parameters, parameters.store)
        missing = sorted({*range(len(rows))} - {*found})
        for name in {rows[position].variant for position in missing}:
            write_variant(parameters.out / f"{name}.variant.json", variants[name])
        collected = Collected(found=tuple(found), missing=tuple(missing))
        record.output(write_collected(parameters.out / "collected.json", collected))
        record.counts.update(trainings=len(rows))
        record.facts.update(found=len(found), missing=len(missing))
        log.info("taken from the store: %d of %d trainings", len(found), len(rows))


@dataclass(frozen=True)
class Training:
    """A training of the plan: its position there, the name of its run and its possible results, by preference."""

    position: int
    name: str
    entries: Sequence[Entry]

    def take(self, out: Path) -> bool:
        """Put its files into `out` if it is finished and whole; return whether."""
        return any(entry.take(out) for entry in self.entries)


def collect(
    rows: Sequence[TrainingRow], variants: Mapping[str, Variant], parameters: Parameters, store: Path
) -> list[int]:
    """Put the files of the finished trainings into `parameters.out`; return their positions, by the names of the files.

    Raises ClaireError if the cohort is damaged, UsageError if a file of a row is not there.
    """
    cohort_sha256 = open_verified(parameters.cohort, store).sha256
    folder, trainings = open_folder(store, "train"), _trainings(rows, variants, parameters, cohort_sha256)
    named = [
        Training(position, name, [Entry(folder / sha256_json(key)) for key in keys])
        for position, (name, keys) in enumerate(trainings)
    ]
    with ThreadPoolExecutor(parameters.threads) as pool:
        taken = progress(pool.map(lambda each: each.take(parameters.out), named), "training looked for", len(named))
        found = list(compress(named, taken))
    # A dot ends the name of a run in `<run>.run.zip`: f1 comes before f10, as among the files.
    return [each.position for each in sorted(found, key=lambda each: f"{each.name}.")]


def _trainings(
    rows: Sequence[TrainingRow], variants: Mapping[str, Variant], parameters: Parameters, cohort_sha256: str
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the name of each run and its keys, one for each kind of device that it may run on."""
    sha256 = cache(sha256_file)
    for row in rows:
        variant = variants[row.variant]
        pretrained = sha256(_existing(row.pretrained)) if row.pretrained else None
        hashes = (cohort_sha256, sha256(parameters.folds), pretrained)
        kinds = device_kinds(parameters.device)
        yield run_name(variant, row.fold), [training_key(variant, row.fold, *hashes, kind) for kind in kinds]


def _existing(path: str) -> Path:
    problem = f"trainings.csv names a file that is not there: {Path(path).name}"
    require(Path(path).is_file(), problem, "Correct its path.")
    return Path(path)
