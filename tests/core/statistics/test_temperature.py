"""Temperature: found where it is known, and none where nothing identifies it."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.statistics.decisions import log_losses
from claire.core.statistics.temperature import fit_temperature, temper


def drawn(temperature: float, n: int = 20_000, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Draw classes from probabilities; return these as a network would say them that is too sure by `temperature`."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1.5, (n, classes))
    truth = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    target = (rng.random(n)[:, None] > truth.cumsum(1)).sum(1)
    said = np.exp(scores * temperature)
    return said / said.sum(1, keepdims=True), target


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_the_scores_were_made_with_is_found(temperature: float, classes: int) -> None:
    probability, target = drawn(temperature, classes=classes)
    assert fit_temperature(probability, target) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_smaller_log_loss() -> None:
    probability, target = drawn(2.0, n=60)
    best = fit_temperature(probability, target)
    assert best is not None
    losses = [log_losses(temper(probability, t), target).mean() for t in (0.9 * best, best, 1.1 * best)]
    assert losses[1] == min(losses)


def test_the_order_of_probabilities_stays_and_they_add_up_to_one() -> None:
    probability, _ = drawn(2.0, n=50)
    tempered = temper(probability, 3.0)
    np.testing.assert_allclose(tempered.sum(1), 1)
    np.testing.assert_array_equal(np.argsort(tempered[:, 1]), np.argsort(probability[:, 1]))
    assert temper(probability, None) is probability


@pytest.mark.parametrize(
    ("positive", "target"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]),  # separated: the colder the better
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1]),  # the contrary: the hotter the better
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 1, 1]),  # one class
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1]),  # nothing said
    ],
)
def test_what_nothing_identifies_is_none(positive: list[float], target: list[int]) -> None:
    probability = np.array(positive)
    assert fit_temperature(np.column_stack([1 - probability, probability]), np.array(target)) is None
