"""`claire train` as a command: what it writes, refuses and repeats."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from claire.core.contracts.cohort import Cohort, Scan, open_cohort, write_cohort
from claire.core.contracts.folds import FixedSplit, FoldRow, read_folds, write_folds
from claire.core.contracts.run import ScanPrediction, prediction_rows, read_predictions, read_run
from claire.core.contracts.variant import Variant, write_variant
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.networks.build import load_network
from claire.core.networks.predict import predict
from claire.core.networks.view import cut_hu
from claire.train import Parameters, run
from claire.train.training import Progress, Training

from tests.support.command import claire
from tests.support.damage import flip_a_voxel, require_told
from tests.support.runs import run_facts
from tests.support.synthetic import CLASSES, SLICES, CohortFiles, make_cohort

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
    settings = {
        "architecture": "python:small_network:factory",
        "size": 24,
        "slices": 4,
        "epochs": 2,
        "learning_rate": 1e-2,
    }
    variant = Variant(**{**settings, **more})
    return write_variant(folder / f"{variant.id}.variant.json", variant)


def claire_train(files: CohortFiles, variant: Path, out: Path, *more: object, fold: int = 0) -> int:
    inputs = ["--variant", variant, "--cohort", files.cohort, "--folds", files.folds, "--fold", fold, "--out", out]
    return claire("train", [*inputs, "--device", "cpu", *more])


def only(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


def rows(out: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(only(out, ".run.zip")) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("predictions.csv").decode())))


def results(out: Path) -> list[bytes]:
    return [only(out, suffix).read_bytes() for suffix in (".safetensors", ".run.zip")]


def test_it_writes_weights_archive_and_record(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    variant = variant_file(tmp_path)
    assert claire_train(cohort_files, variant, out) == 0
    stem = variant.name.removesuffix(".variant.json") + "-f0"
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"{stem}.run.zip", f"{stem}.safetensors", f"{stem}.train.run.json"]
    record = json.loads(only(out, ".train.run.json").read_text())
    assert set(record["outputs"]) == set(names[:2])
    assert record["counts"] == {"train_scans": 6, "validation_scans": 6, "test_scans": 6, "external_scans": 0}


def test_evaluate_can_read_what_it_wrote(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    claire_train(cohort_files, variant_file(tmp_path), out, fold=1)
    run = read_run(only(out, ".run.zip"), CLASSES)
    assert (run.fold, run.facts.cohort_sha256) == (1, cohort_files.sha256)
    assert {split: len(predictions) for split, predictions in run.scans.items()} == {"validation": 6, "test": 6}
    assert all(predictions.finite for predictions in run.scans.values())
    assert len(run.slices(CLASSES)["test"]) == 6 * 4


def test_predictions_keep_to_the_folds(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    claire_train(cohort_files, variant_file(tmp_path), out)
    roles = read_folds(cohort_files.folds).roles(0)
    for row in rows(out):
        assert row["patient"] in roles[row["split"]]
        assert (row["level"] == "slice") == (row["slice"] != "")
        assert row["target"] == ("" if row["level"] == "slice" else CLASSES[int(row["patient"][1:], 16) % 2])
        assert float(row["probability_negative"]) + float(row["probability_positive"]) == pytest.approx(1, abs=1e-6)


def test_a_3d_variant_predicts_scans_only(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    assert claire_train(cohort_files, variant_file(tmp_path, dimensions="3D"), out) == 0
    assert {row["level"] for row in rows(out)} == {"scan"}


def test_inherited_labels_average_slices(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    variant = variant_file(tmp_path, labels="inherited", normalisation="slice", augmentation="none", batch_size=8)
    assert claire_train(cohort_files, variant, out) == 0
    test = read_predictions(only(out, ".run.zip"), "slice", CLASSES)["test"]
    scan = read_predictions(only(out, ".run.zip"), "scan", CLASSES)["test"]
    assert test.where(test.scan == scan.scan[0]).probability.mean(0) == pytest.approx(scan.probability[0], abs=1e-5)


def test_the_weights_predict_what_the_archive_says(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    claire_train(cohort_files, variant_file(tmp_path), out)
    network, facts = load_network(only(out, ".safetensors"))
    expected = WeightsFacts(
        run=f"{facts.variant.id}-f0", variant=facts.variant, fold=0, classes=CLASSES, cohort_sha256=cohort_files.sha256
    )
    assert facts == expected
    row = next(row for row in rows(out) if row["level"] == "scan")
    cohort = open_cohort(cohort_files.cohort)
    scans = [scan for scan in cohort.scans if scan.scan == row["scan"]]
    prediction = next(predict(network, cohort, scans, facts.variant, torch.device("cpu")))
    assert f"{prediction.probability[1]:.9g}" == row["probability_positive"]


def test_the_cohort_is_named_once(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    claire_train(cohort_files, variant_file(tmp_path), out)
    with zipfile.ZipFile(only(out, ".run.zip")) as archive:
        facts = json.loads(archive.read("train.json"))
    assert [name for name, value in facts.items() if value == cohort_files.sha256] == ["cohort_sha256"]
    assert read_run(only(out, ".run.zip"), CLASSES).facts.scans["train"] == 6


def test_a_training_can_be_started_from_python(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    variant = variant_file(tmp_path, epochs=1)
    out.mkdir()
    run(
        Parameters(variant=variant, cohort=cohort_files.cohort, folds=cohort_files.folds, fold=0, device="cpu", out=out)
    )
    assert only(out, ".train.run.json").exists()


def test_the_same_seed_gives_the_same_bytes(cohort_files: CohortFiles, tmp_path: Path) -> None:
    variant = variant_file(tmp_path)
    for name in ("a", "b"):
        claire_train(cohort_files, variant, tmp_path / name)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_three_classes_are_as_good_as_two(out: Path, tmp_path: Path) -> None:
    cohort = three_classes(tmp_path / "three")
    assert claire_train(cohort, variant_file(tmp_path), out) == 0
    assert [name for name in rows(out)[0] if name.startswith("probability")] == [
        "probability_none", "probability_one", "probability_both",
    ]  # fmt: skip


def three_classes(folder: Path) -> CohortFiles:
    """Write the cohort with three classes, six patients each."""
    two = make_cohort(folder)
    cohort, names = open_cohort(two.cohort), ("none", "one", "both")
    scans = [scan.model_copy(update={"label": names[i // 2 % 3]}) for i, scan in enumerate(cohort.scans)]
    blocks = [cohort.voxels(scan) for scan in cohort.scans]
    sha256 = write_cohort(folder / "three.h5", scans, names, 32, iter(blocks))
    table = [
        FoldRow(patient=scan.patient, label=scan.label, split="", fold=i // 2 // 3) for i, scan in enumerate(scans)
    ]
    return CohortFiles(folder / "three.h5", write_folds(folder / "three.csv", table), sha256)


def with_folds(files: CohortFiles, folder: Path, table: list[FoldRow]) -> CohortFiles:
    """Return the cohort with another folds table."""
    return CohortFiles(files.cohort, write_folds(folder / "other.csv", table), files.sha256)


def drawn(patient: str, fold: int) -> FoldRow:
    """Return the row of a patient whose fold was drawn."""
    return FoldRow(patient=patient, label="", split="", fold=fold)


def fixed(patient: str, split: FixedSplit) -> FoldRow:
    """Return the row of a patient whose split the labels table gives."""
    return FoldRow(patient=patient, label="", split=split, fold=None)


def test_external_patients_are_predicted_and_never_learned_from(
    cohort_files: CohortFiles, out: Path, tmp_path: Path
) -> None:
    folds = read_folds(cohort_files.folds).fold
    external = {patient for patient, fold in folds.items() if fold == 2}
    table = [fixed(p, "external") if p in external else drawn(p, fold) for p, fold in folds.items()]
    table[:2] = [fixed(row.patient, "train") for row in table[:2]]
    assert claire_train(with_folds(cohort_files, tmp_path, table), variant_file(tmp_path), out) == 0
    assert {row["patient"] for row in rows(out) if row["split"] == "external"} == external


def test_the_test_patients_are_not_looked_at_before_the_best_epoch(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    tested = {
        scan.scan
        for scan in open_cohort(cohort_files.cohort).by_patient(read_folds(cohort_files.folds).roles(0)["test"])
    }

    def watched(cohort: Cohort, scan: Scan, variant: Variant) -> np.ndarray:
        seen.append(scan.scan)
        return cut_hu(cohort, scan, variant)

    def checked(training: Training, run: Callable[[Training], Progress] = Training.run) -> Progress:
        progress = run(training)
        assert not tested & set(seen)
        return progress

    monkeypatch.setattr("claire.train.loading.cut_hu", watched)
    monkeypatch.setattr("claire.core.networks.predict.cut_hu", watched)
    monkeypatch.setattr(Training, "run", checked)
    assert claire_train(cohort_files, variant_file(tmp_path), out) == 0
    assert tested <= set(seen)


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_that_does_not_exist_is_a_usage_error(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, fold: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claire_train(cohort_files, variant_file(tmp_path), out, fold=fold) == 2
    message = capsys.readouterr().err
    assert f"expected 0 to 2, got {fold}" in message or "at least 0" in message


def test_a_patient_in_no_fold_is_refused(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [drawn(patient, fold) for patient, fold in read_folds(cohort_files.folds).fold.items()]
    assert claire_train(with_folds(cohort_files, tmp_path, table[:-1]), variant_file(tmp_path), out) == 1
    assert table[-1].patient in capsys.readouterr().err


def test_folds_of_another_cohort_are_refused(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [drawn(patient, fold) for patient, fold in read_folds(cohort_files.folds).fold.items()]
    changed = with_folds(cohort_files, tmp_path, [*table, drawn("Pstranger", 0)])
    assert claire_train(changed, variant_file(tmp_path), out) == 1
    assert "1 patients of the folds have no scan in the cohort, such as Pstranger" in capsys.readouterr().err


def with_splits(files: CohortFiles, folder: Path, splits: dict[str, FixedSplit]) -> CohortFiles:
    """Return the cohort with a fixed split of every patient, by the class of its only scan."""
    scans = open_cohort(files.cohort).scans
    return with_folds(files, folder, [fixed(scan.patient, splits[scan.label]) for scan in scans])


def test_an_empty_role_is_refused(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = with_splits(cohort_files, tmp_path, {"negative": "train", "positive": "test"})
    assert claire_train(changed, variant_file(tmp_path), out) == 1
    assert "no validation scans" in capsys.readouterr().err


def test_training_without_a_class_is_refused(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = open_cohort(cohort_files.cohort).scans
    positives = [scan.patient for scan in scans if scan.label == "positive"]
    table = [fixed(scan.patient, "test" if scan.patient in positives else "train") for scan in scans]
    table = [fixed(row.patient, "validation") if row.patient == positives[0] else row for row in table]
    assert claire_train(with_folds(cohort_files, tmp_path, table), variant_file(tmp_path), out) == 1
    assert "no training scan of class positive" in capsys.readouterr().err


@pytest.mark.parametrize("pretraining", ["none", "weights:other.pth"])
def test_only_the_weights_that_the_variant_names_are_taken(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, pretraining: str
) -> None:
    torch.save({}, tmp_path / "given.pth")
    variant = variant_file(tmp_path, pretraining=pretraining)
    assert claire_train(cohort_files, variant, out, "--pretrained", tmp_path / "given.pth") == 2


def test_pretrained_weights_are_reported(cohort_files: CohortFiles, out: Path, tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(4, 1, 3, 3), "fc.weight": torch.ones(3)}, tmp_path / "given.pth")
    variant = variant_file(tmp_path, pretraining="weights:given.pth", learning_rate=1e-9)
    assert claire_train(cohort_files, variant, out, "--pretrained", tmp_path / "given.pth") == 0
    facts = json.loads(only(out, ".train.run.json").read_text())["facts"]
    assert (facts["pretrained"]["loaded"], facts["pretrained"]["unused"]) == (1, ["fc.weight"])
    first = load_network(only(out, ".safetensors"))[0].backbone[0].weight
    torch.testing.assert_close(first.detach(), torch.ones(4, 1, 3, 3), atol=1e-4, rtol=0)


def test_a_finished_training_is_taken_from_the_store(
    cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, store = variant_file(tmp_path), tmp_path / "store"
    assert claire_train(cohort_files, variant, tmp_path / "a", "--store", store) == 0
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("trained again"))
    assert claire_train(cohort_files, variant, tmp_path / "b", "--store", store) == 0
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert only(tmp_path / "b", ".train.run.json").exists()


def test_another_fold_seed_or_network_is_another_training(
    cohort_files: CohortFiles, tmp_path: Path, own_network: Path
) -> None:
    store = tmp_path / "store"
    claire_train(cohort_files, variant_file(tmp_path), tmp_path / "a", "--store", store)
    claire_train(cohort_files, variant_file(tmp_path), tmp_path / "b", "--store", store, fold=1)
    claire_train(cohort_files, variant_file(tmp_path, seed=1), tmp_path / "c", "--store", store)
    own_network.write_text(NETWORK + "\n# changed\n")
    claire_train(cohort_files, variant_file(tmp_path), tmp_path / "d", "--store", store)
    assert len(list((store / "train").iterdir())) == 4


def test_an_interrupted_training_ends_in_the_same_bytes(
    cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, store = variant_file(tmp_path, epochs=3), tmp_path / "store"
    assert claire_train(cohort_files, variant, tmp_path / "straight") == 0
    finish = Training._finish_epoch

    def die(training: Training, seconds: float) -> None:
        finish(training, seconds)
        if training.progress.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_finish_epoch", die)
        assert claire_train(cohort_files, variant, tmp_path / "out", "--store", store) == 130
    assert [path.suffix for path in (store / "train").iterdir()] == [".partial"]
    assert claire_train(cohort_files, variant, tmp_path / "out", "--store", store) == 0
    assert results(tmp_path / "straight") == results(tmp_path / "out")
    assert [path.suffix for path in (store / "train").iterdir()] == [""]


def test_a_store_that_cannot_be_written_is_reported_before_training(
    cohort_files: CohortFiles, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("trained"))
    assert claire_train(cohort_files, variant_file(tmp_path), out, "--store", tmp_path / "file" / "store") == 1
    assert claire_train(cohort_files, variant_file(tmp_path), out, "--store", "store") == 2


def test_a_terminated_training_exits_with_143_and_resumes(
    cohort_files: CohortFiles,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variant, store = variant_file(tmp_path), tmp_path / "store"
    assert claire_train(cohort_files, variant, tmp_path / "straight") == 0
    step = Training._step

    def terminate(*arguments: object) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", terminate)
        assert claire_train(cohort_files, variant, out, "--store", store) == 128 + signal.SIGTERM
    assert "resumes from its checkpoint" in capsys.readouterr().err
    assert [path.suffix for path in (store / "train").iterdir()] == [".partial"]
    assert claire_train(cohort_files, variant, out, "--store", store) == 0
    assert results(tmp_path / "straight") == results(out)


def test_a_labelled_slice_has_its_label(cohort_files: CohortFiles) -> None:
    labels, rows = (1, *[-1] * (SLICES - 1)), tuple(range(10, 10 + SLICES))
    scan = open_cohort(cohort_files.cohort).scans[0].model_copy(update={"slice_labels": labels, "slices": rows})
    prediction = ScanPrediction(scan, np.array([0.5, 0.5]), np.array([0, 1]), np.full((2, 2), 0.5))
    predicted = prediction_rows(run_facts(Variant(), 0, CLASSES), "test", [prediction])
    assert [(row.level, row.slice, row.target) for row in predicted] == [
        ("scan", None, "negative"), ("slice", 10, "positive"), ("slice", 11, None),
    ]  # fmt: skip


def test_a_damaged_result_of_the_store_is_trained_again(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant, store = variant_file(tmp_path), tmp_path / "store"
    assert claire_train(cohort_files, variant, tmp_path / "a", "--store", store) == 0
    (entry,) = (store / "train").iterdir()
    weights = only(entry, ".safetensors")
    entry.chmod(0o755)
    weights.unlink()
    weights.write_bytes(b"cut")
    capsys.readouterr()
    assert claire_train(cohort_files, variant, tmp_path / "b", "--store", store) == 0
    assert "the result in the store is damaged: moved aside as .damaged" in capsys.readouterr().err
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert sorted(path.suffix for path in (store / "train").iterdir()) == ["", ".damaged"]


@pytest.mark.parametrize("with_store", [False, True])
def test_a_cohort_with_a_flipped_voxel_is_named_and_nothing_is_trained(
    cohort_files: CohortFiles,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_store: bool,
) -> None:
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("trained"))
    damaged = replace(cohort_files, cohort=flip_a_voxel(Path(shutil.copy(cohort_files.cohort, tmp_path))))
    store = ["--store", tmp_path / "store"] if with_store else []
    assert claire_train(damaged, variant_file(tmp_path), out, *store) == 1
    require_told(capsys.readouterr().err, "train", "cohort.h5 is damaged", f"expected {cohort_files.sha256[:12]}…, got")
    assert [path for path in tmp_path.glob("store/*/*")] == []
    assert [*out.iterdir()] == []


def test_a_second_training_on_a_verified_cohort_does_not_read_it_whole(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verified = []
    for fold in range(2):
        out, store = tmp_path / f"out{fold}", tmp_path / "store"
        assert claire_train(cohort_files, variant_file(tmp_path), out, "--store", store, fold=fold) == 0
        verified.append(capsys.readouterr().err.count("checksum verified"))
    assert verified == [1, 0]


def test_a_cohort_that_changed_after_it_was_verified_is_named(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, store = replace(cohort_files, cohort=Path(shutil.copy(cohort_files.cohort, tmp_path))), tmp_path / "store"
    assert claire_train(files, variant_file(tmp_path), tmp_path / "a", "--store", store) == 0
    flip_a_voxel(files.cohort)
    assert claire_train(files, variant_file(tmp_path), tmp_path / "b", "--store", store, fold=1) == 1
    assert "checksum does not match" in capsys.readouterr().err
    assert len([*(store / "train").iterdir()]) == 1
