"""Faults, warnings and notes that are collected, so that all are told at once and not only the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from claire.core.command.errors import ClaireError, UsageError


@dataclass(frozen=True)
class Finding:
    """What was found and what to do about it.

    `names` are patients, series or files: they identify, and are shown only to people at the site who ask (--list).
    """

    problem: str
    remedy: str = ""
    names: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the problem and, below it, the remedy; without names."""
        return [self.problem, *(f"  {line.strip()}" for line in self.remedy.splitlines())]


@dataclass
class Findings:
    """What was found: faults, for which nothing may be run; warnings; notes of what is normal."""

    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def fault(self, problem: str, remedy: str = "", names: Sequence[str] = ()) -> None:
        """Add a fault, unless it is there already."""
        _add(self.faults, Finding(problem, remedy, tuple(names)))

    def warn(self, problem: str, remedy: str = "", names: Sequence[str] = ()) -> None:
        """Add a warning, unless it is there already."""
        _add(self.warnings, Finding(problem, remedy, tuple(names)))

    def note(self, text: str, names: Sequence[str] = ()) -> None:
        """Add a note."""
        _add(self.notes, Finding(text, "", tuple(names)))

    def add(self, others: Findings) -> None:
        """Add what others hold and is not there already."""
        for mine, theirs in zip(
            (self.faults, self.warnings, self.notes), (others.faults, others.warnings, others.notes), strict=True
        ):
            for finding in theirs:
                _add(mine, finding)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Turn a ClaireError within the block into a fault and go on after it."""
        try:
            yield
        except ClaireError as error:
            self.fault(error.problem, error.remedy)

    def error(self, what: str, remedy: str) -> UsageError:
        """Return the error of all faults: the only one as it is, several under `what` with a common remedy."""
        if len(self.faults) == 1:
            return UsageError(self.faults[0].problem, self.faults[0].remedy)
        lines = [line for fault in self.faults for line in fault.lines()]
        return UsageError("\n  ".join([f"{what} {len(self.faults)} faults:", *lines]), remedy)


def _add(findings: list[Finding], finding: Finding) -> None:
    if finding not in findings:
        findings.append(finding)
