"""What `collect` finds in a store that `claire train` filled, and what it leaves to be trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from claire.core.command.documents import read_document
from claire.core.command.files import sha256_file
from claire.core.command.record import Record, read_record
from claire.core.command.store import open_entry
from claire.core.command.tables import write_rows
from claire.core.contracts.run import run_name
from claire.core.contracts.trainings import Collected, TrainingRow
from claire.core.contracts.variant import Variant, write_variant, write_variants
from claire.core.networks.devices import choose_device
from claire.core.networks.training_key import device_kinds, training_key

from tests.support.command import claire
from tests.support.damage import flip_a_voxel, require_told
from tests.support.explaining import FLAT
from tests.support.synthetic import CohortFiles

VARIANTS = [FLAT.model_copy(update={"epochs": 1, "seed": seed}) for seed in (0, 1)]


@pytest.fixture
def files(cohort_files: CohortFiles, tmp_path: Path) -> CohortFiles:
    """A copy of the cohort that a test may damage."""
    return CohortFiles(Path(shutil.copy(cohort_files.cohort, tmp_path)), cohort_files.folds, cohort_files.sha256)


def plan(folder: Path, variants: list[Variant], folds: range, pretrained: Path | None = None) -> list[TrainingRow]:
    """Return the trainings of a plan: every variant on every fold."""
    write_variants(folder / "variants.zip", variants)
    for variant in variants:
        write_variant(folder / f"{variant.id}.variant.json", variant)
    weights = str(pretrained) if pretrained else None
    return [TrainingRow(variant=each.id, fold=fold, pretrained=weights) for each in variants for fold in folds]


def inputs(files: CohortFiles, folder: Path) -> list[object]:
    return ["--cohort", files.cohort, "--folds", files.folds, "--device", "cpu", "--store", folder / "store"]


def train(files: CohortFiles, folder: Path, row: TrainingRow) -> Path:
    """Train into the store; return the folder of the files."""
    out = folder / f"{row.variant}-{row.fold}"
    pretrained = ["--pretrained", row.pretrained] if row.pretrained else []
    argv = [
        "--variant",
        folder / f"{row.variant}.variant.json",
        "--fold",
        row.fold,
        *pretrained,
        *inputs(files, folder),
        "--out",
        out,
    ]
    assert claire("train", argv) == 0
    return out


def collect(files: CohortFiles, folder: Path, rows: list[TrainingRow], out: Path, *more: object) -> int:
    table = write_rows(folder / "trainings.csv", TrainingRow, rows)
    return claire(
        "collect",
        ["--trainings", table, "--variants", folder / "variants.zip", *inputs(files, folder), "--out", out, *more],
    )


def collected(out: Path) -> Collected:
    return read_document(out / "collected.json", Collected, "")


def results(out: Path) -> Iterator[Path]:
    """Return the files of trainings, by name."""
    own = ("collected.json", "collect.run.json")
    return iter(sorted(p for p in out.iterdir() if p.name not in own and not p.name.endswith(".variant.json")))


def test_the_finished_trainings_are_taken_and_the_others_named(
    files: CohortFiles, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plan(tmp_path, VARIANTS, range(3))
    trained = [train(files, tmp_path, rows[position]) for position in (4, 0, 2)]
    assert collect(files, tmp_path, rows, out) == 0
    assert "taken from the store: 3 of 6 trainings" in capsys.readouterr().err
    assert (sorted(collected(out).found), collected(out).missing) == ([0, 2, 4], (1, 3, 5))
    expected = sorted((path.name, path.read_bytes()) for folder in trained for path in folder.iterdir())
    assert [(path.name, path.read_bytes()) for path in results(out)] == expected
    assert {path.name: path.read_bytes() for path in out.glob("*.variant.json")} == {
        name: (tmp_path / name).read_bytes()
        for name in (f"{rows[position].variant}.variant.json" for position in (1, 3))
    }
    record = read_record(out / "collect.run.json")
    assert (record.counts, record.facts) == ({"trainings": 6}, {"found": 3, "missing": 3})


def test_the_found_positions_are_in_the_order_of_the_files(files: CohortFiles, tmp_path: Path, out: Path) -> None:
    rows = plan(tmp_path, VARIANTS, range(12))
    names = [f"{row.variant}-f{row.fold}" for row in rows]
    for variant in VARIANTS:
        for fold in range(12):
            publish(files, tmp_path, variant, fold, "cpu-fp32")
    assert collect(files, tmp_path, rows, out) == 0
    assert [names[position] for position in collected(out).found] == [
        path.name.removesuffix(".run.zip") for path in results(out) if path.suffix == ".zip"
    ]
    assert collected(out).missing == ()


def publish(files: CohortFiles, folder: Path, variant: Variant, fold: int, kind: str) -> None:
    """Publish a result that says the kind of its device, as a training there would."""
    key = training_key(variant, fold, files.sha256, sha256_file(files.folds), None, kind)
    name = run_name(variant, fold)
    entry = open_entry(folder / "store", "train", key)
    with entry.publishing() as staging, Record("train", name, staging, {}, {}) as record:
        (staging / f"{name}.run.zip").write_text(kind)
        record.output(staging / f"{name}.run.zip")


@pytest.mark.parametrize(
    ("device", "kinds", "taken"),
    [
        ("auto", ("cpu-bf16", "cuda-fp16"), "cuda-fp16"),
        ("auto", ("cpu-fp32",), "cpu-fp32"),
        ("cpu", ("cpu-bf16", "cuda-fp16"), "cpu-bf16"),
        ("cuda", ("cpu-bf16", "cuda-bf16"), "cuda-bf16"),
        ("cuda", ("cpu-bf16",), None),
    ],
)
def test_a_result_of_a_gpu_is_preferred_where_any_device_serves(
    files: CohortFiles, tmp_path: Path, out: Path, device: str, kinds: tuple[str, ...], taken: str | None
) -> None:
    for kind in kinds:
        publish(files, tmp_path, VARIANTS[0], 1, kind)
    assert collect(files, tmp_path, plan(tmp_path, VARIANTS[:1], range(1, 2)), out, "--device", device) == 0
    assert [path.read_text() for path in out.glob("*.run.zip")] == ([taken] if taken else [])
    assert collected(out).missing == (() if taken else (0,))


@pytest.mark.parametrize("capability", [(7, 0), (8, 0), (9, 0), None])
@pytest.mark.parametrize("dimensions", ["2D", "3D"])
def test_the_kind_of_every_device_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, dimensions: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    for name in ("auto", "cpu", *(["cuda"] if capability else [])):
        assert choose_device(name, dimensions).kind in device_kinds(name)


def test_pretrained_weights_belong_to_the_training(files: CohortFiles, tmp_path: Path, out: Path) -> None:
    variant = VARIANTS[0].model_copy(update={"pretraining": "weights:given.pth"})
    torch.save({"first.0.weight": torch.ones(8, 1, 3, 3)}, tmp_path / "given.pth")
    rows = plan(tmp_path, [variant], range(1), tmp_path / "given.pth")
    train(files, tmp_path, rows[0])
    assert collect(files, tmp_path, rows, out) == 0
    assert collected(out).found == (0,)
    torch.save({"first.0.weight": torch.zeros(8, 1, 3, 3)}, tmp_path / "given.pth")
    assert collect(files, tmp_path, rows, tmp_path / "other") == 0
    assert collected(tmp_path / "other").missing == (0,)


def test_a_damaged_result_is_missing(
    files: CohortFiles, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plan(tmp_path, VARIANTS[:1], range(2))
    for row in rows:
        train(files, tmp_path, row)
    entry = next(path for path in (tmp_path / "store/train").iterdir() if [*path.glob("*-f1.safetensors")])
    (weights,) = entry.glob("*.safetensors")
    for path in (entry, weights):
        path.chmod(0o700)
    weights.write_bytes(b"cut")
    assert collect(files, tmp_path, rows, out) == 0
    assert "damaged: moved aside as .damaged" in capsys.readouterr().err
    assert (collected(out).found, collected(out).missing) == ((0,), (1,))
    assert [path for path in results(out) if "-f1" in path.name] == []
    assert [*out.glob("*.variant.json")]


def test_without_a_store_all_are_missing_and_the_cohort_is_not_read(
    files: CohortFiles, tmp_path: Path, out: Path
) -> None:
    table = write_rows(tmp_path / "trainings.csv", TrainingRow, plan(tmp_path, VARIANTS, range(3)))
    argv = [
        "--trainings",
        table,
        "--variants",
        tmp_path / "variants.zip",
        "--cohort",
        flip_a_voxel(files.cohort),
        "--folds",
        files.folds,
        "--out",
        out,
    ]
    assert claire("collect", argv) == 0
    assert (collected(out).found, collected(out).missing) == ((), tuple(range(6)))
    assert [*results(out)] == []


def test_a_damaged_cohort_is_named_before_anything_is_submitted(
    files: CohortFiles, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plan(tmp_path, VARIANTS[:1], range(1))
    train(files, tmp_path, rows[0])
    flip_a_voxel(files.cohort)
    capsys.readouterr()
    assert collect(files, tmp_path, rows, out) == 1
    require_told(capsys.readouterr().err, "collect", "cohort.h5 is damaged, its checksum does not match")
    assert [*out.iterdir()] == []


def test_a_variant_of_another_plan_is_named(
    files: CohortFiles, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plan(tmp_path, VARIANTS, range(1))
    write_variants(tmp_path / "variants.zip", VARIANTS[:1])
    assert collect(files, tmp_path, rows, out) == 2
    require_told(capsys.readouterr().err, "collect", f"variants.zip does not have: {VARIANTS[1].id}")


def test_a_file_that_is_not_there_is_named(
    files: CohortFiles, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plan(tmp_path, VARIANTS[:1], range(1), tmp_path / "gone.pth")
    assert collect(files, tmp_path, rows, out) == 2
    require_told(capsys.readouterr().err, "collect", "trainings.csv names a file that is not there: gone.pth")
