"""metrics.json and winner.json: strict documents that are read as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.metrics import METRICS, Figure, Guard, read_metrics, write_metrics
from claire.core.contracts.winner import Winner, read_winner, write_winner
from pydantic import ValidationError

from tests.support.command import claire
from tests.support.runs import World, told_apart, variants


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an evaluation with every optional part: slices, external patients, calibration, axes."""
    folder = tmp_path_factory.mktemp("evaluated")
    world = World(folder / "world", patients=12)
    world.train_all(variants(2), told_apart(1), slices=2, labelled=True)
    assert claire("evaluate", [*world.tables(), "--out", str(folder), "--bootstrap", "100"]) == 0
    return folder


def test_metrics_are_read_as_they_were_written(evaluated: Path, tmp_path: Path) -> None:
    metrics = read_metrics(evaluated / "metrics.json")
    assert write_metrics(tmp_path / "metrics.json", metrics).read_bytes() == (evaluated / "metrics.json").read_bytes()
    assert set(metrics.variants) == {variant.id for variant in variants(2)}
    assert set(metrics.headline.patient) == set(METRICS)


def test_a_figure_shows_its_method_and_delong_limits_only_where_it_has_them() -> None:
    assert Figure(value=0.5).model_dump() == {"value": 0.5, "lower": None, "upper": None}
    area = Figure(value=1.0, lower=0.9, upper=1.0, method="newcombe", delong_lower=0.8, delong_upper=1.0)
    assert Figure.model_validate(area.model_dump()) == area
    assert area.model_dump()["method"] == "newcombe"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"cohort": "c"}, "cohort: Extra inputs are not permitted"),
        ({"prevalence": None}, "prevalence: Input should be a valid number"),
        ({"prevalence_from": "guessed"}, "prevalence_from"),
        ({"guards": [{"name": "a", "statement": "b", "fired": True, "found": []}]}, r"guards\.0\.found"),
        ({"schema_version": 2}, "has schema version 2: expected 1"),
    ],
)
def test_another_shape_of_metrics_is_refused(
    evaluated: Path, tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    document = json.loads((evaluated / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps(document | change))
    with pytest.raises(ClaireError, match=rf"metrics\.json .*{fault}"):
        read_metrics(tmp_path / "metrics.json")


def test_documents_hold_no_infinity() -> None:
    with pytest.raises(ValidationError):
        Figure(value=float("inf"))


def test_nothing_changes_after_it_is_built() -> None:
    guard = Guard(name="auc_too_good", statement="no AUC is 0.99 or more", fired=False)
    with pytest.raises(ValidationError, match="frozen"):
        guard.fired = True


def test_a_winner_is_read_as_it_was_written(tmp_path: Path) -> None:
    winner = Winner(variant="v1", winner=(0, 2), fold=(0, 1), explained=(2,), judge=(1,))
    path = write_winner(tmp_path / "winner.json", winner)
    assert read_winner(path) == winner
    # The tool of the workflow takes these keys out of the file.
    assert json.loads(path.read_text()) == {
        "schema_version": 1, "variant": "v1", "winner": [0, 2], "fold": [0, 1], "explained": [2], "judge": [1],
        "guards_fired": [], "better_than_chance": False,
    }  # fmt: skip


@pytest.mark.parametrize("explained", [[1], [-1], [0, 0]])
def test_only_the_winners_runs_are_explained(tmp_path: Path, explained: list[int]) -> None:
    document = {"schema_version": 1, "variant": "v1", "winner": [0, 2], "fold": [0, 1]}
    document |= {"explained": explained, "judge": [-1] * len(explained)}
    (tmp_path / "winner.json").write_text(json.dumps(document))
    with pytest.raises(ClaireError, match=r"winner\.json is not valid"):
        read_winner(tmp_path / "winner.json")


def test_every_explained_run_has_a_judge_or_none() -> None:
    with pytest.raises(ValidationError, match="1 runs to be explained have 2 judges"):
        Winner(variant="v1", winner=(0, 2), fold=(0, 1), explained=(2,), judge=(1, 3))


@pytest.mark.parametrize("fold", [(0,), (0, 1, 2), ()])
def test_every_run_of_the_winner_has_a_fold(fold: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match=f"2 runs have {len(fold)} folds"):
        Winner(variant="v1", winner=(0, 2), fold=fold, explained=(), judge=())
