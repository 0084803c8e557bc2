"""A predictor at every level: patients, scans, slices, external patients; calibration."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from claire.core.contracts.metrics import Count
from claire.core.contracts.result_tables import read_curves
from claire.core.contracts.variant import Variant

from tests.evaluate.helpers import ExternalWorld, FixedTestWorld, evaluated
from tests.support.runs import World, told_apart, variants


def test_several_scans_of_a_patient_count_once(tmp_path: Path, out: Path) -> None:
    world = World(tmp_path / "world", scans_each=3)
    world.train_all(variants(1), told_apart(0.7))
    variant = evaluated(world, out).variants[variants(1)[0].id]
    assert variant.n == Count(patients=60, scans=180)
    assert sum(map(sum, variant.confusion.matrix)) == 60
    # The mean of three scans ranks better than one.
    assert variant.patient["auc"].value > variant.scan["auc"].value


def test_slice_metrics_are_of_true_labels_or_marked(world: World, out: Path) -> None:
    world.train_all([Variant(labels="inherited")], told_apart(1), slices=4)
    headline = evaluated(world, out).headline
    assert headline.slice is None
    assert headline.slice_inherited.statement == "original's slice metrics (inherited labels)"
    assert headline.slice_inherited.figures["auc"].value > 0.5
    assert headline.scan_by_slices["auc"].value > 0.5


def test_labelled_slices_have_metrics_of_their_own(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1), slices=4, labelled=True)
    headline = evaluated(world, out).headline
    assert headline.slice["auc"].lower < headline.slice["auc"].value
    assert headline.slice_inherited is None


def test_calibration_wants_fifty_patients_a_class(tmp_path: Path, out: Path) -> None:
    few, enough = World(tmp_path / "few"), World(tmp_path / "enough", patients=120)
    for world in (few, enough):
        world.train_all(variants(1), told_apart(1))
    assert evaluated(few, out).headline.calibration.note == "too few (n=30, 30)"
    calibration = evaluated(enough, tmp_path / "more").headline.calibration
    assert calibration.slope.lower < calibration.slope.value < calibration.slope.upper
    assert "calibration" in {point.curve for point in read_curves(tmp_path / "more" / "curves.csv")}


def test_external_patients_stand_apart(tmp_path: Path, out: Path) -> None:
    world = ExternalWorld(tmp_path / "world")
    world.train_fixed(variants(1)[0])
    metrics = evaluated(world, out)
    assert metrics.headline.external.patients == 12
    assert metrics.headline.n.patients == 48
    assert metrics.n.by_fold["external"] == {"negative": 6, "positive": 6}


def test_patients_tested_in_every_fold_by_the_labels_table_are_no_leak(tmp_path: Path, out: Path) -> None:
    world = FixedTestWorld(tmp_path / "world")
    world.train_fixed(variants(1)[0])
    metrics = evaluated(world, out)
    assert metrics.headline.n.patients == 60
    assert metrics.headline.patient["auc"].delong_lower is None
    assert '"delong_lower"' not in (out / "metrics.json").read_text()


def test_the_prior_of_class_weights_is_taken_back_before_calibration(tmp_path: Path) -> None:
    class QuarterPositive(World):
        def target(self, i: int) -> int:
            return int(i % 8 < 2)

    intercepts = {}
    for weighted in (True, False):
        world = QuarterPositive(tmp_path / str(weighted), patients=240)
        world.train_all([Variant(class_weights=weighted)], told_apart(1))
        intercepts[weighted] = evaluated(world, tmp_path / f"out-{weighted}").headline.calibration.intercept.value
    # The same scores: those of the network that learned a prior of one half are shifted to odds of 1 to 3.
    assert intercepts[True] - intercepts[False] == pytest.approx(math.log(3), abs=1e-5)


def test_calibration_is_for_two_classes(tmp_path: Path, out: Path) -> None:
    world = World(tmp_path / "world", patients=90, classes=("normal", "covid", "other"))
    world.train_all(variants(1), told_apart(2), slices=2)
    headline = evaluated(world, out).headline
    assert headline.calibration.note == "for two classes only"
    assert headline.scan_by_slices is None
