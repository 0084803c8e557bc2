"""Lesions removed from scans whose answer is known: effects, ranks, Shapley values, crucial sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from claire.explain.lesions import interventions
from claire.explain.lesions.candidates import Candidates, find_candidates, removal_labels
from claire.explain.lesions.interventions import Effects, Removals, crucial_set
from claire.explain.probe import Case, log_odds_of

from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.lungs import SPOT, Dense, case_of, two_lungs
from tests.support.synthetic import CohortFiles

OTHER = np.s_[5:8, 12:18, 6:12]
ALL = frozenset({1, 2, 3})


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def removals(probe: Any, case: Case) -> tuple[Removals, Candidates]:
    found = find_candidates(case, {}, 16)
    taken = removal_labels(found, case.prepared_lungs)
    return Removals(probe, case, taken, interventions.make_infills(case, taken > 0, np.random.default_rng(0))), found


def two_lesions(**network: float) -> tuple[Removals, Candidates, Case]:
    """A left and a right lesion of the same size, under a network that counts dense ml."""
    case = case_of(*two_lungs((SPOT, -350.0), (OTHER, -350.0)))
    return (*removals(Dense(**network), case), case)


def test_the_lesion_decides_and_the_bystander_does_not() -> None:
    made, found, _ = two_lesions(left=0.5, right=0.0)
    effects = interventions.measure(made, 2, found.everything, 1)
    decisive = int(found.labels[3, 14, 26]) - 1
    rank, low, high = interventions.ranks(effects)
    assert rank[decisive] == 1
    assert effects.delta()[decisive] > 3
    assert abs(effects.delta()[1 - decisive]) < 0.1
    assert low[decisive] == high[decisive] == 1
    assert effects.probability[decisive] > 0.5
    assert effects.noise() < 0.2


def test_a_trained_network_is_answered_through_its_view(trained: Trained) -> None:
    case = trained.case("positive")
    made, found = removals(trained.probe, case)
    effects = interventions.measure(made, len(found), found.everything, 1)
    assert effects.delta()[0] > 1
    assert effects.empty["constant"] < 0


def test_sets_are_sums_of_single_removals_and_equal_the_view_of_the_altered_scan(trained: Trained) -> None:
    case = trained.case("positive")
    hu = case.prepared_hu.astype(np.float32)
    labels = np.zeros(hu.shape, np.int16)
    labels[2:4, 10:14, 5:9], labels[3:6, 16:22, 19:24] = 1, 2
    labels = np.where(case.prepared_lungs > 0, labels, 0)
    fills = interventions.make_infills(case, labels > 0, np.random.default_rng(0))
    made = Removals(trained.probe, case, labels, fills)
    for removed in (frozenset({1}), frozenset({2}), frozenset({1, 2})):
        altered = np.where(np.isin(labels, list(removed)), fills["noise"], hu)
        expected = torch.from_numpy(case.projection.apply(altered))
        torch.testing.assert_close(made.view_without(("noise", removed)), expected, atol=0.51, rtol=0)


def test_cached_answers_are_those_of_the_whole_volume(trained: Trained) -> None:
    case = trained.case("positive")
    cached, _ = removals(trained.probe, case)
    queries = [("", frozenset()), ("noise", frozenset({1})), ("constant", frozenset({1, 2}))]
    whole = [trained.probe.evaluate([cached.view_without(query)], case.lungs)[0] for query in queries]
    np.testing.assert_allclose(cached.logits(queries), whole, atol=1e-4)
    asked = cached.evaluations
    cached.logits(queries)
    assert cached.evaluations == asked


def test_what_the_network_does_not_see_has_no_effect() -> None:
    case = case_of(*two_lungs((SPOT, -350.0)), FLAT.model_copy(update={"slices": 2, "size": 40}))
    labels = np.zeros(case.prepared_hu.shape, np.int16)
    labels[5] = case.prepared_lungs[5] > 0
    assert 5 not in case.projection.rows
    made = Removals(Dense(), case, labels, {"constant": np.zeros(labels.shape, np.float32)})
    before, after = made.logits([("", frozenset()), ("constant", frozenset({1}))])
    assert np.array_equal(before, after)


def test_shapley_values_add_up_and_lesions_that_add_do_not_interact() -> None:
    made, found, _ = two_lesions(left=0.5, right=0.1)
    shares = interventions.shapley(made, 2, found.everything, 1)
    queries = [("", frozenset()), *((name, found.everything) for name in made.infills)]
    odds = log_odds_of(made.logits(queries), 1)
    assert shares.values.sum() == pytest.approx(odds[0] - odds[1:].mean(), abs=1e-6)
    assert np.abs(shares.interactions).max() < 0.05


class Either:
    """A network for which any dense lesion is enough."""

    slicewise = False

    def evaluate(self, volumes: list[torch.Tensor], lungs: torch.Tensor) -> np.ndarray:
        odds = [4.0 * float(((hu > -600) & lungs).any()) - 2 for hu in volumes]
        return np.column_stack([np.zeros(len(odds)), odds])


def test_lesions_of_which_one_is_enough_interact_below_zero() -> None:
    made, found = removals(Either(), case_of(*two_lungs((SPOT, -350.0), (OTHER, -350.0))))
    shares = interventions.shapley(made, 2, found.everything, 1)
    assert shares.interactions[0, 1] == pytest.approx(-4)
    assert shares.interactions[0, 0] == 0
    assert shares.values.tolist() == pytest.approx([2, 2])


def test_an_infill_that_disagrees_widens_the_rank_and_the_noise() -> None:
    agreeing = {"constant": np.array([3.0, 1.0]), "noise": np.array([3.0, 1.0])}
    differing = {"constant": np.array([3.0, 1.0]), "noise": np.array([0.0, 9.0])}
    empty = {"constant": -3.0, "noise": -3.0}
    same, other = (Effects(each, each, np.zeros(2), empty) for each in (agreeing, differing))
    assert interventions.ranks(same)[1].tolist() == interventions.ranks(same)[2].tolist() == [1, 2]
    assert interventions.ranks(other)[1].tolist() == [1, 1]
    assert (same.noise(), other.noise() > 2) == (0.0, True)


def test_the_crucial_set_is_pruned_to_what_cannot_be_spared() -> None:
    needed = {2, 3}
    found = crucial_set([1, 2, 3, 4], np.array([5.0, 4.0, 3.0, 1.0]), lambda removed: needed <= removed)
    assert found == {2, 3}


def test_a_tie_that_could_stand_in_is_named_too() -> None:
    found = crucial_set([1, 2, 3], np.array([4.0, 3.99, 1.0]), lambda removed: bool(removed & {1, 2}))
    assert found == {1, 2}


def test_lesions_that_speak_against_a_decision_do_not_hide_those_that_carry_it() -> None:
    weight = np.array([3.0, 2.0, -6.0])
    found = crucial_set([1, 2], weight, lambda removed: sum(weight[one - 1] for one in removed) > 4)
    assert found == {1, 2}


def test_nothing_is_crucial_where_all_together_do_not_turn_it() -> None:
    assert crucial_set([1, 2], np.array([4.0, 3.0]), lambda removed: False) == frozenset()
