"""UIDs of the objects: the same inputs give the same UIDs, so that writing again replaces an object."""

from __future__ import annotations

from pydicom.uid import UID, generate_uid


def make_uid(*parts: str | int) -> UID:
    """Return the UID that belongs to `parts` (PS3.5 9; SHA-512 of the parts under the root of pydicom)."""
    return generate_uid(entropy_srcs=["|".join(["claire", *map(str, parts)])])
