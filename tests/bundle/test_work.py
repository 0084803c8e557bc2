"""The step as a whole: one file, the same bytes each time, nobody named in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from claire.core.command.files import sha256_file
from claire.core.command.record import read_record
from claire.core.contracts.metrics import read_metrics
from claire.core.contracts.model import read_model
from claire.core.contracts.scan_table import read_scan_table

from tests.support.bundling import SITE, Winner
from tests.support.command import claire

ROOT = Path(__file__).parents[2]


def bundle(winner: Winner, out: Path, *flags: str, **changes: object) -> int:
    return claire("bundle", [*winner.argv(**changes), *flags, "--out", str(out)])


def test_the_model_holds_every_network_as_train_wrote_it(winner: Winner, model_path: Path) -> None:
    model = read_model(model_path)
    assert [fold.fold for fold in model.document.folds] == [0, 1, 2]
    for fold, trained in zip(model.document.folds, winner.trained, strict=True):
        assert model.weights(fold) == trained.weights.read_bytes()
        assert fold.sha256 == sha256_file(trained.weights)
        assert fold.network_source is not None


def test_figures_and_operating_points_are_those_of_evaluate(winner: Winner, model_path: Path) -> None:
    document, metrics = read_model(model_path).document, read_metrics(winner.folder / "metrics.json")
    measured = metrics.variants[metrics.winner.variant]
    assert document.figures.winner == measured.patient
    assert document.figures.headline == metrics.headline.patient
    assert [guard.fired for guard in document.figures.guards] == [guard.fired for guard in metrics.guards]
    for fold, row in zip(document.folds, measured.folds, strict=True):
        assert fold.operating_points is not None
        assert fold.operating_points.youden == pytest.approx(row.threshold, abs=1e-6)
        assert fold.operating_points.sensitive == pytest.approx(row.threshold_sensitive, abs=1e-6)


def test_what_it_says_of_itself_is_recorded(model_path: Path) -> None:
    record = read_record(next(model_path.parent.glob("*.bundle.run.json")))
    document = read_model(model_path).document
    assert record.outputs == {model_path.name: sha256_file(model_path)}
    assert record.counts == {"folds": 3, "scans": 18, "patients": 18}
    assert document.seeds == {"folds": 3, "training": 0, "bootstrap": 0}
    assert document.software["claire-pipeline"] == record.version
    assert (document.card.licence, document.card.data_licence) == ("CC-BY-4.0", "CC0-1.0")
    assert document.card.intended_use == "Tests of bundle."


def test_the_same_files_give_the_same_bytes(winner: Winner, model_path: Path, tmp_path: Path) -> None:
    texts = ["--licence", "CC-BY-4.0", "--data-licence", "CC0-1.0", "--intended-use", "Tests of bundle."]
    backwards = {name: tuple(reversed(winner.files[name])) for name in ("weights", "runs")}
    assert bundle(winner, tmp_path, *texts, **backwards) == 0
    assert sha256_file(tmp_path / model_path.name) == sha256_file(model_path)


def test_no_scan_patient_or_site_is_named_in_any_member(winner: Winner, model_path: Path) -> None:
    rows = read_scan_table(winner.folder / "scans.csv").values()
    names = {name for row in rows for name in (row.scan, row.patient, row.site)}
    content = model_path.read_bytes()
    assert [name for name in names if name.encode() in content] == []
    assert SITE in (winner.folder / "metrics.json").read_text()
    assert str(winner.folder).encode() not in content


def test_no_path_of_this_machine_is_in_it(model_path: Path) -> None:
    content = model_path.read_bytes()
    for path in (ROOT, Path(sys.prefix), Path.home()):
        assert str(path).encode() not in content


def test_a_pseudonym_in_a_text_ends_the_step(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = next(iter(read_scan_table(winner.folder / "scans.csv")))
    assert bundle(winner, tmp_path, "--intended-use", f"For {scan} alone.", "--exports", "none") == 1
    assert list(tmp_path.glob("*")) == []
    assert scan not in capsys.readouterr().err


def test_a_finished_model_is_taken_from_the_store(
    winner: Winner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--store", str(tmp_path / "store"), "--exports", "none"]
    assert bundle(winner, tmp_path / "first", *flags) == 0
    assert bundle(winner, tmp_path / "second", *flags) == 0
    assert "taken from the store" in capsys.readouterr().err
    first, second = (next((tmp_path / name).glob("*.model.zip")) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_without_torch_the_model_holds_everything_but_onnx_and_says_why(
    winner: Winner, model_path: Path, tmp_path: Path
) -> None:
    code = f"""
import importlib.util, sys
HIDDEN = ("torch", "safetensors", "monai", "onnx", "onnxruntime")
find = importlib.util.find_spec
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
importlib.util.find_spec = lambda name, package=None: None if name in HIDDEN else find(name, package)
from claire.__main__ import main
sys.exit(main(["bundle", *{winner.argv()!r}, "--out", {str(tmp_path)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "torch is not installed here" in done.stderr
    document = read_model(tmp_path / model_path.name).document
    whole = read_model(model_path).document
    assert [export.reason for export in document.exports.onnx] == [
        "torch was not installed where the model was made"
    ] * 3
    assert document.folds == whole.folds
    assert document.fingerprint == whole.fingerprint
    assert document.exports.monai == whole.exports.monai


@pytest.mark.parametrize(
    "missing", ["weights", "runs", "winner", "metrics", "cohort", "cohort_summary", "scans", "folds"]
)
def test_an_input_that_is_missing_is_named(winner: Winner, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    assert claire("bundle", winner.argv(**{missing: None})) == 2
    assert f"arguments are required: --{missing.replace('_', '-')}" in capsys.readouterr().err


def test_what_a_model_file_is_can_be_printed(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claire("bundle", ["--list", str(model_path)]) == 0
    told = capsys.readouterr().out
    document = read_model(model_path).document
    assert told.startswith(f"{model_path.name}: positive against negative")
    assert "Not a medical device." in told
    assert sha256_file(model_path) in told
    assert all(fold.run in told for fold in document.folds)
    assert len(re.findall(r"(?m)^onnx +exports/onnx/", told)) == 3
    assert "slice thickness: 8.00 to 10.00 mm" in told
    (options,) = re.findall(r"(?m)^prepared +preprocess_options: (.*)", told)
    assert yaml.safe_load(options)["size"] == document.preparation.size


def test_a_damaged_file_is_not_listed(model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = model_path.read_bytes()
    broken = tmp_path / model_path.name
    broken.write_bytes(content.replace(b"Not a medical device", b"Now a medical device"))
    assert claire("bundle", ["--list", str(broken)]) == 1
    assert "is damaged" in capsys.readouterr().err
