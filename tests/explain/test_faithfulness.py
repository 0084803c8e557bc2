"""Deletion and insertion of whole lesions, relative to the network's own answers, and their figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from claire.core.contracts.lesions import Outcome
from claire.explain.maps import faithfulness
from claire.explain.maps.faithfulness import ScanCurves, curves, lesion_scores, summarise
from claire.explain.probe import log_odds_of

from tests.support.lungs import SHAPE, SPOT, case_of, two_lungs

WEIGHTS = np.array([4.0, 2.0, 1.0])
EVERYTHING = frozenset({1, 2, 3, 4})


class Sum:
    """Log-odds that fall by the weight of each removed lesion."""

    def __init__(self, weights: np.ndarray = WEIGHTS, offset: float = 0.0) -> None:
        self.weights, self.offset = weights, offset

    def mean_logits(self, removed: Sequence[frozenset[int]]) -> np.ndarray:
        odds = [self.offset + sum(self.weights[i] for i in range(3) if i + 1 not in gone) for gone in removed]
        return np.column_stack([np.zeros(len(odds)), odds])


def test_the_order_of_the_truth_is_best_and_equals_a_direct_computation() -> None:
    areas = curves(Sum(), {"best": WEIGHTS, "worst": -WEIGHTS}, EVERYTHING, 1)
    assert areas["best"] == pytest.approx(
        (np.trapezoid([1, 3 / 7, 1 / 7, 0]) / 3, np.trapezoid([0, 4 / 7, 6 / 7, 1]) / 3)
    )
    assert areas["best"][0] < areas["worst"][0]
    assert areas["best"][1] > areas["worst"][1]


def test_a_curve_runs_from_exactly_one_to_exactly_zero() -> None:
    tops = [frozenset(range(1, k + 1)) for k in range(4)]
    full, empty = log_odds_of(Sum(offset=-1.3).mean_logits([tops[0], tops[-1]]), 1)
    curve = faithfulness._normalised(Sum(offset=-1.3), tops, 1, full, empty)
    assert (curve[0], curve[-1]) == (1, 0)
    assert (np.diff(curve) < 0).all()


def test_a_constant_of_the_log_odds_changes_nothing() -> None:
    plain, moved = (curves(Sum(offset=offset), {"best": WEIGHTS}, EVERYTHING, 1) for offset in (0.0, -50.0))
    assert plain["best"] == pytest.approx(moved["best"])


@pytest.mark.parametrize("weights", [np.zeros(3), -WEIGHTS])
def test_a_scan_that_does_not_fall_without_its_lesions_has_no_curve(weights: np.ndarray) -> None:
    assert curves(Sum(weights), {"best": WEIGHTS}, EVERYTHING, 1) == {}


def test_one_lesion_has_no_order() -> None:
    assert curves(Sum(), {"best": WEIGHTS[:1]}, EVERYTHING, 1) == {}


def test_an_overshoot_is_limited() -> None:
    areas = curves(Sum(np.array([1.0, 100.0, -99.0])), {"best": np.array([1.0, 3.0, 2.0])}, EVERYTHING, 1)
    assert -0.5 <= areas["best"][0] <= 1.5


def test_a_lesion_scores_the_sum_of_a_map_inside_it_but_chance_the_mean() -> None:
    case = case_of(*two_lungs((SPOT, -400.0)))
    labels = np.zeros(SHAPE, np.int16)
    labels[SPOT], labels[6:8, 12:14, 6:8] = 1, 2
    values = np.ones(SHAPE, np.float32)
    scores = lesion_scores(labels, 2, {"grad_cam": values, "random": values, "gradient": -values}, case)
    assert scores["grad_cam"].tolist() == [108, 8]
    assert scores["random"].tolist() == [1, 1]
    assert scores["gradient"].tolist() == [0, 0]


def scan(patient: str, outcome: Outcome, gain: float) -> ScanCurves:
    return ScanCurves(patient, outcome, {"interventions": (0.2, 0.6 + gain), faithfulness.BASELINE: (0.2, 0.6)})


def test_figures_count_patients_by_outcome_and_gains_are_paired() -> None:
    scans = [scan(f"P{i // 2}", "TP", 0.1) for i in range(8)] + [scan("Q", "FP", -0.1), ScanCurves("R", "FP", {})]
    rows = {(row.method, row.outcome): row for row in summarise(scans, 0)}
    assert (rows["interventions", "TP"].n, rows["interventions", "FP"].n) == (4, 1)
    gain = rows["interventions", "TP"].gain_over_hu
    assert gain is not None
    assert (gain.value, gain.lower) == (pytest.approx(0.1), pytest.approx(0.1))
    assert rows[faithfulness.BASELINE, "TP"].gain_over_hu is None
    assert rows["interventions", "FP"].deletion_auc.lower is None
