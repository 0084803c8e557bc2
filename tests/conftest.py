"""Small synthetic inputs that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.predicting import Predicted, predict_new
from tests.support.synthetic import CohortFiles, make_cohort

#: The same examples every time and everywhere, however slow the machine.
settings.register_profile("claire", deadline=None, derandomize=True)
settings.load_profile("claire")


@pytest.fixture(scope="session")
def cohort_files(tmp_path_factory: pytest.TempPathFactory) -> CohortFiles:
    """A cohort of 18 patients whose positives carry a bright patch, with folds: learnable in seconds."""
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    """A small model, and new patients that it predicted and explained: 20 seconds."""
    return predict_new(tmp_path_factory.mktemp("predicted"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for a step's results."""
    return tmp_path / "out"
