"""A predictor at every level: patients, scans, slices, external patients; calibration."""

from __future__ import annotations

from pathlib import Path

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
