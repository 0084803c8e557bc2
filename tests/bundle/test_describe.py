"""Folds, preparation and card: taken from what other steps wrote, nothing made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from claire.bundle.card import citation
from claire.core.contracts.lesions import write_lesions
from claire.core.contracts.model import CARD, ModelDocument, read_model
from claire.core.contracts.run import read_run
from claire.core.statistics.decisions import log_losses, shift_prior
from claire.core.statistics.temperature import temper

from tests.support.bundling import Winner, make_winner, records
from tests.support.command import claire
from tests.support.damage import require_told
from tests.support.explaining import SOLID
from tests.support.report_inputs import explained
from tests.support.synthetic import CLASSES, CohortFiles


def bundled(winner: Winner, out: Path, **changes: object) -> ModelDocument:
    assert claire("bundle", [*winner.argv(**changes), "--exports", "none", "--out", str(out)]) == 0
    (path,) = out.glob("*.model.zip")
    return read_model(path).document


@pytest.fixture(scope="module")
def unsure(cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory) -> Winner:
    """A winner of untrained networks, whose scores overlap."""
    return make_winner(cohort_files, tmp_path_factory.mktemp("unsure"), SOLID, steps=0)


def test_a_temperature_lowers_the_log_loss_of_validation_patients(unsure: Winner, tmp_path: Path) -> None:
    document = bundled(unsure, tmp_path)
    fitted = [fold for fold in document.folds if fold.temperature is not None]
    for fold in fitted:
        patients = read_run(unsure.trained[fold.fold].run, CLASSES).scans["validation"].by_patient()
        assert fold.training_share is not None
        assert fold.validation_share is not None
        positive = shift_prior(patients.probability[:, 1], fold.training_share, fold.validation_share)
        shifted = np.column_stack([1 - positive, positive])
        losses = [log_losses(temper(shifted, t), patients.target).mean() for t in (fold.temperature, 1.0)]
        assert losses[0] <= losses[1] + 1e-9
    assert [fold.training_share for fold in document.folds] == [0.5] * 3  # class weights
    assert [fold.validation_share for fold in document.folds] == [0.5] * 3
    assert all(fold.validation_patients == {"negative": 3, "positive": 3} for fold in document.folds)


def test_the_reference_of_healed_scans_is_that_of_the_very_network(winner: Winner, tmp_path: Path) -> None:
    documents = []
    for fold, refined in ((0, False), (1, True)):
        run = winner.trained[fold].run.name.split(".")[0]
        document = explained(run, run.split("-")[0], fold, CLASSES, True, [])
        network = document.network.model_copy(update={"healed_log_odds": -2.5, "refined": refined})
        written = document.model_copy(update={"network": network})
        documents.append(write_lesions(tmp_path / f"{run}.lesions.json", written))
    folds = bundled(winner, tmp_path / "out", lesions=tuple(documents)).folds
    assert [fold.healed_log_odds for fold in folds] == [-2.5, None, None]


def test_a_scan_is_prepared_as_the_records_say(winner: Winner, tmp_path: Path) -> None:
    preparation = bundled(winner, tmp_path / "out", records=tuple(records(tmp_path, min_lung_slices=11))).preparation
    assert preparation.size == 32
    assert preparation.preprocess is not None
    assert preparation.preprocess.min_lung_slices == 11
    assert preparation.index is not None
    assert preparation.index.max_thickness == 3.0
    assert preparation.ingest is not None
    assert preparation.ingest.gantry_tilt == "reject"


def test_without_records_nothing_is_made_up(winner: Winner, tmp_path: Path) -> None:
    preparation = bundled(winner, tmp_path, records=None).preparation
    assert (preparation.index, preparation.ingest, preparation.preprocess) == (None, None, None)


def test_shards_that_were_prepared_differently_are_refused(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    both = (*records(tmp_path), *records(tmp_path / "other", min_lung_slices=11))
    assert claire("bundle", [*winner.argv(records=both), "--out", str(tmp_path / "out")]) == 1
    require_told(capsys.readouterr().err, "bundle", "the records of preprocess name different parameters")


def test_the_card_says_what_must_be_known(model_path: Path) -> None:
    model = read_model(model_path)
    card = model.read(CARD).decode()
    assert "Not a medical device" in card
    assert "Tests of bundle." in card
    assert "Licences of the data: CC0-1.0." in card
    assert "| AUC | " in card
    assert "95%" in card
    assert "phantoms" in card
    assert "The guard auc_too_good fired" in card
    assert "arXiv:2108.01033" in card
    assert model.document.card.citation == citation()
