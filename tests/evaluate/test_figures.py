"""Every metric with its interval, also where all bootstrap samples agree."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.metrics import METRICS, Figure
from claire.core.contracts.result_tables import read_comparisons, read_curves
from claire.evaluate.figures import decision_figures, figures
from claire.evaluate.measure import confusion, measure, thresholds
from claire.evaluate.samples import Sample
from sklearn import metrics as oracle

from tests.evaluate.helpers import evaluated, experiment_of
from tests.support.runs import World, told_apart, variants


def make_sample(classes: int, n: int = 60, seed: int = 0) -> Sample:
    """Return one item per patient, ranked better than by chance."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % classes
    raw = np.exp(rng.normal(size=(n, classes)) + 0.8 * np.eye(classes)[target])
    return Sample(np.arange(n), target, raw / raw.sum(axis=1, keepdims=True))


def values(measured: dict[str, Figure]) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in measured.items()}


def test_two_classes_agree_with_sklearn() -> None:
    sample = make_sample(2)
    measured = values(figures([measure(sample, (0.4, 0.2), np.ones((100, 60)))], prevalence=0.5))
    score, called = sample.probability[:, 1], sample.probability[:, 1] >= 0.4
    assert measured["auc"] == pytest.approx(oracle.roc_auc_score(sample.target, score), abs=1e-6)
    assert measured["log_loss"] == pytest.approx(oracle.log_loss(sample.target, score), abs=1e-6)
    assert measured["brier"] == pytest.approx(oracle.brier_score_loss(sample.target, score), abs=1e-6)
    assert measured["accuracy"] == pytest.approx(oracle.accuracy_score(sample.target, called), abs=1e-6)
    assert measured["f1"] == pytest.approx(oracle.f1_score(sample.target, called), abs=1e-6)
    assert measured["precision"] == pytest.approx(oracle.precision_score(sample.target, called), abs=1e-6)
    assert measured["recall"] == pytest.approx(oracle.recall_score(sample.target, called), abs=1e-6)


def test_the_second_operating_point_is_that_of_the_decisions_alone() -> None:
    sample = make_sample(2)
    measured = values(decision_figures([measure(sample, (0.4, 0.2), np.ones((100, 60)))], prevalence=0.5))
    called = sample.probability[:, 1] >= 0.2
    assert set(measured) == set(METRICS) - {"auc", "auprg", "log_loss", "brier"}
    assert measured["accuracy"] == pytest.approx(oracle.accuracy_score(sample.target, called), abs=1e-6)
    assert measured["sensitivity"] == pytest.approx(oracle.recall_score(sample.target, called), abs=1e-6)


def test_three_classes_agree_with_sklearn() -> None:
    sample = make_sample(3)
    measured = values(figures([measure(sample, None, np.ones((100, 60)))], prevalence=0.5))
    decided, how = sample.probability.argmax(axis=1), {"average": "macro", "zero_division": np.nan}
    area = oracle.roc_auc_score(sample.target, sample.probability, multi_class="ovr")
    assert measured["auc"] == pytest.approx(area, abs=1e-6)
    assert measured["log_loss"] == pytest.approx(oracle.log_loss(sample.target, sample.probability), abs=1e-6)
    brier = oracle.brier_score_loss(sample.target, sample.probability, scale_by_half=False)
    assert measured["brier"] == pytest.approx(brier, abs=1e-6)
    assert measured["accuracy"] == pytest.approx(oracle.accuracy_score(sample.target, decided), abs=1e-6)
    assert measured["precision"] == pytest.approx(oracle.precision_score(sample.target, decided, **how), abs=1e-6)
    assert measured["recall"] == pytest.approx(oracle.recall_score(sample.target, decided, **how), abs=1e-6)
    assert measured["ppv"] is None
    assert measured["npv"] is None


@pytest.mark.parametrize("classes", [2, 3])
def test_the_confusion_matrix_agrees_with_sklearn(classes: int) -> None:
    sample = make_sample(classes)
    measured = measure(sample, thresholds(sample), np.ones((2, 60)))
    assert confusion([measured], classes) == oracle.confusion_matrix(sample.target, measured.decision).tolist()


def test_of_three_classes_the_likeliest_is_decided() -> None:
    # The other classes together are likelier than the first, but none of them alone.
    sample = Sample(np.zeros(1, int), np.zeros(1, int), np.array([[0.45, 0.30, 0.25]]))
    measured = measure(sample, thresholds(sample), np.ones((2, 1)))
    assert measured.decision.tolist() == [0]
    assert confusion([measured], 3) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_the_auc_counts_pairs_within_folds(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    (name,) = (variant.id for variant in variants(1))
    metrics = evaluated(world, out)
    runs = experiment_of(world).candidates[name].runs.values()
    tested = [run.scans["test"] for run in runs]
    areas = [oracle.roc_auc_score(predictions.target, predictions.probability[:, 1]) for predictions in tested]
    assert metrics.variants[name].patient["auc"].value == pytest.approx(np.mean(areas), abs=1e-6)


def test_every_metric_lies_in_its_interval(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    variant = evaluated(world, out).variants[variants(1)[0].id]
    for level in (variant.patient, variant.scan):
        assert set(METRICS) == set(level)
        assert all(estimate.lower < estimate.value < estimate.upper for estimate in level.values())
    assert variant.patient["auc"].delong_lower < variant.patient["auc"].value


def test_perfect_separation_has_an_honest_interval_and_fires_a_guard(world: World, out: Path) -> None:
    world.train_all(variants(1), lambda _, target: 0.2 + 0.6 * target)
    metrics = evaluated(world, out)
    patient = metrics.headline.patient
    assert (patient["auc"].value, patient["auc"].upper, patient["auc"].method) == (1.0, 1.0, "newcombe")
    assert 0.8 < patient["auc"].lower < 1
    for name in ("accuracy", "f1", "precision", "sensitivity", "specificity", "odds_ratio", "ppv", "npv"):
        assert patient[name].lower < patient[name].value
    assert all(fold.auc.lower < 1 for fold in metrics.headline.folds)
    assert [guard.name for guard in metrics.guards if guard.fired] == ["auc_too_good"]


def test_without_a_closed_form_there_are_no_limits_where_all_samples_agree(world: World, out: Path) -> None:
    world.train_all(variants(1), lambda _, target: 0.2 + 0.6 * target)
    assert evaluated(world, out).headline.patient["auprg"] == Figure(value=1.0, method="none")


def test_constant_scores_are_worth_nothing(world: World, out: Path) -> None:
    world.train_all(variants(1), lambda *_: 0.5)
    patient = evaluated(world, out).headline.patient
    assert patient["auc"].value == 0.5
    assert patient["log_loss"].value == pytest.approx(math.log(2), abs=1e-6)


def test_a_fold_without_a_class_has_no_auc_and_says_so(tmp_path: Path, out: Path) -> None:
    class Lopsided(World):
        def fold(self, i: int) -> int:
            return i // 2 % 2 if i % 2 else i // 2 % 3  # no positive is tested in fold 2

    world = Lopsided(tmp_path / "world")
    world.train_all(variants(2), told_apart(1.5))
    headline = evaluated(world, out).headline
    last = headline.folds[2]
    assert last.patients == (10, 0)
    assert last.auc == Figure(value=None)
    assert "no AUC" in last.note
    assert headline.folds[1].threshold == 0.5
    assert headline.patient["auc"].value > 0.5


def test_the_prevalence_moves_the_predictive_values(world: World, out: Path, tmp_path: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    own, rare = evaluated(world, out), evaluated(world, tmp_path / "rare", "--prevalence", "0.01")
    assert (own.prevalence, own.prevalence_from) == (0.5, "cohort")
    assert rare.prevalence_from == "stated"
    assert rare.headline.patient["ppv"].value < own.headline.patient["ppv"].value


def test_the_sensitive_operating_point_finds_more(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    headline = evaluated(world, out).headline
    assert headline.at_sensitivity_90["sensitivity"].value >= headline.patient["sensitivity"].value
    assert "auc" not in headline.at_sensitivity_90


def test_three_classes_are_a_case(tmp_path: Path, out: Path) -> None:
    world = World(tmp_path / "world", patients=90, classes=("normal", "covid", "other"))
    world.train_all(variants(2), told_apart(2))
    metrics = evaluated(world, out)
    assert metrics.positive_class is None
    assert 0.7 < metrics.headline.patient["auc"].value < 1
    assert np.sum(metrics.headline.confusion.matrix, axis=1).tolist() == [30, 30, 30]
    assert metrics.headline.at_sensitivity_90 is None
    assert {point.label for point in read_curves(out / "curves.csv")} == {"normal", "covid", "other"}
    assert read_comparisons(out / "comparisons.csv")[0].p is None
