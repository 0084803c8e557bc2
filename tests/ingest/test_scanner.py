"""Vendor, model and kernel: what is known passes in one spelling, nothing else does."""

from __future__ import annotations

import pytest
from claire.ingest.scanner import known_kernel, known_model, known_vendor


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("  ", ""),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("Philips Medical Systems", "Philips"),
        ("TOSHIBA", "Canon"),
        ("Canon Medical Systems", "Canon"),
        ("United Imaging Healthcare", "United Imaging"),
        ("UIH", "United Imaging"),
        ("ACME", "other"),
        ("Geiger, room 3", "other"),
        ("SIEMENS Doe^Jane 4711", "Siemens"),
    ],
)
def test_a_vendor_has_one_spelling(text: str, kept: str) -> None:
    assert known_vendor(text) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("SOMATOM Scope", "Somatom Scope"),
        ("SOMATOM Definition AS+", "Somatom Definition AS+"),
        ("LightSpeed VCT", "LightSpeed VCT"),
        ("Brilliance 64", "Brilliance 64"),
        ("Aquilion ONE", "Aquilion ONE"),
        ("Scan of JANE", ""),
        ("Somatom Doe^Jane", "Somatom"),
        ("LightSpeed 19570812", "LightSpeed"),
        ("unit 47-11", ""),
        ("Optimal", ""),
        ("", ""),
    ],
)
def test_a_model_is_a_known_family_with_a_short_code(text: str, kept: str) -> None:
    assert known_model(text) == kept


@pytest.mark.parametrize(
    "text", ["B30f", "Br40d", "I31f 3", "B70f", "FC52", "FC08-H", "YA", "C", "STANDARD", "BONEPLUS", "B_SOFT_A"]
)
def test_a_known_kernel_stays(text: str) -> None:
    assert known_kernel(f" {text} ") == text


@pytest.mark.parametrize(
    "text", ["", "B30f Doe", "B30 QX-0815", "B30f\x1b[2J", "Jane", "Jo57", "4711", "STANDARD 1", "É"]
)
def test_any_other_kernel_is_dropped(text: str) -> None:
    assert known_kernel(text) == ""
