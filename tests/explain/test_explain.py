"""The step from end to end on a synthetic cohort, with networks of either kind."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.folds import read_fold_rows, write_folds
from claire.core.contracts.run import Predictions
from claire.core.contracts.winner import write_winner
from claire.core.imaging.volume import from_nifti_gz
from claire.explain.maps.attribution import MAPS
from claire.explain.work import choose_scans

from tests.support.command import claire
from tests.support.documents import winner
from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.lungs import make_scan
from tests.support.synthetic import CohortFiles

QUICK = ["--heal-steps", "4", "--attribution-steps", "4", "--candidates", "4", "--insertions", "4"]


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def explain(trained: Trained, out: Path, *flags: str, **replaced: Path) -> int:
    files = {
        "weights": trained.weights,
        "run": trained.run,
        "cohort": trained.files.cohort,
        "folds": trained.files.folds,
    }
    argv = [word for name, path in {**files, **replaced}.items() for word in (f"--{name}", str(path))]
    return claire("explain", [*argv, "--device", "cpu", "--out", str(out), *QUICK, *flags])


@pytest.fixture(scope="module")
def explained(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained")
    assert explain(trained, out, "--images", "phantom", "--keep-weights") == 0
    return out


def document(out: Path) -> dict:
    return json.loads(next(out.glob("*.lesions.json")).read_text())


def test_every_file_of_the_contract_is_there(trained: Trained, explained: Path) -> None:
    stem = f"{trained.variant.id}-f0"
    whats = ["explain.run.json", "explained.safetensors", "lesions.csv", "lesions.json", "overlays.zip", "saliency.zip"]
    assert sorted(path.name for path in explained.iterdir()) == [f"{stem}.{what}" for what in whats]
    assert json.loads((explained / f"{stem}.explain.run.json").read_text())["counts"]["scans"] == 6


def test_the_true_lesion_comes_first_and_is_crucial(trained: Trained, explained: Path) -> None:
    called = [scan for scan in document(explained)["scans"] if scan["outcome"] == "TP"]
    assert len(called) == 3
    for scan in called:
        first = scan["lesions"][0]
        assert (first["rank"], first["crucial"]) == (1, True)
        assert first["mean_hu"] > -600
        assert first["rank_low"] <= 1 <= first["rank_high"]


def test_scans_called_negative_have_no_crucial_lesion(explained: Path) -> None:
    others = [scan for scan in document(explained)["scans"] if scan["outcome"] == "TN"]
    assert others
    assert not any(lesion["crucial"] for scan in others for lesion in scan["lesions"])


def test_sides_are_those_of_the_lung_mask(trained: Trained, explained: Path) -> None:
    for scan in document(explained)["scans"]:
        for lesion in scan["lesions"]:
            x = lesion["centroid_lps_mm"][0]
            assert lesion["side"] == ("right" if x < 8 * 16 else "left")


def test_gates_are_closed_on_a_small_cohort_and_said_to_be(explained: Path) -> None:
    found = document(explained)
    assert found["reliable"] is False
    assert found["statement"].startswith("Not reliable")
    gates = {gate["name"]: gate for gate in found["gates"]}
    assert gates["empty_lung"]["statement"].endswith("n=3, 36 patients called positive are needed")
    assert (gates["empty_lung"]["value"], gates["empty_lung"]["open"]) == (1.0, False)
    assert "no winner.json of evaluate was given" in gates["shortcut_guards"]["statement"]
    assert found["network"]["refined"] is False
    assert found["evidence"]["shares"]["empty_lung"] == [1.0] * 3


def test_a_called_scan_says_what_decided_and_what_stays_without(explained: Path) -> None:
    called = [scan for scan in document(explained)["scans"] if scan["outcome"] == "TP"]
    for scan in called:
        assert "decides" in scan["sentence"]
        assert scan["probability_without"] < scan["probability"]
        assert scan["background"]["decision"] == "negative"
        assert f"{scan['probability_without']:.2f}" in scan["sentence"]


def test_the_insertion_audit_counts_its_places(explained: Path) -> None:
    audit = document(explained)["insertion"]
    assert audit["places"] >= 3
    assert {cell["axis"] for cell in audit["cells"]} == {"all", "zone", "depth", "size"}
    assert sum(cell["n"] for cell in audit["cells"] if cell["axis"] == "zone") == audit["places"]


def test_methods_are_compared_with_the_threshold(explained: Path) -> None:
    rows = {row["method"]: row for row in document(explained)["methods"] if row["outcome"] == "TP"}
    assert {"interventions", "grad_cam", "integrated_gradients", "hu_raw", "hu_smoothed", "random"} <= set(rows)
    assert rows["interventions"]["deletion_auc"]["value"] < rows["random"]["deletion_auc"]["value"]


def test_the_table_holds_a_row_a_lesion(explained: Path) -> None:
    with next(explained.glob("*.lesions.csv")).open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(scan["lesions"]) for scan in document(explained)["scans"])
    assert {row["crucial"] for row in rows} == {"true", "false"}


def test_maps_lie_on_the_grid_and_number_lesions_by_rank(trained: Trained, explained: Path) -> None:
    scan = next(one for one in document(explained)["scans"] if one["outcome"] == "TP")
    with zipfile.ZipFile(next(explained.glob("*.saliency.zip"))) as archive:
        volumes = {
            name.split(".")[1]: from_nifti_gz(archive.read(name))
            for name in archive.namelist()
            if name.startswith(scan["scan"])
        }
    maps = {"interventions", "grad_cam", "integrated_gradients", "hu_raw", "hu_smoothed", "random", "healing"}
    assert set(volumes) == maps | {"lesions", "hu", "healed"}
    labels = volumes["lesions"]
    assert sorted(np.unique(labels.data)) == [0, *(lesion["id"] for lesion in scan["lesions"])]
    changed = volumes["hu"].data != volumes["healed"].data
    assert changed[labels.data == 1].mean() > 0.9
    assert not changed[3].all()
    x, y, z = (labels.affine @ [*np.argwhere(labels.data == 1).mean(0)[::-1], 1])[:3]
    np.testing.assert_allclose([-x, -y, z], scan["lesions"][0]["centroid_lps_mm"], atol=0.1)
    assert volumes["interventions"].data.max() == pytest.approx(scan["lesions"][0]["delta"], rel=0.1)


def test_pictures_are_in_the_archive(explained: Path) -> None:
    with zipfile.ZipFile(next(explained.glob("*.overlays.zip"))) as archive:
        assert sorted(archive.namelist()) == sorted(n for scan in document(explained)["scans"] for n in scan["images"])
        assert all(info.file_size < 150_000 for info in archive.infolist())


def test_the_same_seed_gives_the_same_bytes_and_no_pictures_without_leave(trained: Trained, tmp_path: Path) -> None:
    for name in "ab":
        assert explain(trained, tmp_path / name, "--images", "none", "--limit", "2") == 0
    for one in (tmp_path / "a").iterdir():
        if "run.json" not in one.name:
            assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes(), one.name
    with zipfile.ZipFile(next((tmp_path / "a").glob("*.overlays.zip"))) as archive:
        assert archive.namelist() == []


def test_without_a_healer_there_is_no_mask_of_it(trained: Trained, tmp_path: Path) -> None:
    assert explain(trained, tmp_path, "--heal-steps", "0", "--limit", "1") == 0
    with zipfile.ZipFile(next(tmp_path.glob("*.saliency.zip"))) as archive:
        assert not [name for name in archive.namelist() if "healing" in name]


def test_every_map_is_made_where_asked_for(trained: Trained, tmp_path: Path) -> None:
    assert explain(trained, tmp_path, "--maps", "all", "--heal-steps", "0", "--limit", "1") == 0
    with zipfile.ZipFile(next(tmp_path.glob("*.saliency.zip"))) as archive:
        made = {name.split(".")[1] for name in archive.namelist()}
    assert set(MAPS) <= made


@pytest.mark.parametrize("kind", ["healed", "attacked"])
def test_a_refined_network_that_does_no_harm_is_the_one_explained(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("claire.explain.refine.FEWEST", 2)
    flags = ("--refine", kind, "--refine-steps", "2", "--limit", "1", "--keep-weights")
    assert explain(trained, tmp_path, *flags) == 0
    found = document(tmp_path)["network"]
    assert (found["refined"], found["refinement"]["kind"], found["refinement"]["steps"]) == (True, kind, 2)
    assert found["refinement"]["auc_after"] == 1.0
    assert next(tmp_path.glob("*.explained.safetensors")).read_bytes() != trained.weights.read_bytes()


def test_a_judge_that_shares_the_grid_answers_its_gate(trained: Trained, tmp_path: Path) -> None:
    other = train_tiny(trained.files, trained.variant.model_copy(update={"learning_rate": 0.25}), tmp_path)
    assert explain(trained, tmp_path / "out", "--judge", str(other.weights), "--limit", "1") == 0
    gates = {gate["name"]: gate for gate in document(tmp_path / "out")["gates"]}
    assert (gates["flips_judge"]["n"], gates["flips_judge"]["value"]) == (3, 1.0)


@pytest.mark.parametrize(("fired", "value"), [((), 0.0), (("one_label_kernel",), 1.0)])
def test_the_guards_of_evaluate_feed_their_gate(
    trained: Trained, tmp_path: Path, fired: tuple[str, ...], value: float
) -> None:
    path = write_winner(tmp_path / "winner.json", winner().model_copy(update={"guards_fired": fired}))
    assert explain(trained, tmp_path / "out", "--winner", str(path), "--limit", "1") == 0
    gate = document(tmp_path / "out")["gates"][-1]
    assert (gate["name"], gate["value"], gate["open"]) == ("shortcut_guards", value, not fired)


def test_a_network_at_chance_ranks_nothing(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claire.explain.work.is_better", lambda evidence: False)
    assert explain(trained, tmp_path, "--limit", "2") == 0
    for scan in document(tmp_path)["scans"]:
        assert not any(lesion["crucial"] or lesion["rank"] for lesion in scan["lesions"])
        assert "not shown to be better than chance" in scan["sentence"]


def test_what_gates_need_is_listed_and_nothing_is_written(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(trained, tmp_path / "out", "--list") == 0
    said = capsys.readouterr().out
    assert "empty_lung: 36 patients called positive needed; this fold has 3, 3 folds about 9 (27 too few)" in said
    assert "insertion: 6 patients called negative needed; this fold has 3, 3 folds about 9 (enough)" in said
    assert not list((tmp_path / "out").glob("*.json"))


def test_a_judge_of_another_grid_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = train_tiny(trained.files, trained.variant.model_copy(update={"size": 48}), tmp_path, steps=1)
    assert explain(trained, tmp_path / "out", "--judge", str(other.weights)) == 2
    assert "--judge differs from the explained network in size" in capsys.readouterr().err


def test_files_of_different_runs_are_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = train_tiny(trained.files, trained.variant.model_copy(update={"learning_rate": 0.5}), tmp_path, steps=1)
    assert explain(trained, tmp_path / "out", run=other.run) == 2
    assert "Give the two files of one training" in capsys.readouterr().err


def test_other_folds_than_those_of_the_training_are_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_fold_rows(trained.files.folds)
    turned = [row.model_copy(update={"fold": (row.fold + 1) % 3}) for row in rows]
    assert explain(trained, tmp_path / "out", folds=write_folds(tmp_path / "folds.csv", turned)) == 2
    assert "other test scans than run" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "called", "others"), [(0, 4, 8), (4, 3, 1), (8, 4, 4), (1, 1, 0)])
def test_a_limit_takes_called_scans_first_and_a_sample_of_the_others(limit: int, called: int, others: int) -> None:
    names = np.array([f"S{i}" for i in range(12)])
    chance = np.array([[0.1, 0.9]] * 4 + [[0.9, 0.1]] * 8)
    predicted = Predictions(names, names, np.full(12, -1), np.zeros(12, int), chance)
    scans = [make_scan().model_copy(update={"scan": str(name)}) for name in names]
    chosen = choose_scans(scans, predicted, 0.5, limit, seed=0)
    assert sum(int(scan.scan[1:]) < 4 for scan in chosen) == called
    assert len(chosen) == called + others
