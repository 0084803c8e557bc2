"""The page: sections rendered by templates, with style and script inside, so that it makes no network requests."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

import claire
from claire.report.inputs import Inputs
from claire.report.sections import cohort, curves, paper, provenance, results, saliency, summary
from claire.report.tables import Table

SECTIONS = (
    ("summary", "Summary"),
    ("cohort", "Cohort"),
    ("performance", "Headline in full"),
    ("leaderboard", "Leaderboard"),
    ("curves", "Curves"),
    ("comparisons", "Comparisons"),
    ("effects", "Effects of the axes"),
    ("subgroups", "Subgroups"),
    ("guards", "Guards"),
    ("lesions", "Deciding lesions"),
    ("scans", "Scans"),
    ("rejects", "Rejects"),
    ("provenance", "Provenance"),
    ("paper", "For your paper"),
    ("glossary", "Glossary"),
)


def render(inputs: Inputs, picture_limit: int) -> str:
    """Return the report as one self-contained HTML page."""

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("claire.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["anchor"] = provenance.anchor
    context = _context(inputs, picture_limit)
    absent = set() if inputs.explained else {"scans"}
    context["sections"] = [(name, title) for name, title in SECTIONS if name not in absent]
    return environment.get_template("page.html").render(context)


def _context(inputs: Inputs, picture_limit: int) -> dict[str, Any]:

    script = _asset("script.js")
    return {
        "inputs": inputs,
        "version": claire.__version__,
        "style": Markup(_asset("style.css")),  # noqa: S704 (our own file)
        "script": Markup(script),  # noqa: S704 (our own file)
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "glossary": json.loads(_asset("glossary.json")),
        "statement": summary.statement(inputs),
        "caveats": summary.caveats(inputs),
        "cohort": _cohort(inputs),
        "reliable": saliency.reliable(inputs),
        "saliency": _saliency(inputs),
        "pages": saliency.pages(inputs, picture_limit),
        "charts": curves.charts(inputs),
        "provenance": _provenance(inputs),
        "paper": paper.paper(inputs),
        "headline": results.headline(inputs),
        "facts": results.facts(inputs),
        "fired": results.fired(inputs),
        "results": _results(inputs),
    }


def _cohort(inputs: Inputs) -> dict[str, Table]:
    return {
        "counts": cohort.counts(inputs, "By class, site and vendor", [("site", "Site"), ("vendor", "Vendor")]),
        "people": cohort.counts(inputs, "By class, sex and age", [("sex", "Sex"), ("age_band", "Age")]),
        "acquisition": cohort.acquisition(inputs),
        "folds": cohort.folds(inputs),
        "rejects": cohort.rejects(inputs),
        "reject_list": cohort.reject_list(inputs),
    }


@cache
def _asset(name: str) -> str:
    return resources.files("claire.report").joinpath(name).read_text(encoding="utf-8")


def _results(inputs: Inputs) -> dict[str, Any]:
    functions = (
        results.leaderboard,
        results.missing,
        results.performance,
        results.confusion,
        results.folds,
        results.comparisons,
        results.effects,
        results.effects_figure,
        results.subgroups,
        results.subgroups_figure,
        results.guards,
    )
    return {function.__name__: function(inputs) for function in functions}


def _saliency(inputs: Inputs) -> dict[str, Any]:
    tally = saliency.outcomes(inputs)
    maps = [(saliency.OUTCOMES[name].capitalize(), saliency.zones(inputs, name)) for name in ("TP", "FP")]
    return {
        "gates": saliency.gates(inputs),
        "methods": saliency.methods(inputs),
        "networks": saliency.networks(inputs),
        "gates_text": saliency.gates_text(inputs),
        "insertions": saliency.insertions(inputs) if any(d.insertion for d in inputs.explained) else None,
        "zones": [(outcome_title, picture) for outcome_title, picture in maps if picture],
        "outcomes": [(saliency.OUTCOMES.get(name, name), tally[name]) for name in sorted(tally)],
    }


def _provenance(inputs: Inputs) -> dict[str, Any]:
    return {
        "cohort": provenance.cohort_hash(inputs),
        "seeds": provenance.seeds(inputs),
        "totals": provenance.totals(inputs),
        "versions": provenance.versions(inputs),
        "executions": provenance.executions(inputs),
        "runs": provenance.run_table(inputs),
        "variants": provenance.variant_table(inputs),
        "parameters": provenance.parameters(inputs),
        "files": provenance.files_read(inputs),
    }
