"""New scans by the networks of a model: as evaluate measured them, and refused where they cannot be the same."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.folds import read_folds
from claire.core.contracts.model import read_model
from claire.core.contracts.predictions import PredictionsDocument, read_predictions
from claire.core.contracts.variant import Variant

from tests.support.predicting import Predicted, call


def own_cohort(predicted: Predicted, out: Path) -> PredictionsDocument:
    """Predict the scans of the training cohort by the model."""
    trained = predicted.model.parent
    call("apply", model=predicted.model, prepared=sorted(trained.glob("*.prepared.h5")), device="cpu", out=out)
    return read_predictions(out / "predictions.json")


def test_the_test_scans_of_the_cohort_are_predicted_as_evaluate_measured_them(
    predicted: Predicted, tmp_path: Path
) -> None:
    own = {scan.scan: scan for scan in own_cohort(predicted, tmp_path).scans}
    compared = 0
    for path in predicted.model.parent.glob("*.run.zip"):
        with zipfile.ZipFile(path) as archive:
            rows = [*csv.DictReader(io.StringIO(archive.read("predictions.csv").decode()))]
        for row in (row for row in rows if row["level"] == "scan"):
            (network,) = (one for one in own[row["scan"]].verdict.networks if one.fold == int(row["fold"]))
            written = [row["probability_negative"], row["probability_positive"]]
            assert [f"{value:.9g}" for value in network.probability] == written
            compared += 1
    assert compared >= 2 * len(own)


def test_one_network_decides_as_evaluate_does(predicted: Predicted, tmp_path: Path) -> None:
    own, model = own_cohort(predicted, tmp_path), read_model(predicted.model).document
    assert read_folds(predicted.model.parent / "folds.csv").count == len(model.folds)
    for scan in own.scans:
        for decision in scan.verdict.decisions:
            points = {fold.fold: getattr(fold.operating_points, decision.point) for fold in model.folds}
            called = [one.probability[1] >= points[one.fold] for one in scan.verdict.networks]
            agreeing = called.count(decision.decision == "positive")
            assert decision.agreeing == agreeing


def test_a_scan_that_is_unlike_the_cohort_gets_reasons_and_no_decision(predicted: Predicted) -> None:
    scans = read_predictions(predicted.out / "predictions.json").scans
    assert any(scan.out_of_cohort for scan in scans)
    assert all(set(scan.out_of_cohort) <= set(scan.verdict.cannot_tell) for scan in scans)


def test_the_table_has_a_row_a_scan(predicted: Predicted) -> None:
    document = read_predictions(predicted.out / "predictions.json")
    with (predicted.out / "predictions.csv").open() as stream:
        rows = [*csv.DictReader(stream)]
    assert [row["scan"] for row in rows] == [scan.scan for scan in document.scans]
    assert all(0 <= float(row["low_positive"]) <= float(row["probability_positive"]) <= 1 for row in rows)
    assert document.set_aside


def test_scans_prepared_otherwise_are_refused(predicted: Predicted, tmp_path: Path) -> None:
    scans = {"scans": predicted.out / "0000.scans.zip", "lungs": predicted.out / "0000.lungs.zip"}
    call("preprocess", **scans, size=64, min_lung_slices=11, out=tmp_path)
    prepared = [tmp_path / "0000.prepared.h5"]
    with pytest.raises(UsageError, match="trained on 48"):
        call("apply", model=predicted.model, prepared=prepared, out=tmp_path)
    call("preprocess", **scans, size=48, min_lung_slices=3, out=tmp_path)
    records = [tmp_path / "0000.preprocess.run.json"]
    with pytest.raises(UsageError, match="--min-lung-slices of preprocess was 3, the model's was 11"):
        call("apply", model=predicted.model, prepared=prepared, records=records, out=tmp_path)


def test_a_damaged_model_and_no_scan_are_told(predicted: Predicted, tmp_path: Path) -> None:
    damaged = tmp_path / "v1.model.zip"
    content = bytearray(predicted.model.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    prepared = sorted(predicted.out.glob("*.prepared.h5"))
    with pytest.raises(ClaireError, match=r"v1\.model\.zip"):
        call("apply", model=damaged, prepared=prepared, out=tmp_path)
    with pytest.raises(ClaireError, match="no scan is left"):
        call("apply", model=predicted.model, prepared=[], out=tmp_path)


def test_the_variant_of_the_model_is_that_of_the_grid(predicted: Predicted) -> None:
    variant = read_model(predicted.model).document.variant
    assert isinstance(variant, Variant)
    assert (variant.size, variant.slices) == (32, 8)
