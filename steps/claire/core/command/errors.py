"""Errors that a user can act on."""

from __future__ import annotations


class ClaireError(Exception):
    """Something the user can fix: what is wrong, and what to do about it. Ends a step with exit code 1."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem


class UsageError(ClaireError):
    """A wrong flag, grid or table. Ends a step with exit code 2."""

    exit_code = 2


class RejectedScan(Exception):
    """One scan cannot be used: it is set aside with a reason, the others continue.

    `reason` is a key of `contracts.rejects.REASONS`; `detail` must hold nothing that identifies a patient.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


def require(condition: object, problem: str, remedy: str = "") -> None:
    """Raise `UsageError` unless `condition` holds."""
    if not condition:
        raise UsageError(problem, remedy)
