"""docs/outputs.md names every field of every document and table that crosses between steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from claire.core.command.documents import Document
from claire.core.command.tables import Row

from docs.generate import contract_models

TEXT = (Path(__file__).parents[2] / "docs/outputs.md").read_text()
#: Words in code spans, `a, b` and `{"a", "b"}` taken apart.
NAMED = {name for span in re.findall(r"`([^`]+)`", TEXT) for name in re.findall(r"[A-Za-z_0-9]+", span)}


@pytest.mark.parametrize("model", contract_models(), ids=lambda model: model.__name__)
def test_every_field_is_described(model: type[Document] | type[Row]) -> None:
    assert sorted(set(model.model_fields) - NAMED) == []
