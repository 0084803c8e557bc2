"""Pseudonyms, generic identifiersbed texts."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from claire.core.command.errors import UsageError
from claire.core.privacy.pseudonym import Pseudonyms, is_generic, read_key

NAMES = Pseudonyms(b"0123456789abcdef")


def test_a_pseudonym_is_a_keyed_hash_of_issuer_and_id() -> None:
    expected = hmac.new(b"0123456789abcdef", b"patient|site|4711", hashlib.sha256).hexdigest()
    assert NAMES.patient("site", "4711") == f"P{expected[:12]}"
    assert NAMES.patient("", "4711") != NAMES.patient("site", "4711")


def test_a_remapped_uid_is_a_valid_uid() -> None:
    uid = NAMES.uid("1.2.3")
    assert uid is not None
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
    assert uid[5:].isdecimal()
    assert NAMES.uid("") is None


def test_the_key_is_never_shown() -> None:
    assert "0123" not in repr(NAMES)


def test_blanks_around_the_key_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    assert read_key(tmp_path / "key") == NAMES
    (tmp_path / "key").write_bytes(b" 123456789abcde \n\n\n")
    with pytest.raises(UsageError):
        read_key(tmp_path / "key")


@pytest.mark.parametrize(
    "text", ["", " ", "Anonymous", "ANON", "unknown", "0", "000000", "N/A", "de-identified", "XXXX"]
)
def test_generic_identifiers_are_recognised(text: str) -> None:
    assert is_generic(text)


@pytest.mark.parametrize("text", ["4711", "P002", "sub-01", "1", "ANON-17", "coronacases_002", "100"])
def test_other_identifiers_are_not_generic(text: str) -> None:
    assert not is_generic(text)
