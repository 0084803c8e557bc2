"""What the explained network decides: by the one rule of the pipeline, for two classes and for three."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.lesions import Refinement
from claire.core.contracts.run import Predictions
from claire.core.contracts.weights import read_weights
from claire.core.statistics.decisions import decide
from claire.evaluate.measure import measure, thresholds
from claire.evaluate.samples import Sample
from claire.explain import Parameters
from claire.explain.documents import write_explained_weights
from claire.explain.probe import Cases, probabilities, target_class
from claire.explain.refine import ChosenNetwork, judge_refinement, predicted_operating_point, refinement_of, scores
from claire.explain.scan import Setting, _call
from hypothesis import given
from hypothesis import strategies as st

from tests.support.explaining import FLAT, Trained, train_tiny
from tests.support.synthetic import CohortFiles

NOT_TAKEN = Refinement(taken=False, reason="not asked for", steps=0)
#: Anything but the reference is likelier together, no other class is likelier alone.
TORN = np.log([0.45, 0.30, 0.25])


@pytest.fixture(scope="module")
def trained(cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_tiny(cohort_files, FLAT, tmp_path_factory.mktemp("run"), steps=1)


def chosen(trained: Trained, point: float | None, refinement: Refinement = NOT_TAKEN) -> ChosenNetwork:
    nothing = np.zeros((0, 3)), np.zeros(0, bool)
    return ChosenNetwork(trained.probe, refinement, point, [], *nothing, None)


def setting(trained: Trained, classes: tuple[str, ...], point: float | None) -> Setting:
    files = {"weights": trained.weights, "run": trained.run, "cohort": trained.files.cohort}
    parameters = Parameters(**files, folds=trained.files.folds)
    cases = Cases(trained.cohort, trained.variant)
    return Setting(chosen(trained, point), None, None, True, classes, parameters, cases)


def decided_by_evaluate(logits: np.ndarray) -> list[int]:
    """Return the classes that evaluate decides for scans with these logits (scans, 3)."""
    sample = Sample(np.arange(len(logits)), np.zeros(len(logits), int), probabilities(logits))
    return measure(sample, thresholds(sample), np.ones((1, len(logits)))).decision.tolist()


def test_three_classes_of_which_none_is_likelier_than_the_reference_are_the_reference(trained: Trained) -> None:
    assert float(scores(TORN)) == pytest.approx(0.55)
    assert int(chosen(trained, None).decide(TORN)) == 0
    assert decided_by_evaluate(TORN[None]) == [0]


@pytest.mark.parametrize(("label", "outcome"), [("normal", "TN"), ("covid", "FN"), ("flu", "FN")])
def test_the_page_of_such_a_scan_says_what_the_confusion_matrix_says(
    trained: Trained, label: str, outcome: str
) -> None:
    scan = trained.cohort.scans[0].model_copy(update={"label": label})
    said = _call(scan, setting(trained, ("normal", "covid", "flu"), None), TORN)
    assert (said.decision, said.outcome, said.explained_class) == ("normal", outcome, "covid")
    assert said.probability == pytest.approx(0.55)


@pytest.mark.parametrize(("label", "outcome"), [("normal", "FP"), ("covid", "TP"), ("flu", "TP")])
def test_a_scan_that_is_called_another_class_is_called_positive(trained: Trained, label: str, outcome: str) -> None:
    scan = trained.cohort.scans[0].model_copy(update={"label": label})
    said = _call(scan, setting(trained, ("normal", "covid", "flu"), None), np.log([0.3, 0.3, 0.4]))
    assert (said.decision, said.outcome, said.explained_class) == ("flu", outcome, "flu")


@given(st.lists(st.lists(st.floats(-4, 4), min_size=3, max_size=3), min_size=1, max_size=20))
def test_explain_decides_three_classes_as_evaluate_does(trained: Trained, drawn: list[list[float]]) -> None:
    logits = np.array(drawn)
    assert chosen(trained, None).decide(logits).tolist() == decided_by_evaluate(logits)
    assert all(target_class(each) != 0 for each in logits)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=20), st.floats(0.05, 0.95))
def test_two_classes_are_decided_at_the_operating_point(trained: Trained, drawn: list[float], point: float) -> None:
    logits = np.column_stack([np.zeros(len(drawn)), drawn])
    decided = chosen(trained, point).decide(logits)
    assert decided.tolist() == decide(probabilities(logits), point).tolist()
    assert decided.tolist() == (scores(logits) >= point).astype(int).tolist()


@pytest.mark.parametrize(("classes", "point"), [(2, 0.5), (3, None), (5, None)])
def test_without_predictions_the_operating_point_is_a_half_of_two_classes(classes: int, point: float | None) -> None:
    assert predicted_operating_point(None, classes) == point


def test_the_operating_point_is_that_of_the_validation_predictions() -> None:
    positive = np.array([0.1, 0.2, 0.6, 0.9])
    names, target = np.array(["S"] * 4), np.array([0, 0, 1, 1])
    predicted = Predictions(names, names, np.full(4, -1), target, np.column_stack([1 - positive, positive]))
    assert predicted_operating_point(predicted, 2) == pytest.approx(0.4)


@pytest.mark.parametrize("taken", [True, False])
def test_explained_weights_say_whether_they_were_refined_and_repeat(
    trained: Trained, tmp_path: Path, taken: bool
) -> None:
    network = chosen(trained, None, NOT_TAKEN.model_copy(update={"taken": taken}))
    facts = read_weights(trained.weights)[1]
    paths = [write_explained_weights(tmp_path / f"{i}.explained.safetensors", facts, network) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert read_weights(paths[0])[1] == facts.model_copy(update={"refined": taken})


@pytest.mark.parametrize(
    ("asked", "augmentation", "kind"),
    [
        ("auto", "standard", "healed"),
        ("auto", "healed", "none"),
        ("attacked", "healed", "attacked"),
        ("none", "none", "none"),
    ],
)
def test_a_network_that_did_not_learn_from_healed_copies_is_refined_on_them(
    asked: str, augmentation: str, kind: str
) -> None:
    assert refinement_of(asked, augmentation) == kind


@pytest.mark.parametrize(("noise", "taken"), [(0.0, True), (3.0, False)])
def test_refinement_is_taken_only_where_it_does_no_harm(noise: float, taken: bool) -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(60) % 2 == 1
    before = positive + rng.normal(0, 0.2, 60)
    after = before + rng.normal(0, noise, 60) if noise else before
    assert judge_refinement(before, after, positive, np.arange(60), 0.02, 0).taken is taken


def test_refinement_is_never_taken_on_few_scans() -> None:
    score = np.arange(10.0)
    found = judge_refinement(score, score, score > 4, np.arange(10), 0.02, 0)
    assert not found.taken
    assert "n=10 < 20" in found.reason


def test_a_wider_margin_takes_what_a_narrow_one_cannot_show() -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(60) % 2 == 1
    truth = 2 * positive + rng.normal(0, 1, 60)
    before, after = (truth + rng.normal(0, 0.2, 60) for _ in range(2))
    taken = [judge_refinement(before, after, positive, np.arange(60), margin, 0).taken for margin in (0.0, 0.2)]
    assert taken == [False, True]
