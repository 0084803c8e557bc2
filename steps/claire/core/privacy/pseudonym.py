"""Pseudonyms: keyed, so that only the owner of the key can compute them from an identifier (HMAC, RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from claire.core.command.errors import UsageError

_KEY_BYTES = 16
_GENERIC = re.compile(
    r"(anon|anonym(ous|i[sz]ed)?(patient)?|unknown|unkn?|none|null|nil|na|nan|noid|noname|nopatientid|patient(id)?"
    r"|subject|id|test(patient)?|default|removed|deleted|blank|empty|hidden|private|masked|redacted"
    r"|de?identified|deident|pseudonymi[sz]ed|x+|0+)?"
)


@dataclass(frozen=True)
class Pseudonyms:
    """Maps identifiers to pseudonyms under one secret key. The key is never printed."""

    _key: bytes

    def __repr__(self) -> str:
        return "Pseudonyms(…)"

    def digest(self, kind: str, issuer: str, identifier: str) -> bytes:
        """Return HMAC-SHA256(key, kind|issuer|identifier)."""
        return hmac.digest(self._key, f"{kind}|{issuer}|{identifier}".encode("utf-8", "surrogatepass"), hashlib.sha256)

    def patient(self, issuer: str, patient_id: str) -> str:
        """Return the pseudonym of a patient: P and 12 hex digits; it covers the issuer of the ID."""
        return f"P{self.digest('patient', issuer, patient_id).hex()[:12]}"

    def scan(self, series: str) -> str:
        """Return the pseudonym of a scan: S and 12 hex digits from the name of its series at the site."""
        return f"S{self.digest('scan', '', series).hex()[:12]}"

    def uid(self, uid: str) -> str | None:
        """Return the pseudonym of a UID (2.25 and a 128-bit number, PS3.5 B.2); None for an empty one."""
        return f"2.25.{int.from_bytes(self.digest('uid', '', uid)[:16], 'big')}" if uid else None


def read_key(path: Path) -> Pseudonyms:
    """Read the secret key. Raises UsageError if it is shorter than 16 bytes without surrounding blanks."""
    key = path.read_bytes().strip()
    if len(key) < _KEY_BYTES:
        raise UsageError(
            f"the key has {len(key)} bytes; pseudonyms need at least {_KEY_BYTES}",
            "Create one with: openssl rand -hex 32 > key",
        )
    return Pseudonyms(key)


def is_generic(patient_id: str) -> bool:
    """Return whether a PatientID identifies nobody: empty, "anonymous", "0" and the like."""
    return bool(_GENERIC.fullmatch(re.sub(r"[\W_]+", "", patient_id.lower())))
