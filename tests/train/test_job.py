"""The inputs of a training: damaged, foreign and contradictory ones are named before any time is spent."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.folds import read_fold_rows, write_folds
from claire.core.contracts.run import read_run
from claire.core.contracts.variant import Variant, write_variant
from claire.core.networks.devices import choose_device
from claire.core.networks.training_key import versions
from claire.train import Parameters, run
from claire.train.job import Job, read_job, store_key
from claire.train.training import Training

from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, require_told
from tests.support.explaining import FLAT, SOLID
from tests.support.synthetic import CLASSES, CohortFiles, make_cohort

QUICK = FLAT.model_copy(update={"epochs": 1})
SOLID_QUICK = SOLID.model_copy(update={"epochs": 1})


@pytest.fixture
def inputs(cohort_files: CohortFiles, tmp_path: Path) -> dict[str, Path]:
    """The files of a training, by flag."""
    variant = write_variant(tmp_path / f"{QUICK.id}.variant.json", QUICK)
    return {"variant": variant, "cohort": cohort_files.cohort, "folds": cohort_files.folds}


def train(inputs: dict[str, Path], out: Path, *flags: str) -> int:
    argv = [word for name, path in inputs.items() for word in (f"--{name}", str(path))]
    return claire("train", [*argv, "--fold", "0", "--device", "cpu", "--out", str(out), *flags])


def job(inputs: dict[str, Path], **more: object) -> Job:
    return read_job(Parameters.model_validate({**inputs, "fold": 0, "device": "cpu", **more}))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["variant", "cohort", "folds"])
def test_a_damaged_input_is_named_before_training(
    inputs: dict[str, Path],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    how: str,
) -> None:
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("trained"))
    bad = damage(inputs[name], how, tmp_path / "damaged")
    assert train({**inputs, name: bad}, out) in (1, 2)
    require_told(capsys.readouterr().err, "train", bad.name)
    assert [*out.iterdir()] == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04no pickle", b"\xff" * 999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_pretrained_weights_are_named(
    inputs: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], suffix: str, content: bytes
) -> None:
    given = tmp_path / f"given{suffix}"
    given.write_bytes(content)
    variant = QUICK.model_copy(update={"pretraining": f"weights:{given.name}"})
    inputs["variant"] = write_variant(tmp_path / "v.variant.json", variant)
    assert train({**inputs, "pretrained": given}, out) == 1
    require_told(capsys.readouterr().err, "train", f"{given.name} is not a weights file that can be read safely")
    assert [*out.iterdir()] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("split,fold", "split,folds", "folds.csv has no column fold"),
        (",0\n", ",first\n", "line 2 of folds.csv is not valid: fold"),
        (",0\n", ",\n", "has neither fold nor split"),
        ("P000000000000", "P000000000001", "P000000000001 is a duplicate in folds.csv"),
    ],
)
def test_a_changed_table_of_folds_is_refused(
    inputs: dict[str, Path],
    tmp_path: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    fault: str,
) -> None:
    changed = tmp_path / "folds.csv"
    changed.write_text(inputs["folds"].read_text().replace(old, new, 1))
    assert train({**inputs, "folds": changed}, out) in (1, 2)
    require_told(capsys.readouterr().err, "train", fault)


def test_folds_of_another_cohort_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    other = make_cohort(tmp_path / "other", patients=24)
    with pytest.raises(ClaireError, match="6 patients of the folds have no scan in the cohort") as caught:
        job(inputs, folds=other.folds)
    assert "folds.csv that was written beside this cohort.h5" in caught.value.remedy


def test_a_cohort_of_more_patients_than_the_folds_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    fewer = write_folds(tmp_path / "folds.csv", read_fold_rows(inputs["folds"])[3:])
    with pytest.raises(ClaireError, match="3 patients of the cohort are in no fold, such as P000000000000"):
        job(inputs, folds=fewer)


@pytest.mark.parametrize("fold", [3, 99])
def test_a_fold_that_is_not_there_is_wrong_usage(inputs: dict[str, Path], fold: int) -> None:
    with pytest.raises(UsageError, match=f"expected 0 to 2, got {fold}"):
        job(inputs, fold=fold)


@pytest.mark.parametrize(("named", "given"), [("weights:a.pth", None), ("none", "b.pth"), ("weights:a.pth", "b.pth")])
def test_pretrained_weights_are_those_that_the_variant_names(
    inputs: dict[str, Path], tmp_path: Path, named: str, given: str | None
) -> None:
    if given:
        (tmp_path / given).write_bytes(b"weights")
    inputs["variant"] = write_variant(tmp_path / "v.variant.json", QUICK.model_copy(update={"pretraining": named}))
    with pytest.raises(UsageError, match=f"expected {named.removeprefix('weights:')}, got {given or 'none'}"):
        job(inputs, pretrained=tmp_path / given if given else None)


def test_roles_of_the_job_are_those_of_the_folds(inputs: dict[str, Path]) -> None:
    made = job(inputs)
    assert made.name == f"{QUICK.id}-f0"
    assert {role: len(scans) for role, scans in made.scans.items()} == {
        "train": 6, "validation": 6, "test": 6, "external": 0,
    }  # fmt: skip


def test_everything_that_shapes_a_training_is_in_its_key(inputs: dict[str, Path], tmp_path: Path) -> None:
    made, device = job(inputs), choose_device("cpu", "3D")
    key = store_key(made, inputs["folds"], device)
    assert key["libraries"] == versions()
    assert (key["cohort"], key["device"]) == (open_cohort(inputs["cohort"]).sha256, "cpu-fp32")
    (tmp_path / "other.csv").write_text(inputs["folds"].read_text() + "\n")
    variant = write_variant(tmp_path / "v.variant.json", QUICK.model_copy(update={"seed": 9}))
    others = [
        store_key(job(inputs, fold=1), inputs["folds"], device),
        store_key(made, tmp_path / "other.csv", device),
        store_key(job({**inputs, "variant": variant}), inputs["folds"], device),
    ]
    assert len({str(each) for each in [key, *others]}) == 4


def test_the_source_of_an_own_architecture_is_in_the_key(inputs: dict[str, Path], tmp_path: Path) -> None:
    for architecture, known in (
        (QUICK.architecture, True), ("torchvision:resnet18", False), ("python:no.such.module:net", False),
    ):  # fmt: skip
        variant = write_variant(tmp_path / "v.variant.json", Variant(architecture=architecture))
        key = store_key(job({**inputs, "variant": variant}), inputs["folds"], choose_device("cpu", "3D"))
        assert (key["architecture"] is not None) == known


def test_a_loss_that_became_nan_ends_the_step_with_a_remedy(
    inputs: dict[str, Path], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = Variant.model_validate(QUICK.model_dump() | {"learning_rate": 1e30, "epochs": 3})
    inputs["variant"] = write_variant(tmp_path / "v.variant.json", wild)
    assert train(inputs, out) == 1
    require_told(capsys.readouterr().err, f"train {wild.id}-f0", "became NaN or infinite", "Lower its learning_rate")
    assert [*out.iterdir()] == []


def test_a_full_disk_is_told_and_nothing_is_kept(
    inputs: dict[str, Path], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("claire.train.loading.MEMORY_BYTES", 0)
    monkeypatch.setattr("os.posix_fallocate", fail)
    assert train(inputs, out) == 1
    require_told(capsys.readouterr().err, "train", "the disk is full", "TMPDIR")
    assert [*out.iterdir()] == []


@pytest.mark.parametrize(("variant", "device"), [(QUICK, "cpu-bf16"), (SOLID_QUICK, "cpu-fp32")])
def test_a_3d_network_is_never_trained_in_bf16(
    inputs: dict[str, Path],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: Variant,
    device: str,
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    inputs["variant"] = write_variant(tmp_path / "v.variant.json", variant)
    assert train(inputs, out) == 0
    assert read_run(out / f"{variant.id}-f0.run.zip", CLASSES).facts.device == device


def test_the_step_called_from_python_raises_what_the_command_says(inputs: dict[str, Path], out: Path) -> None:
    out.mkdir()
    with pytest.raises(UsageError, match=r"--fold is not a fold of folds\.csv"):
        run(Parameters(**inputs, fold=7, device="cpu", out=out))
    assert [*out.iterdir()] == []
