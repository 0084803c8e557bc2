"""`claire predict`: the job that a model asks for, and what is refused before anything runs."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from claire.commands.predict import Parameters
from claire.commands.predict.work import make_job
from claire.core.contracts.model import read_model

from tests.support.command import claire
from tests.support.predicting import Predicted


def test_the_job_prepares_scans_as_the_cohort_of_the_model_was_prepared(predicted: Predicted, tmp_path: Path) -> None:
    model = read_model(predicted.model).document
    parameters = Parameters(model=predicted.model, scans=predicted.source, no_lesions=True)
    job = make_job(parameters, model, tmp_path)
    assert job["preprocess_options"]["size"] == 48
    assert job["preprocess_options"]["min_lung_slices"] == 11
    assert job["min_slices"] == 8
    assert "min_slices" not in job["index_options"] | job["ingest_options"]
    assert not job["seek_lesions"]


def test_a_new_key_is_kept_for_its_owner_and_used_again(predicted: Predicted, tmp_path: Path) -> None:
    model, parameters = read_model(predicted.model).document, Parameters(model=predicted.model, scans=predicted.source)
    path = Path(make_job(parameters, model, tmp_path)["key"]["path"])
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key.strip()) == 64
    make_job(parameters, model, tmp_path)
    assert path.read_text() == key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--out": "new/inside"}, "inside of the scans"),
        ({"--out": "a#b"}, "'#' or '%'"),
        ({"--key": "short"}, "at least 16"),
        ({"--engine": "streamflow", "--site": "short"}, "StreamFlow file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    predicted: Predicted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(predicted.source, "new")
    Path("short").write_text("abc")
    flags = [word for pair in ({"--out": "out"} | change).items() for word in pair]
    assert claire("predict", [str(predicted.model), "new", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not [*tmp_path.rglob("log.txt")]
