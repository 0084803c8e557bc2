"""The steps of the CLAIRE pipeline: chest CT in, variants trained and compared, deciding lesions shown."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claire.api import load

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`claire.load`, imported when it is first used: `claire --help` needs none of it."""
    if name != "load":
        raise AttributeError(f"module 'claire' has no attribute {name!r}")
    return importlib.import_module("claire.api").load
