"""The files of a job: key, tables, and the series by their headers."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.commands.check.job import PLACES, Job
from claire.core.command.findings import Findings
from claire.core.command.progress import log
from claire.core.contracts.labels import LabelTable, SliceTable, read_labels, read_slice_labels
from claire.core.contracts.rejects import REASONS
from claire.core.privacy.pseudonym import read_key
from claire.index import Parameters as IndexParameters
from claire.index.choice import choose
from claire.index.early import Outlook, Request, foretell
from claire.index.series import Series, find_series, require_series
from claire.index.tree import Passed
from claire.index.work import rule_of


@dataclass(frozen=True)
class Seen:
    """The series of the source, those chosen, and what becomes of them where the labels table could be read."""

    series: list[Series]
    chosen: list[Series]
    outlook: Outlook | None


def check_key(job: Job, findings: Findings) -> None:
    """Add a fault of a key that is too short, a warning of one that others may read."""
    key = job.local("key")
    if key is None:
        return
    try:
        with findings.collect():
            read_key(key)
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        findings.fault(f"'key' cannot be read: {error.strerror}", "Ask its owner for the right to read it.")
        return
    if mode & 0o077:
        findings.warn(
            f"'key' may be used by others than its owner (mode {mode:04o}): it links pseudonyms to patients",
            f"chmod 600 {key}",
        )


def check_places(job: Job, findings: Findings, here: bool) -> None:
    """Faults of directories inside the source; warnings of those that this user may not write, faults if run `here`."""
    source = job.local("source")
    for name in PLACES:
        place = Path(str(job.value(name) or ""))
        if not place.is_absolute():
            continue
        if source and place.resolve().is_relative_to(source.resolve()):
            findings.fault(f"'{name}' is inside 'source': nothing is written there", "Name a directory outside of it.")
        existing = next(path for path in (place, *place.parents) if path.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            tell = findings.fault if here else findings.warn
            tell(
                f"'{name}' cannot be written on this machine: {existing} is no directory that this user may write",
                "Name another one." if here else "It must be where the step is executed.",
            )


def read_tables(job: Job, findings: Findings) -> tuple[LabelTable | None, SliceTable | None]:
    """Return the tables of labels and of slice labels; None for one that is left out, at the site or faulty."""
    labels, slice_labels = None, None
    for name in ("labels", "slice_labels"):
        path = job.local(name)
        try:
            with findings.collect():
                if path and name == "labels":
                    labels = read_labels(path)
                elif path:
                    slice_labels = read_slice_labels(path)
        except OSError as error:
            findings.fault(f"'{name}' cannot be read: {error.strerror}", "Ask its owner for the right to read it.")
    return labels, slice_labels


def look(job: Job, threads: int, findings: Findings) -> Seen | None:
    """Read the headers of a source on this machine; add what they say of labels, patients, classes and folds."""
    labels, slice_labels = read_tables(job, findings)
    source = job.local("source")
    if source is None:
        return None
    log.info("reading the headers of the series (--no-headers leaves them out)")
    options: dict[str, Any] = job.options("index")
    if job.value("min_slices") is not None:
        options["min_slices"] = job.value("min_slices")
    parameters = IndexParameters(source=source, threads=threads, **options)
    passed = Passed()
    series: list[Series] = []
    with findings.collect():
        series = require_series(find_series(source, threads, passed), passed)
    _warn_of_damage(passed, findings)
    if not series:
        return None
    verdicts = choose(series, rule_of(parameters))
    chosen = [each for each, verdict in zip(series, verdicts, strict=True) if verdict.chosen]
    if labels is None:
        return Seen(series, chosen, None)
    classes, fold_count = job.value("classes") or "", job.value("fold_count") or 5
    outlook = foretell(series, verdicts, Request(labels, slice_labels, classes, fold_count, parameters.min_slices))
    findings.add(outlook.findings)
    _check_lost(job, outlook, findings)
    return Seen(series, chosen, outlook)


def _warn_of_damage(passed: Passed, findings: Findings) -> None:
    for name, what in (("unreadable", "files with a damaged header"), ("unreadable_folders", "folders not opened")):
        if passed.counts[name]:
            findings.warn(f"{passed.counts[name]} {what} under 'source'", "`claire index --list` names them.")


def _check_lost(job: Job, outlook: Outlook, findings: Findings) -> None:
    """Add a fault where headers alone set aside more scans than the cohort allows."""
    limit = job.options("cohort").get("max_reject_fraction", 0.5)
    lost = sum(bool(scan.reason) and REASONS[scan.reason].lost for scan in outlook.labelled)
    entering = len(outlook.entering)
    if entering and lost > limit * (entering + lost):
        findings.fault(
            f"{lost} of {entering + lost} labelled series will be set aside, more than "
            f"cohort_options: {{max_reject_fraction: {limit:g}}} allows",
            "The warnings say why. Correct the source or the labels table, or raise it if that is as expected.",
        )
