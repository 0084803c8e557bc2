"""The choice on validation: winner, ties, nested headline, correction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.result_tables import read_leaderboard
from claire.core.contracts.winner import read_winner
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate.selection import correct_for_choice, nested, rank

from tests.evaluate.helpers import evaluated, experiment_of
from tests.support.runs import World, told_apart, variants


def test_the_winner_is_best_on_validation_never_on_test(world: World, out: Path) -> None:
    good, bad = variants(2)
    for fold in range(3):
        world.train(good, fold, told_apart(3), seed=1)
        world.train(bad, fold, told_apart(0.3), seed=2)
    metrics = evaluated(world, out)
    first = read_leaderboard(out / "leaderboard.csv")[0]
    assert metrics.winner.variant == first.variant == good.id
    assert (first.rank, first.winner, first.differs) == (1, True, "seed=0")
    assert [selection.variant for selection in metrics.headline.selection] == [good.id] * 3
    # The workflow engines read this file by its keys.
    assert json.loads((out / "winner.json").read_text()) == {
        "schema_version": 1,
        "variant": good.id,
        "winner": [0, 2, 4],
        "fold": [0, 1, 2],
        "explained": [0, 2, 4],
        "judge": [-1, -1, -1],
        "guards_fired": [],
        "better_than_chance": True,
    }


def test_the_judge_is_the_best_run_of_another_architecture_on_the_same_grid(world: World, out: Path) -> None:
    good, same, weak, strong, coarse = variants(5)
    others = {"weak": ("resnet34", 0.5), "strong": ("densenet121", 2), "coarse": ("vgg11", 3)}
    for fold in range(3):
        world.train(good, fold, told_apart(4), seed=1)
        world.train(same, fold, told_apart(3), seed=2)
        for number, (variant, (name, skill)) in enumerate(zip((weak, strong, coarse), others.values(), strict=True)):
            size = 96 if name == "vgg11" else variant.size
            changed = variant.model_copy(update={"architecture": f"torchvision:{name}", "size": size})
            world.train(changed, fold, told_apart(skill), seed=3 + number)
    evaluated(world, out)
    winner = read_winner(out / "winner.json")
    assert winner.judge == tuple(position + 3 for position in winner.winner)


def test_ties_go_to_the_lower_loss_then_the_smaller_id(world: World, out: Path) -> None:
    unsure, sure, same = variants(3)
    for fold in range(3):
        world.train(unsure, fold, lambda _, target: 0.4 + 0.2 * target)
        world.train(sure, fold, lambda _, target: 0.1 + 0.8 * target)
        world.train(same, fold, lambda _, target: 0.1 + 0.8 * target)
    assert evaluated(world, out).winner.variant == min(sure.id, same.id)


def test_choosing_among_noise_gains_nothing_but_the_flattered_winner(tmp_path: Path) -> None:
    headline, corrected, winner = [], [], []
    for seed in range(10):
        # Each variant has a bias for each patient of its own, so a lucky one is lucky on validation and on test.
        world = World(tmp_path / str(seed), stubborn=True)
        for number, variant in enumerate(variants(12)):
            for fold in range(3):
                world.train(variant, fold, told_apart(0), seed=100 * seed + number)
        experiment = experiment_of(world)
        strata = list(zip(experiment.test_fold, experiment.target.tolist(), strict=True))
        ranking = rank(experiment, bootstrap_weights(strata, 100, 0))
        chosen = nested(experiment, ranking)
        headline.append(np.mean([ranking.test_auc(name, [fold])[0] for fold, name in chosen.items()]))
        corrected.append(correct_for_choice(ranking, experiment.eligible).value)
        winner.append(ranking.test_auc(ranking.order(experiment.eligible)[0])[0])
    assert np.mean(winner) > 0.58
    assert np.mean(headline) == pytest.approx(0.5, abs=0.06)
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.06)
