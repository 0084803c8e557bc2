"""Made-up scanners, sites and people: the header of a series."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from claire.commands.phantom.patient import MEDIUM, SHARP, SMOOTH, Kernel


@dataclass(frozen=True)
class Scanner:
    """A scanner and its headers: names, kernels by sharpness, and how HU become stored values.

    `thickness`: slice thickness as a share of the slice spacing. `padding`: HU outside the round field of view.
    """

    manufacturer: str
    model: str
    kernels: tuple[tuple[str, Kernel], ...]
    thickness: float
    slope: float
    intercept: float
    signed: bool
    padding: int | None
    head_first_numbers: bool
    writes_spacing: bool


# In order: maker, model, (smooth, sharp) kernel, thickness, slope, intercept, signed, padding, order, spacing.
SCANNERS = (
    Scanner("Aurelia Imaging", "Vista 64", (("B30f", SMOOTH), ("B60f", SHARP)), 1.0, 1, -1024, False, None, True, True),
    Scanner("Northlight", "Helix One", (("STANDARD", MEDIUM), ("LUNG", SHARP)), 0.8, 1, 0, True, -2000, True, False),
    Scanner("Kestrel", "Orbit", (("FC08", SMOOTH), ("FC51", MEDIUM)), 0.6, 0.5, -1024, False, None, False, True),
)  # fmt: skip
SITES = ("Harbour General", "Hillside Clinic", "St Brannoc Hospital")
_FAMILY = ("Marlow", "Okafor", "Lindqvist", "Brandt", "Castell", "Duval", "Iwata", "Petrov", "Quill", "Sorensen")
_GIVEN = {
    "F": ("Ada", "Greta", "Ines", "Mona", "Ruth", "Tilda"),
    "M": ("Anton", "Bruno", "Emil", "Leo", "Oskar", "Yann"),
}


@dataclass(frozen=True)
class Person:
    """A made-up patient; `patient_id` is the key column of labels.csv."""

    patient_id: str
    name: str
    birth: str
    sex: str
    age: int
    site: str
    address: str
    phone: str


@dataclass(frozen=True)
class Traits:
    """How a scan is acquired; `--confound` ties one of these traits to the label."""

    scanner: Scanner
    kernel_name: str
    kernel: Kernel
    thickness: float
    marker: bool


def draw_person(rng: np.random.Generator, number: int, sex: str, site: str) -> Person:
    """Return a made-up patient."""
    age = int(np.clip(rng.normal(58, 14), 19, 89))
    return Person(
        patient_id=f"MRN-{number:03d}{rng.integers(10**5):05d}",
        name=f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN[sex])}^{chr(65 + int(rng.integers(26)))}",
        birth=f"{2020 - age}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        sex=sex,
        age=age,
        site=site,
        address=f"{rng.integers(1, 99)} Made-up Lane, Nowhere",
        phone=f"+00 555 {rng.integers(10**6):06d}",
    )


def choose_traits(scanner: Scanner, sharp: bool, positive: bool, confound: str) -> Traits:
    """Return how a scan is acquired; the trait that `confound` names follows the label."""
    name, kernel = scanner.kernels[int(positive if confound == "kernel" else sharp)]
    thickness = scanner.thickness
    if confound == "kernel":
        kernel = SHARP if positive else SMOOTH
    if confound == "thickness":
        thickness = 0.4 if positive else 1.0
    return Traits(scanner, name, kernel, thickness, confound == "marker" and positive)


def make_uid(*parts: object) -> str:
    """Return a UID under 2.25 (ITU-T X.667) that is the same for the same parts."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"
