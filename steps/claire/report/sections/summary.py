"""The summary: what is detected against what, by which standard, how well, and the caveats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from claire.report.inputs import Inputs
from claire.report.sections.cohort import patients_by_label
from claire.report.sections.saliency import gates_text, reliable

COVID = re.compile(r"covid|sars|n-?cov", re.IGNORECASE)
NORMAL = {"normal", "normals", "healthy", "control", "controls", "no finding", "no findings"}


@dataclass(frozen=True)
class Caveat:
    """A warning in plain words; `kind` is "stop" (the figures must not be used this way) or "care"."""

    kind: str
    title: str
    text: str


@dataclass(frozen=True)
class Statement:
    """The first line: (class, patients) detected, the (class, patients) compared with, the reference standards."""

    detected: Sequence[tuple[str, int]]
    against: tuple[str, int]
    standards: str
    patients: int
    scans: int


def statement(inputs: Inputs) -> Statement:
    """Return what is detected against what, by which standard, and the number of patients per class."""
    patients_of = patients_by_label(inputs)
    names = list(patients_of) or ["–"]
    standards = {name or "no standard given": n for name, n in inputs.cohort.reference_standards.items()}
    return Statement(
        detected=[(name, patients_of[name]) for name in names[1:]],
        against=(names[0], patients_of.get(names[0], 0)),
        standards=", ".join(f"{name} ({n} scans)" for name, n in standards.items()) or "no reference standard given",
        patients=len({row.patient for row in inputs.scans.values()}),
        scans=len(inputs.scans),
    )


def caveats(inputs: Inputs) -> list[Caveat]:
    """Return the caveats that precede the figures."""
    all_caveats = [
        *_task(inputs),
        *_phantom(inputs),
        *_saliency(inputs),
        Caveat(
            "care",
            "Not a medical device",
            "This is research software. Nothing here may be used to diagnose or treat a patient.",
        ),
    ]
    return sorted(all_caveats, key=lambda caveat: caveat.kind != "stop")


def _task(inputs: Inputs) -> list[Caveat]:
    names = inputs.classes
    if len(names) != 2:
        return []
    negative, positive = names
    if negative.lower() in NORMAL:
        disease = "COVID" if COVID.search(positive) else positive
        return [
            Caveat(
                "stop",
                "Not a diagnosis",
                f"{disease} against {negative} only: a network that only distinguishes diseased from healthy lungs "
                "scores as well. To distinguish it from other diseases, train and test against them.",
            )
        ]
    if COVID.search(positive):
        return [
            Caveat(
                "care",
                f"What is in “{negative}”?",
                "The figures hold for the mix of findings in this class; against healthy lungs alone they flatter, "
                "against other pneumonia they may fall.",
            )
        ]
    return []


def _phantom(inputs: Inputs) -> list[Caveat]:
    if not inputs.phantom:
        return []
    text = "All scans are synthetic. The figures show that the pipeline works; they say nothing about patients."
    return [Caveat("care", "Phantoms", text)]


def _saliency(inputs: Inputs) -> list[Caveat]:
    if not inputs.explained or reliable(inputs):
        return []
    return [Caveat("care", "Deciding lesions not reliable", f"{gates_text(inputs)} See “Deciding lesions”.")]
