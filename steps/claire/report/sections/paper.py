"""For papers: what was done in this run, in sentences with its own numbers, and BibTeX of what they cite.

Every number comes from the documents that the report reads. A sentence names the works that it rests on, and the list
of references holds these and no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import claire
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping
from claire.core.contracts.metrics import Figure
from claire.core.contracts.rejects import REASONS, count_reasons
from claire.core.contracts.variant import Variant
from claire.report.inputs import Inputs
from claire.report.sections.cohort import patients_by_label
from claire.report.sections.saliency import pooled_gates
from claire.report.tables import interval, number

SOFTWARE = "claire"
#: Parts of an architecture's name that have a reference of the same key.
ARCHITECTURES = ("resnet", "densenet", "monai")
#: Settings that a reader must know of; those in which variants differ are named too.
COMMON = ("dimensions", "view", "size", "slices", "labels", "pooling", "epochs", "augmentation")


@dataclass(frozen=True)
class Sentence:
    """A sentence of the methods text and the keys of what it cites."""

    text: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.text} [{', '.join(self.keys)}]." if self.keys else f"{self.text}."


@dataclass(frozen=True)
class Paper:
    """The methods text as paragraphs, and the references as BibTeX."""

    paragraphs: Sequence[str]
    bibtex: str


def paper(inputs: Inputs) -> Paper:
    """Return the methods text of a run and the references that it cites, in their order."""
    paragraphs = [[*paragraph(inputs)] for paragraph in (_software, _cohort, _training, _evaluation, _saliency)]
    keys = dict.fromkeys(key for sentences in paragraphs for sentence in sentences for key in sentence.keys)
    texts = [" ".join(map(str, sentences)) for sentences in paragraphs if sentences]
    known = references(versions(inputs))
    return Paper(texts, "\n".join(bibtex(key, known[key]) for key in keys))


def versions(inputs: Inputs) -> list[str]:
    """Return the versions of the pipeline that made the results: one, unless steps were run by several."""
    return sorted({record.version for record in inputs.records}) or [claire.__version__]


def _software(inputs: Inputs) -> Iterator[Sentence]:
    made_by = " and ".join(versions(inputs))
    origin = tuple(key for key in references([]) if key in _cited())
    yield Sentence(
        f"The study was done with the CLAIRE pipeline, version {made_by}, the open successor of the CLAIRE COVID-19 "
        "universal pipeline",
        (SOFTWARE, *origin),
    )
    libraries = _libraries(inputs)
    yield Sentence(
        "It is a workflow in the Common Workflow Language" + (f"; {libraries}" if libraries else ""), ("cwl",)
    )
    yield Sentence(
        "Parameters, hashes and versions of all executions are recorded as an RO-Crate "
        f"(cohort {inputs.cohort.sha256[:12]})",
        ("rocrate",),
    )


def _libraries(inputs: Inputs) -> str:
    """Return the libraries and processors of the trainings: `PyTorch 2.10.0, …; trainings ran on cpu-fp32`."""
    trainings = [record.facts for record in inputs.records if record.step == "train"]
    used = {(name, str(version)) for facts in trainings for name, version in _mapping(facts.get("libraries")).items()}
    devices = sorted({str(facts["device"]) for facts in trainings if facts.get("device")})
    named = ", ".join(f"{name} {version}" for name, version in sorted(used))
    parts = ([f"networks used {named}"] if named else []) + (
        [f"trainings ran on {', '.join(devices)}"] if devices else []
    )
    return "; ".join(parts)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _cohort(inputs: Inputs) -> Iterator[Sentence]:
    patients = {row.patient for row in inputs.scans.values()}
    classes = ", ".join(f"{n} {name}" for name, n in patients_by_label(inputs).items())
    kind = "synthetic chest CT scans (phantoms)" if inputs.phantom else "chest CT scans"
    yield Sentence(f"The cohort holds {len(inputs.scans)} {kind} of {len(patients)} patients ({classes})")
    standards = ", ".join(
        f"{name or 'none given'} ({n} scans)" for name, n in inputs.cohort.reference_standards.items()
    )
    if standards:
        yield Sentence(f"The reference standard was {standards}")
    lost = count_reasons(inputs.rejects, lost=True)
    if lost:
        reasons = "; ".join(f"{REASONS[reason].meaning}: {n}" for reason, n in lost.items())
        yield Sentence(f"By fixed rules {lost.total()} scans were set aside ({reasons})")
    yield Sentence(
        f"Patients were drawn into {inputs.cohort.fold_count} folds, stratified by label and site "
        f"(seed {inputs.cohort.seed}): the patients of a fold were its test set, those of the next one its validation "
        "set, and the others trained"
    )


def _training(inputs: Inputs) -> Iterator[Sentence]:
    variants = [figures.variant for figures in inputs.metrics.variants.values()]
    settings = [variant.model_dump(mode="json") for variant in variants]
    differing = [name for name in Variant.model_fields if len({json.dumps(each[name]) for each in settings}) > 1]
    trainings = sum(record.step == "train" for record in inputs.records)
    count = f"{len(variants)} variants were" if len(variants) != 1 else "One variant was"
    axes = "; ".join(f"{_words(name)}: {_values(settings, name)}" for name in differing)
    yield Sentence(
        f"{count} trained on every fold"
        + (f" ({trainings} trainings)" if trainings else "")
        + (f", which differ in {axes}" if axes else ""),
        tuple(_of_variants(variants)),
    )
    common = ", ".join(f"{_words(name)} {_values(settings, name)}" for name in COMMON if name not in differing)
    alike = "architecture" not in differing
    common = f"architecture {_values(settings, 'architecture')}, {common}" if alike else common
    if variants and common:
        yield Sentence(f"All have {common}")


def _of_variants(variants: Sequence[Variant]) -> Iterator[str]:
    names = " ".join(variant.architecture for variant in variants)
    yield from (key for key in ARCHITECTURES if key in names)
    if any(v.dimensions == "2D" and v.labels == "multiple-instance" and v.pooling == "attention" for v in variants):
        yield "attention"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _values(settings: Sequence[Mapping[str, Any]], name: str) -> str:
    values = (each[name] for each in settings)
    texts = (
        "/".join(f"{part:g}" for part in value.values()) if isinstance(value, dict) else str(value) for value in values
    )
    return ", ".join(dict.fromkeys(re.sub(r"^torchvision:", "", text) for text in texts))


def _evaluation(inputs: Inputs) -> Iterator[Sentence]:
    metrics = inputs.metrics
    area = metrics.headline.patient.get("auc")
    if area is None or area.value is None:
        return
    yield Sentence(
        "In each fold the variant that was best on the validation patients predicted the test patients; the AUC over "
        "folds is the mean of the folds' AUCs, weighted by their numbers of pairs"
    )
    delong = f"; DeLong {interval(area.delong_lower, area.delong_upper)}" if area.delong_lower is not None else ""
    yield Sentence(
        f"The AUC of patients was {number(area.value)} (95 % interval {interval(area.lower, area.upper) or 'none'} "
        f"from {metrics.bootstrap} bootstrap samples of patients within fold and class{delong})",
        ("bootstrap", "delong") if delong else ("bootstrap",),
    )
    rates = [(name, metrics.headline.patient.get(name)) for name in ("sensitivity", "specificity")]
    texts = [f"the {name} was {_with_limits(figure)}" for name, figure in rates if figure and figure.value is not None]
    if texts:
        yield Sentence(f"At operating points chosen on validation patients {' and '.join(texts)}")
    winner = metrics.winner
    if winner.auc_corrected.value is not None:
        yield Sentence(
            f"The variant selected over all folds, {winner.variant}, had an AUC of {_with_limits(winner.auc)}; "
            f"corrected for the selection, {_with_limits(winner.auc_corrected)}",
            ("bbc",),
        )
    if inputs.comparisons:
        yield Sentence(f"P values of {len(inputs.comparisons)} comparisons between variants were corrected", ("holm",))
    fired = [guard.statement for guard in metrics.guards if guard.fired]
    if fired:
        yield Sentence(f"Checks for shortcuts and leaks that failed: {'; '.join(fired)}")


def _with_limits(figure: Figure) -> str:
    limits = interval(figure.lower, figure.upper)
    return f"{number(figure.value)} ({limits})" if limits else number(figure.value)


def _saliency(inputs: Inputs) -> Iterator[Sentence]:
    if not inputs.explained:
        return
    scans = sum(len(document.scans) for document in inputs.explained)
    infills = ", ".join(dict.fromkeys(name for document in inputs.explained for name in document.infills))
    yield Sentence(
        f"In {scans} test scans of {len(inputs.explained)} folds the effect of each opacity on the decision was "
        f"measured by removing it and by leaving it alone (infills: {infills})"
    )
    judged = dict.fromkeys(figures.method for document in inputs.explained for figures in document.methods)
    maps = tuple(key for key in ("integrated_gradients", "grad_cam", "smoothgrad", "occlusion") if key in judged)
    if maps:
        yield Sentence(f"It was compared with maps of {', '.join(_words(key) for key in maps)}", maps)
    gates = pooled_gates(inputs)
    if gates:
        closed = [gate.statement.split("; closed")[0] for gate in gates if not gate.open]
        verdict = f"; the lesions are therefore not reliable. Not met: {'; '.join(closed)}" if closed else ""
        yield Sentence(
            f"Of {len(gates)} conditions for an answer, judged on validation patients with exact limits, "
            f"{len(gates) - len(closed)} were met{verdict}",
            ("clopper",),
        )


def references(made_by: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return every known reference by key: this software and what it follows (CITATION.cff), and the methods."""
    citation = _citation()
    software = {
        "type": "software",
        "author": " and ".join(map(_author, citation["authors"])),
        "title": str(citation["title"]),
        "version": ", ".join(made_by) or str(citation["version"]),
        "license": str(citation["license"]),
    }
    if "repository-code" in citation:
        software["url"] = str(citation["repository-code"])
    return {SOFTWARE: software} | _cited() | _methods()


def _cited() -> dict[str, dict[str, str]]:
    """Return the articles that CITATION.cff names, by the first author's name and a word of the title."""
    return {_key(reference): _article(reference) for reference in _citation()["references"]}


def _key(reference: Mapping[str, Any]) -> str:
    first = str(reference["authors"][0]["family-names"]).lower()
    word = re.findall(r"\w+", str(reference["title"]).lower())[0]
    return f"{first}{reference['year']}{word}"


def _article(reference: Mapping[str, Any]) -> dict[str, str]:
    entry = {
        "type": "article" if "journal" in reference else "misc",
        "author": " and ".join(map(_author, reference["authors"])),
    }
    names = {"title": "title", "journal": "journal", "year": "year", "doi": "doi", "url": "url", "notes": "note"}
    return entry | {name: str(reference[key]) for key, name in names.items() if key in reference}


def _author(author: Mapping[str, str]) -> str:
    return f"{{{author['name']}}}" if "name" in author else f"{author['family-names']}, {author['given-names']}"


@cache
def _citation() -> dict[str, Any]:
    return read_yaml_mapping(shipped("CITATION.cff"), "Restore the file of the release.")


@cache
def _methods() -> dict[str, dict[str, str]]:
    methods: dict[str, dict[str, str]] = json.loads(
        resources.files("claire.report").joinpath("references.json").read_text(encoding="utf-8")
    )
    return methods


def bibtex(key: str, entry: Mapping[str, str]) -> str:
    """Return an entry of BibTeX; titles keep their capitals, characters that TeX would run are escaped."""
    fields = [f"  {name} = {{{_escaped(name, value)}}}," for name, value in entry.items() if name != "type"]
    return "\n".join([f"@{entry['type']}{{{key},", *fields, "}"])


def _escaped(name: str, value: str) -> str:
    if name in ("doi", "url", "eprint"):
        return value
    text = re.sub(r"([&%#_$])", r"\\\1", value)
    return f"{{{text}}}" if name == "title" else text
