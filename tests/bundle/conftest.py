"""A winner on the synthetic cohort, and its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bundling import Winner, make_winner
from tests.support.command import claire
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="session")
def winner(cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory) -> Winner:
    """The files of a winner with three folds."""
    return make_winner(cohort_files, tmp_path_factory.mktemp("winner"))


@pytest.fixture(scope="session")
def model_path(winner: Winner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of that winner, with all exports."""
    out = tmp_path_factory.mktemp("model")
    texts = ["--licence", "CC-BY-4.0", "--data-licence", "CC0-1.0", "--intended-use", "Tests of bundle."]
    assert claire("bundle", [*winner.argv(), *texts, "--out", str(out)]) == 0
    (path,) = out.glob("*.model.zip")
    return path
