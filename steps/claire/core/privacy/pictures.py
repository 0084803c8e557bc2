"""Whose pictures may be shown: one policy for explain and report."""

from __future__ import annotations

from typing import Literal

Policy = Literal["none", "phantom", "all"]


def may_show(policy: Policy, is_phantom: bool) -> bool:
    """Return whether the policy lets pictures of a scan be drawn; only scans known to be phantoms count as phantoms."""
    return policy == "all" or (policy == "phantom" and is_phantom)
