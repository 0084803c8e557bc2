"""`claire train` as a command: what it writes, refuses and repeats."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from claire import train as step
from claire.core.command.files import write_json
from claire.core.contracts.cohort import Cohort, Scan, open_cohort, write_cohort
from claire.core.contracts.folds import read_folds, write_folds
from claire.core.contracts.run import read_predictions, read_run
from claire.core.contracts.variant import Variant
from claire.core.networks.build import load_network
from claire.core.networks.view import View, make_view
from claire.train.training import Prediction, Progress, Training, predict

from tests.support.command import claire
from tests.support.synthetic import CLASSES, SLICES, Made, make_cohort

NETWORK = '''"""A network small enough for a test."""

from torch import nn


def factory(variant, classes):
    if variant.dimensions == "3D":
        return nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveMaxPool3d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
'''


@pytest.fixture(autouse=True)
def own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "small_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "small_network", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder / "small_network.py"


def variant_file(folder: Path, **more: object) -> Path:
    values = {"architecture": "python:small_network:factory", "size": 24, "slices": 4, "epochs": 2, "rate": 1e-2}
    made = Variant(**{**values, **more})
    return write_json(folder / f"{made.id}.variant.json", made.document())


def claire_train(made: Made, variant: Path, out: Path, *more: object, fold: int = 0) -> int:
    inputs = ["--variant", variant, "--cohort", made.cohort, "--folds", made.folds, "--fold", fold, "--out", out]
    return claire("train", [*inputs, "--device", "cpu", *more])


def only(folder: Path, suffix: str) -> Path:
    (found,) = folder.glob(f"*{suffix}")
    return found


def rows(out: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(only(out, ".run.zip")) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("predictions.csv").decode())))


def results(out: Path) -> list[bytes]:
    return [only(out, suffix).read_bytes() for suffix in (".safetensors", ".run.zip")]


def test_it_writes_weights_archive_and_record(made: Made, out: Path, tmp_path: Path) -> None:
    variant = variant_file(tmp_path)
    assert claire_train(made, variant, out) == 0
    stem = variant.name.removesuffix(".variant.json") + "-f0"
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"{stem}.run.zip", f"{stem}.safetensors", f"{stem}.train.run.json"]
    record = json.loads(only(out, ".train.run.json").read_text())
    assert set(record["outputs"]) == set(names[:2])
    assert record["counts"] == {"train_scans": 6, "validation_scans": 6, "test_scans": 6, "external_scans": 0}


def test_evaluate_can_read_what_it_wrote(made: Made, out: Path, tmp_path: Path) -> None:
    claire_train(made, variant_file(tmp_path), out, fold=1)
    run = read_run(only(out, ".run.zip"), CLASSES)
    assert (run.fold, run.cohort) == (1, made.sha256)
    assert {split: len(found) for split, found in run.scans.items()} == {"validation": 6, "test": 6}
    assert all(found.finite for found in run.scans.values())
    assert len(run.slices(CLASSES)["test"]) == 6 * 4


def test_predictions_keep_to_the_folds(made: Made, out: Path, tmp_path: Path) -> None:
    claire_train(made, variant_file(tmp_path), out)
    roles = read_folds(made.folds).roles(0)
    for row in rows(out):
        assert row["patient"] in roles[row["split"]]
        assert (row["level"] == "slice") == (row["slice"] != "")
        assert row["target"] == ("" if row["level"] == "slice" else CLASSES[int(row["patient"][1:], 16) % 2])
        assert float(row["probability_negative"]) + float(row["probability_positive"]) == pytest.approx(1, abs=1e-6)


def test_a_3d_variant_predicts_scans_only(made: Made, out: Path, tmp_path: Path) -> None:
    assert claire_train(made, variant_file(tmp_path, dimensions="3D"), out) == 0
    assert {row["level"] for row in rows(out)} == {"scan"}


def test_the_originals_way_averages_slices(made: Made, out: Path, tmp_path: Path) -> None:
    variant = variant_file(tmp_path, labels="inherited", normalisation="slice", augmentation="none", batch=8)
    assert claire_train(made, variant, out) == 0
    test = read_predictions(only(out, ".run.zip"), "slice", CLASSES)["test"]
    scan = read_predictions(only(out, ".run.zip"), "scan", CLASSES)["test"]
    assert test.where(test.scan == scan.scan[0]).probability.mean(0) == pytest.approx(scan.probability[0], abs=1e-5)


def test_the_weights_predict_what_the_archive_says(made: Made, out: Path, tmp_path: Path) -> None:
    claire_train(made, variant_file(tmp_path), out)
    network, variant, facts = load_network(only(out, ".safetensors"))
    assert facts == {"classes": list(CLASSES), "fold": 0, "cohort": made.sha256, "run": f"{variant.id}-f0"}
    said = next(row for row in rows(out) if row["level"] == "scan")
    cohort = open_cohort(made.cohort)
    scans = [scan for scan in cohort.scans if scan.scan == said["scan"]]
    found = next(predict(network, cohort, scans, variant, torch.device("cpu")))
    assert f"{found.probability[1]:.9g}" == said["probability_positive"]


def test_the_same_seed_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    variant = variant_file(tmp_path)
    for name in ("a", "b"):
        claire_train(made, variant, tmp_path / name)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_three_classes_are_as_good_as_two(out: Path, tmp_path: Path) -> None:
    cohort = three_classes(tmp_path / "three")
    assert claire_train(cohort, variant_file(tmp_path), out) == 0
    assert [name for name in rows(out)[0] if name.startswith("probability")] == [
        "probability_none", "probability_one", "probability_both",
    ]  # fmt: skip


def three_classes(folder: Path) -> Made:
    made = make_cohort(folder)
    cohort, names = open_cohort(made.cohort), ("none", "one", "both")
    scans = [replace(scan, label=names[i // 2 % 3]) for i, scan in enumerate(cohort.scans)]
    blocks = [cohort.voxels(scan) for scan in cohort.scans]
    sha256 = write_cohort(folder / "three.h5", scans, names, 32, iter(blocks))
    table = [
        {"patient": scan.patient, "label": scan.label, "site": "", "split": "", "fold": i // 2 // 3}
        for i, scan in enumerate(scans)
    ]
    return Made(folder / "three.h5", write_folds(folder / "three.csv", table), sha256)


def test_external_patients_are_predicted_and_never_learned_from(made: Made, out: Path, tmp_path: Path) -> None:
    folds = read_folds(made.folds)
    table = [
        {"patient": p, "label": "", "site": "", "split": "external" if k == 2 else "", "fold": "" if k == 2 else k}
        for p, k in folds.fold.items()
    ]
    for row in table[:2]:
        row |= {"split": "train", "fold": ""}
    changed = Made(made.cohort, write_folds(tmp_path / "folds.csv", table), made.sha256)
    assert claire_train(changed, variant_file(tmp_path), out) == 0
    external = {row["patient"] for row in rows(out) if row["split"] == "external"}
    assert external == {p for p, k in folds.fold.items() if k == 2}


def test_the_test_patients_are_not_looked_at_before_the_best_epoch(
    made: Made, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    tested = {scan.scan for scan in open_cohort(made.cohort).by_patient(read_folds(made.folds).roles(0)["test"])}

    def watched(cohort: Cohort, scan: Scan, variant: Variant) -> View:
        seen.append(scan.scan)
        return make_view(cohort, scan, variant)

    def checked(training: Training, run: Callable[[Training], Progress] = Training.run) -> Progress:
        progress = run(training)
        assert not tested & set(seen)
        return progress

    monkeypatch.setattr("claire.train.loading.make_view", watched)
    monkeypatch.setattr(Training, "run", checked)
    assert claire_train(made, variant_file(tmp_path), out) == 0
    assert tested <= set(seen)


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_that_is_not_there_is_a_usage_error(
    made: Made, out: Path, tmp_path: Path, fold: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claire_train(made, variant_file(tmp_path), out, fold=fold) == 2
    message = capsys.readouterr().err
    assert "Choose 0 to 2" in message or "at least 0" in message


def test_a_patient_in_no_fold_is_refused(
    made: Made, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [
        {"patient": p, "label": "", "site": "", "split": "", "fold": k} for p, k in read_folds(made.folds).fold.items()
    ]
    changed = Made(made.cohort, write_folds(tmp_path / "folds.csv", table[:-1]), made.sha256)
    assert claire_train(changed, variant_file(tmp_path), out) == 1
    assert table[-1]["patient"] in capsys.readouterr().err


def test_folds_of_another_cohort_are_refused(
    made: Made, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"patient": "Pstranger", "label": "", "site": "", "split": "", "fold": 0}
    table = [{**row, "patient": p, "fold": k} for p, k in read_folds(made.folds).fold.items()]
    changed = Made(made.cohort, write_folds(tmp_path / "folds.csv", [*table, row]), made.sha256)
    assert claire_train(changed, variant_file(tmp_path), out) == 1
    assert "1 patients of the folds have no scan in the cohort, Pstranger" in capsys.readouterr().err


def with_splits(made: Made, folder: Path, splits: dict[str, str]) -> Made:
    """Give every patient a fixed split by the class of its only scan."""
    scans = open_cohort(made.cohort).scans
    table = [{"patient": s.patient, "label": "", "site": "", "split": splits[s.label], "fold": ""} for s in scans]
    return Made(made.cohort, write_folds(folder / "splits.csv", table), made.sha256)


def test_an_empty_role_is_refused(made: Made, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = with_splits(made, tmp_path, {"negative": "train", "positive": "test"})
    assert claire_train(changed, variant_file(tmp_path), out) == 1
    assert "no validation scans" in capsys.readouterr().err


def test_training_without_a_class_is_refused(
    made: Made, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = with_splits(made, tmp_path, {"negative": "train", "positive": "test"})
    lines = changed.folds.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if ",test," in line)
    lines[first] = lines[first].replace(",test,", ",validation,")
    changed.folds.write_text("\n".join(lines) + "\n")
    assert claire_train(changed, variant_file(tmp_path), out) == 1
    assert "no training scan of class positive" in capsys.readouterr().err


@pytest.mark.parametrize("pretraining", ["none", "weights:other.pth"])
def test_weights_are_those_that_the_variant_names(made: Made, out: Path, tmp_path: Path, pretraining: str) -> None:
    torch.save({}, tmp_path / "given.pth")
    variant = variant_file(tmp_path, pretraining=pretraining)
    assert claire_train(made, variant, out, "--weights", tmp_path / "given.pth") == 2


def test_pretrained_weights_are_reported(made: Made, out: Path, tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(4, 1, 3, 3), "fc.weight": torch.ones(3)}, tmp_path / "given.pth")
    variant = variant_file(tmp_path, pretraining="weights:given.pth", rate=1e-9)
    assert claire_train(made, variant, out, "--weights", tmp_path / "given.pth") == 0
    facts = json.loads(only(out, ".train.run.json").read_text())["facts"]
    assert (facts["pretrained"]["loaded"], facts["pretrained"]["unused"]) == (1, ["fc.weight"])
    first = load_network(only(out, ".safetensors"))[0].backbone[0].weight
    torch.testing.assert_close(first.detach(), torch.ones(4, 1, 3, 3), atol=1e-4, rtol=0)


def test_a_finished_training_is_taken_from_the_store(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, store = variant_file(tmp_path), tmp_path / "store"
    assert claire_train(made, variant, tmp_path / "a", "--store", store) == 0
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("trained again"))
    assert claire_train(made, variant, tmp_path / "b", "--store", store) == 0
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert only(tmp_path / "b", ".train.run.json").exists()


def test_another_fold_seed_or_network_is_another_training(made: Made, tmp_path: Path, own_network: Path) -> None:
    store = tmp_path / "store"
    claire_train(made, variant_file(tmp_path), tmp_path / "a", "--store", store)
    claire_train(made, variant_file(tmp_path), tmp_path / "b", "--store", store, fold=1)
    claire_train(made, variant_file(tmp_path, seed=1), tmp_path / "c", "--store", store)
    own_network.write_text(NETWORK + "\n# changed\n")
    claire_train(made, variant_file(tmp_path), tmp_path / "d", "--store", store)
    assert len(list((store / "train").iterdir())) == 4


def test_a_killed_training_ends_in_the_same_bytes(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant, store = variant_file(tmp_path, epochs=3), tmp_path / "store"
    assert claire_train(made, variant, tmp_path / "straight") == 0
    finish = Training._finish_epoch

    def die(training: Training, seconds: float) -> None:
        finish(training, seconds)
        if training.progress.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_finish_epoch", die)
        assert claire_train(made, variant, tmp_path / "out", "--store", store) == 130
    assert [path.suffix for path in (store / "train").iterdir()] == [".partial"]
    assert claire_train(made, variant, tmp_path / "out", "--store", store) == 0
    assert results(tmp_path / "straight") == results(tmp_path / "out")
    assert [path.suffix for path in (store / "train").iterdir()] == [""]


def test_a_store_that_cannot_be_written_is_told_before_training(
    made: Made, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("trained"))
    assert claire_train(made, variant_file(tmp_path), out, "--store", tmp_path / "file" / "store") == 1
    assert claire_train(made, variant_file(tmp_path), out, "--store", "store") == 2


def test_a_slice_that_somebody_labelled_has_its_label(made: Made) -> None:
    scan = replace(
        open_cohort(made.cohort).scans[0], slice_labels=(1, *[-1] * (SLICES - 1)), slices=tuple(range(10, 18))
    )
    job = SimpleNamespace(name="v-f0", fold=0, cohort=SimpleNamespace(classes=CLASSES))
    found = [Prediction(scan, np.array([0.5, 0.5]), np.array([0, 1]), np.full((2, 2), 0.5))]
    lines = list(step.prediction_rows(job, "test", found))
    assert [(line[3], line[6], line[7]) for line in lines] == [
        ("scan", None, "negative"), ("slice", 10, "positive"), ("slice", 11, None),
    ]  # fmt: skip
