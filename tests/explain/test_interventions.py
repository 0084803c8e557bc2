"""Lesions removed from scans whose answer is known: effects, ranks, Shapley values, crucial sets, faithfulness."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.contracts.metrics import Figure
from claire.explain.lesions import interventions
from claire.explain.lesions.candidates import Candidates
from claire.explain.lesions.interventions import Effects, Removals, crucial_set
from claire.explain.maps import faithfulness

from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def lesion_and_bystander(trained: Trained) -> Candidates:
    """The lesion, and a piece of healthy lung on the other side."""
    view = trained.case("positive").view
    labels = ((view.hu > -600) & (view.lungs > 0)).astype(np.int16)
    side = view.lungs[labels == 1][0]
    labels[2:4, 10:14, 5:9] = np.where(view.lungs[2:4, 10:14, 5:9] == 3 - side, 2, labels[2:4, 10:14, 5:9])
    if not (labels == 2).any():
        labels[2:4, 10:14, 19:23] = 2
    return Candidates(labels, (("hu",), ("grad_cam",)), (False, False))


def removals(trained: Trained) -> Removals:
    case, found = trained.case("positive"), lesion_and_bystander(trained)
    labels = interventions.removal_labels(found, case)
    fills = interventions.make_infills(case, labels > 0, np.random.default_rng(0))
    return Removals(trained.probe, case, labels, fills)


def test_infills_look_like_clean_lung(trained: Trained) -> None:
    case, found = trained.case("positive"), lesion_and_bystander(trained)
    fills = interventions.make_infills(case, found.labels > 0, np.random.default_rng(0))
    hole = found.labels == 1
    assert np.abs(fills["constant"][hole] + 850).max() < 25
    assert 10 < fills["noise"][hole].std() < 50


def test_a_hole_has_a_rim_and_stays_within_the_lungs(trained: Trained) -> None:
    case, found = trained.case("positive"), lesion_and_bystander(trained)
    labels = interventions.removal_labels(found, case)
    assert (labels == 1).sum() > (found.labels == 1).sum()
    assert not labels[case.view.lungs == 0].any()


def test_the_lesion_decides_and_the_bystander_does_not(trained: Trained) -> None:
    effects = interventions.measure(removals(trained), 2, 1)
    rank, low, high = interventions.ranks(effects)
    assert effects.delta()[0] > 5 * abs(effects.delta()[1])
    assert rank.tolist() == low.tolist() == high.tolist() == [1, 2]
    assert effects.probability[0] > 0.1


def test_cached_answers_are_those_of_the_whole_volume(trained: Trained) -> None:
    cached = removals(trained)
    queries = [("", frozenset()), ("noise", frozenset({1})), ("constant", frozenset({1, 2})), ("noise", frozenset({2}))]
    whole = [trained.probe.evaluate([cached._altered(query)], trained.case("positive").lungs)[0] for query in queries]
    np.testing.assert_allclose(cached.logits(queries), whole, atol=1e-4)
    asked = cached.evaluations
    cached.logits(queries)
    assert cached.evaluations == asked


def test_shapley_values_add_up(trained: Trained) -> None:
    made = removals(trained)
    effects = interventions.measure(made, 2, 1)
    values = interventions.shapley(made, 2, 1)
    everything = [made.logits([("", frozenset())])[0], *made.logits([(n, frozenset({1, 2})) for n in made.infills])]
    odds = interventions.log_odds_of(np.array(everything), 1)
    assert values.sum() == pytest.approx(odds[0] - odds[1:].mean(), abs=1e-6)
    assert np.argmax(values) == np.argmax(effects.delta())


def test_an_infill_that_disagrees_widens_the_rank_only() -> None:
    two = {"constant": np.array([3.0, 1.0]), "noise": np.array([2.0, 1.0]), "healing": np.array([0.0, 9.0])}
    rank, low, high = interventions.ranks(Effects(two, two, np.zeros(2)))
    assert rank.tolist() == [1, 2]
    assert (low.tolist(), high.tolist()) == ([1, 1], [2, 2])


def test_the_crucial_set_is_pruned_to_what_cannot_be_spared() -> None:
    needed = {2, 3}
    found = crucial_set(np.array([5.0, 4.0, 3.0, 1.0]), lambda removed: needed <= removed)
    assert found == {2, 3}


def test_a_tie_that_could_stand_in_is_named_too() -> None:
    found = crucial_set(np.array([4.0, 3.99, 1.0]), lambda removed: bool(removed & {1, 2}))
    assert found == {1, 2}


def test_lesions_that_speak_against_a_decision_do_not_hide_those_that_carry_it() -> None:
    evidence = np.array([3.0, 2.0, -6.0])
    found = crucial_set(evidence, lambda removed: sum(evidence[one - 1] for one in removed) > 4)
    assert found == {1, 2}


def test_nothing_is_crucial_where_all_together_do_not_turn_it() -> None:
    assert crucial_set(np.array([4.0, 3.0]), lambda removed: False) == frozenset()


def test_deletion_and_insertion_prefer_the_map_of_the_lesion(trained: Trained) -> None:
    case, found = trained.case("positive"), lesion_and_bystander(trained)
    noise = interventions.make_infills(case, found.labels > 0, np.random.default_rng(1))["noise"]
    maps = {"good": (found.labels == 1) * 1.0, "bad": (found.labels != 1) * 1.0}
    curves = faithfulness.curves(trained.probe, case, maps, noise, 1)
    assert curves["good"][0] < curves["bad"][0]
    assert curves["good"][1] > curves["bad"][1]


def test_methods_are_summed_up_by_outcome_against_the_threshold() -> None:
    curves = faithfulness.ScanCurves
    scans = [curves(f"P{i // 2}", "TP", {"grad_cam": (0.1, 0.9), "hu_smoothed": (0.5, 0.5)}) for i in range(6)]
    scans.append(curves("P9", "FP", {"grad_cam": (0.5, 0.5), "hu_smoothed": (0.1, 0.9)}))
    rows = faithfulness.summarise(scans, 0)
    assert [(row.method, row.outcome, row.n) for row in rows][:2] == [("grad_cam", "TP", 3), ("hu_smoothed", "TP", 3)]
    assert rows[0].gain_over_hu == Figure(value=0.8, lower=0.8, upper=0.8)
    assert rows[2].gain_over_hu == Figure(value=-0.8)
    assert rows[1].gain_over_hu is None


def test_a_patients_scans_make_no_interval_narrower() -> None:
    rng = np.random.default_rng(0)
    once = [faithfulness.ScanCurves(f"P{i}", "TP", {"hu_smoothed": (rng.random(), rng.random())}) for i in range(10)]
    assert faithfulness.summarise(once * 3, 0) == faithfulness.summarise(once, 0)
