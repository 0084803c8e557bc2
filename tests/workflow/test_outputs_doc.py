"""docs/outputs.md names every field of every document and table that crosses between steps, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from claire.core.contracts.metrics import METRICS
from claire.core.contracts.result_tables import LEADERBOARD
from claire.core.contracts.run import COLUMNS, Epoch

from docs.generate import schemas

DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS = {name: json.loads(text) for name, text in schemas()}
#: Names of members of files that have no schema.
NO_SCHEMA = {*LEADERBOARD, *METRICS, *COLUMNS, *Epoch.model_fields, "hu", "lungs", "document"}
#: First columns that hold names of keys, columns or data sets. Those of phantom are no contract.
NAMES = re.compile(r"key|column|dataset")
#: What stands for several names: `scan_`*metric*, *metric*`_lower`, `probability_<class>`.
PATTERNS = ("scan_", "_lower", "_upper", "probability_", "class")


def sections(document: str) -> dict[str, str]:
    """Return the text of each section by its title."""
    return {text.split("\n")[0]: text for text in (DOCS / document).read_text().split("\n## ")[1:]}


def code_words(text: str) -> set[str]:
    """Return the words in code spans; `a, b` is taken apart."""
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", span)}


def first_columns(section: str) -> Iterator[tuple[str, str]]:
    """Yield (heading, cells) of the first column of each table."""
    for table in re.findall(r"(?m)^\|.+\n\|[-|]+\n(?:\|.+\n)+", section):
        heading, _, *cells = (row.split("|")[1].strip() for row in table.splitlines())
        yield heading, "\n".join(cells)


OUTPUTS = sections("outputs.md")
#: The settings of a variant are described among the flags of plan.
DESCRIBED = [code_words(text) for text in (*OUTPUTS.values(), sections("usage.md")["plan"])]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described_where_its_schema_is_linked(name: str) -> None:
    section = next(text for text in OUTPUTS.values() if f"(schemas/{name}.json)" in text)
    assert sorted(set(SCHEMAS[name]["properties"]) - code_words(section)) == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_part_of_a_document_is_described_in_one_section(name: str) -> None:
    for part, schema in SCHEMAS[name].get("$defs", {}).items():
        assert min((sorted(set(schema.get("properties", {})) - words) for words in DESCRIBED), key=len) == [], part


@pytest.mark.parametrize("title", [title for title in OUTPUTS if title != "phantom"])
def test_every_described_field_is_real(title: str) -> None:
    linked = [SCHEMAS[name] for name in re.findall(r"\(schemas/([\w-]+)\.json\)", OUTPUTS[title])]
    parts = [part for schema in linked for part in (schema, *schema.get("$defs", {}).values())]
    real = NO_SCHEMA.union(PATTERNS, *(part.get("properties", {}) for part in parts))
    named = {
        word for heading, cells in first_columns(OUTPUTS[title]) if NAMES.match(heading) for word in code_words(cells)
    }
    assert sorted(named - real) == []
