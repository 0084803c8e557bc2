"""The inputs of explain: damaged ones are named, and files of different trainings are not mixed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from claire.core.command.errors import UsageError
from claire.core.contracts.weights import read_weights, write_weights
from claire.explain import Parameters
from claire.explain.inputs import open_inputs

from tests.support.command import claire
from tests.support.damage import DAMAGES, damage, flip_a_voxel, require_told
from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.synthetic import CohortFiles, make_cohort


@pytest.fixture(scope="module")
def trained(cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_tiny(cohort_files, FLAT, tmp_path_factory.mktemp("run"), steps=2)


def paths(trained: Trained) -> dict[str, Path]:
    files = trained.files
    return {"weights": trained.weights, "run": trained.run, "cohort": files.cohort, "folds": files.folds}


def opened(trained: Trained, **replaced: Path) -> object:
    return open_inputs(Parameters(**{**paths(trained), **replaced}, device="cpu"))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["weights", "run", "cohort", "folds", "judge"])
def test_a_damaged_input_is_named(
    trained: Trained, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    given = paths(trained)
    bad = damage(given.get(name, trained.weights), how, tmp_path / "damaged")
    argv = [word for flag, path in {**given, name: bad}.items() for word in (f"--{flag}", str(path))]
    assert claire("explain", [*argv, "--device", "cpu", "--out", str(out)]) in (1, 2)
    require_told(capsys.readouterr().err, "explain", bad.name)
    assert [*out.iterdir()] == []


def test_a_cohort_with_a_flipped_voxel_is_named(
    trained: Trained, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {**paths(trained), "cohort": flip_a_voxel(Path(shutil.copy(trained.files.cohort, tmp_path)))}
    argv = [word for flag, path in given.items() for word in (f"--{flag}", str(path))]
    store = tmp_path / "store"
    assert claire("explain", [*argv, "--device", "cpu", "--store", str(store), "--out", str(out)]) == 1
    require_told(capsys.readouterr().err, "explain", "cohort.h5 is damaged, its checksum does not match")
    assert [*out.iterdir(), *store.glob("*/*")] == []


def test_a_cohort_of_another_hash_is_refused(trained: Trained, tmp_path: Path) -> None:
    other = make_cohort(tmp_path, patients=24)
    with pytest.raises(UsageError, match=r"--cohort is not the one that run .* was trained on: expected SHA-256"):
        opened(trained, cohort=other.cohort)


def changed_weights(trained: Trained, folder: Path, **facts: object) -> Path:
    """Write the weights of the run under other facts."""
    state, own = read_weights(trained.weights)
    return write_weights(folder / "changed.safetensors", state, own.model_copy(update=facts))


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"run": "v0-f0"}, "--weights and --run are from different trainings: expected run v0-f0"),
        ({"cohort_sha256": "0" * 64}, "--cohort is not the one that run"),
        ({"fold": 7}, "--folds has no test scans in fold 0 of this cohort"),
    ],
)
def test_weights_of_another_training_are_refused(
    trained: Trained, tmp_path: Path, facts: dict[str, object], fault: str
) -> None:
    with pytest.raises(UsageError, match=fault) as caught:
        opened(trained, weights=changed_weights(trained, tmp_path, **facts))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("facts", "named"),
    [({"fold": 1}, "fold"), ({"cohort_sha256": "0" * 64}, "cohort_sha256")],
)
def test_a_judge_of_another_fold_or_cohort_is_refused(
    trained: Trained, tmp_path: Path, facts: dict[str, object], named: str
) -> None:
    with pytest.raises(UsageError, match=f"--judge differs from the explained network in {named}"):
        opened(trained, judge=changed_weights(trained, tmp_path, **facts))


def test_a_3d_network_is_never_explained_in_bf16(
    cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for variant, precision in ((FLAT, "bf16"), (SOLID, "fp32")):
        run = train_tiny(cohort_files, variant, tmp_path, steps=1)
        for name in ("auto", "cpu"):
            probe = open_inputs(Parameters(**paths(run), device=name)).probe
            assert probe.device.precision == precision
            with probe.reduced_precision():
                assert torch.is_autocast_enabled("cpu") == (precision == "bf16")


def test_explained_weights_are_the_same_bytes_at_two_writes(trained: Trained, tmp_path: Path) -> None:
    for name in "ab":
        argv = [word for flag, path in paths(trained).items() for word in (f"--{flag}", str(path))]
        quick = ["--heal-steps", "0", "--attribution-steps", "1", "--candidates", "1", "--limit", "1"]
        refined = ["--refine-steps", "0", "--keep-weights", "--device", "cpu", "--out", str(tmp_path / name)]
        assert claire("explain", [*argv, *quick, *refined]) == 0
    first, second = (next((tmp_path / name).glob("*.explained.safetensors")).read_bytes() for name in "ab")
    assert first == second
    assert first == trained.weights.read_bytes()
