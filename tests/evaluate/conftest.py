"""A world for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runs import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A cohort of 60 patients in three folds, without runs."""
    return World(tmp_path / "world")
