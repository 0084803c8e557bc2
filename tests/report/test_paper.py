"""The methods text for papers: this run's numbers, and references for what was used and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from claire.core.command.shipped import shipped
from claire.core.contracts.metrics import read_metrics
from claire.core.contracts.variant import Variant
from claire.report.inputs import Inputs, read_inputs
from claire.report.sections.paper import Paper, bibtex, paper, references
from claire.report.tables import interval, number
from claire.report.work import MANIFESTS, TABLES

from tests.report.test_report import report
from tests.support.report_inputs import World


def inputs_of(folder: Path, **fields: Any) -> Inputs:
    """The inputs of a made-up run, read as the step reads them."""
    flags = World(**fields).write(folder)
    lists = [[Path(line) for line in flags[name].read_text().splitlines()] for name in MANIFESTS]
    return read_inputs("A run", "phantom", {name: flags[name] for name in TABLES}, *lists)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return inputs_of(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="module")
def written(inputs: Inputs) -> Paper:
    return paper(inputs)


def cited(written: Paper) -> list[str]:
    lists = re.findall(r"\[([a-z][\w, ]*)\]", " ".join(written.paragraphs))
    return list(dict.fromkeys(key for keys in lists for key in keys.split(", ")))


def test_the_numbers_are_those_of_the_run(inputs: Inputs, written: Paper) -> None:
    text = " ".join(written.paragraphs)
    area, winner = inputs.metrics.headline.patient["auc"], inputs.metrics.winner
    assert "36 synthetic chest CT scans (phantoms) of 36 patients (18 negative, 18 positive)" in text
    assert "The reference standard was RT-PCR (36 scans)." in text
    assert "into 3 folds, stratified by label and site (seed 0)" in text
    assert "4 variants were trained on every fold (12 trainings)" in text
    assert (
        f"AUC of patients was {number(area.value)} (95 % interval {interval(area.lower, area.upper)} from 100" in text
    )
    assert f"{winner.variant}, had an AUC of {number(winner.auc.value)}" in text
    assert inputs.records[0].version in text


def test_what_is_cited_is_listed_and_nothing_else(written: Paper) -> None:
    assert cited(written) == re.findall(r"(?m)^@\w+\{([\w-]+),$", written.bibtex)
    assert {"claire", "cwl", "resnet", "densenet", "bootstrap", "holm", "clopper"} <= set(cited(written))
    assert "monai" not in cited(written)


def test_other_runs_cite_other_works(tmp_path: Path) -> None:
    variants = [Variant(architecture="monai:DenseNet121", dimensions="3D")]
    found = cited(paper(inputs_of(tmp_path, variants=variants, explained=False, patients=18)))
    assert "monai" in found
    assert {"resnet", "attention", "holm", "clopper", "grad_cam"} & set(found) == set()


def test_closed_conditions_and_patients_are_named(tmp_path: Path) -> None:
    text = " ".join(paper(inputs_of(tmp_path, gate_open=False, phantom=False)).paragraphs)
    assert "the lesions are therefore not reliable. Not met: " in text
    assert "synthetic" not in text


def test_the_software_is_cited_as_in_the_citation_file() -> None:
    citation = yaml.safe_load(shipped("CITATION.cff").read_text())
    known = references(["9.9.9"])
    assert known["claire"]["version"] == "9.9.9"
    assert known["claire"]["title"] == citation["title"]
    titles = [reference["title"] for reference in citation["references"]]
    assert [title for title in titles if title not in [entry["title"] for entry in known.values()]] == []
    assert "2108.01033" in known["colonnelli2021bringing"]["url"]


def test_every_reference_is_whole_and_valid_bibtex() -> None:
    for key, entry in references(["1"]).items():
        assert {"type", "author", "title"} <= set(entry), key
        assert key == "claire" or re.fullmatch(r"(19|20)\d\d", entry["year"]), key
        text = bibtex(key, entry)
        assert text.count("{") == text.count("}"), key
        assert not re.search(r"(?<!\\)[&%#$]", re.sub(r"(doi|url) = .*", "", text)), key


def test_the_page_shows_the_text_and_the_references(tmp_path: Path) -> None:
    flags = World(patients=18, explained=False).write(tmp_path / "inputs")
    section = report(tmp_path, flags).section("paper")
    area = read_metrics(flags["metrics"]).headline.patient["auc"]
    assert number(area.value) in section
    assert "@software{claire," in section
    assert json.loads((tmp_path / "out/report.run.json").read_text())["step"] == "report"
