"""The evaluation: what is chosen where, what is refused, what every document holds."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.metrics import METRICS
from claire.core.contracts.run import PredictionRow
from claire.core.contracts.scan_table import ScanRow
from claire.core.contracts.variant import Variant
from claire.core.statistics.intervals import bootstrap_weights
from claire.evaluate.contrasts import axes
from claire.evaluate.groups import merge_small
from claire.evaluate.inputs import read_experiment
from claire.evaluate.selection import correct_for_choice, nested, rank
from sklearn.metrics import roc_auc_score

from tests.support.command import claire
from tests.support.runs import World, told_apart, variants

OUTPUTS = ("leaderboard.csv", "metrics.json", "comparisons.csv", "curves.csv", "winner.json")


def run(world: World, out: Path, *flags: str, **tables: object) -> int:
    return claire("evaluate", [*world.tables(**tables), "--out", str(out), "--bootstrap", "200", *flags])


def evaluated(world: World, out: Path, *flags: str, **tables: object) -> dict:
    assert run(world, out, *flags, **tables) == 0
    return json.loads((out / "metrics.json").read_text())


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def refused(world: World, out: Path, capsys: pytest.CaptureFixture[str], *flags: str, **tables: object) -> str:
    code = run(world, out, *flags, **tables)
    assert code in (1, 2)
    assert not any((out / name).exists() for name in OUTPUTS)
    return capsys.readouterr().err.split("claire evaluate: ")[-1]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def test_all_outputs_are_there_and_repeat_byte_by_byte(world: World, out: Path, tmp_path: Path) -> None:
    world.train_all(variants(3), told_apart(1.5), slices=3)
    evaluated(world, out)
    evaluated(world, tmp_path / "again")
    for name in OUTPUTS:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    record = json.loads((out / "evaluate.run.json").read_text())
    assert set(record["outputs"]) == set(OUTPUTS)
    assert record["counts"]["runs"] == 9


def test_the_auc_counts_pairs_within_folds(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    document = evaluated(world, out)
    runs = [
        read_experiment(world.runs, world.folder / "scans.csv", world.folder / "cohort.json").candidates[
            variants(1)[0].id
        ]
    ]
    areas = [roc_auc_score(of.scans["test"].target, of.scans["test"].probability[:, 1]) for of in runs[0].runs.values()]
    assert document["variants"][variants(1)[0].id]["patient"]["auc"]["value"] == pytest.approx(np.mean(areas), abs=1e-6)


def test_every_metric_lies_in_its_interval(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    levels = evaluated(world, out)["variants"][variants(1)[0].id]
    for level in ("patient", "scan"):
        assert set(METRICS) == set(levels[level])
        assert all(of["lower"] < of["value"] < of["upper"] for of in levels[level].values())
    assert levels["patient"]["auc"]["delong_lower"] < levels["patient"]["auc"]["value"]


def test_several_scans_of_a_patient_count_once(tmp_path: Path, out: Path) -> None:
    world = World(tmp_path / "world", scans_each=3)
    world.train_all(variants(1), told_apart(0.7))
    document = evaluated(world, out)["variants"][variants(1)[0].id]
    assert document["n"] == {"patients": 60, "scans": 180}
    assert sum(map(sum, document["confusion"]["matrix"])) == 60
    # The mean of three scans tells more than one.
    assert document["patient"]["auc"]["value"] > document["scan"]["auc"]["value"]


def test_the_winner_is_best_on_validation_never_on_test(world: World, out: Path) -> None:
    good, bad = variants(2)
    for fold in range(3):
        world.train(good, fold, told_apart(3), seed=1)
        world.train(bad, fold, told_apart(0.3), seed=2)
    document = evaluated(world, out)
    first = table(out / "leaderboard.csv")[0]
    assert document["winner"]["variant"] == first["variant"] == good.id
    assert (first["rank"], first["winner"], first["differs"]) == ("1", "yes", "seed=0")
    assert [entry["variant"] for entry in document["headline"]["selection"]] == [good.id] * 3
    picked = json.loads((out / "winner.json").read_text())
    assert picked == {
        "schema_version": 1,
        "variant": good.id,
        "winner": [0, 2, 4],
        "fold": [0, 1, 2],
        "explained": [0, 2, 4],
    }


def test_ties_go_to_the_lower_loss_then_the_smaller_id(world: World, out: Path) -> None:
    unsure, sure, same = variants(3)
    for fold in range(3):
        world.train(unsure, fold, lambda _, target: 0.4 + 0.2 * target)
        world.train(sure, fold, lambda _, target: 0.1 + 0.8 * target)
        world.train(same, fold, lambda _, target: 0.1 + 0.8 * target)
    assert evaluated(world, out)["winner"]["variant"] == min(sure.id, same.id)


def test_choosing_among_noise_gains_nothing_but_the_flattered_winner(tmp_path: Path) -> None:
    headline, corrected, winner = [], [], []
    for seed in range(10):
        # Each variant has its whims about each patient, so a lucky one is lucky on validation and on test.
        world = World(tmp_path / str(seed), stubborn=True)
        for number, variant in enumerate(variants(12)):
            for fold in range(3):
                world.train(variant, fold, told_apart(0), seed=100 * seed + number)
        world.tables()
        experiment = read_experiment(world.runs, world.folder / "scans.csv", world.folder / "cohort.json")
        strata = list(zip(experiment.test_fold, experiment.target.tolist(), strict=True))
        ranking = rank(experiment, bootstrap_weights(strata, 100, 0))
        chosen = nested(experiment, ranking)
        headline.append(np.mean([ranking.test_auc(name, [fold])[0] for fold, name in chosen.items()]))
        corrected.append(correct_for_choice(ranking, experiment.eligible).value)
        winner.append(ranking.test_auc(ranking.order(experiment.eligible)[0])[0])
    assert np.mean(winner) > 0.58
    assert np.mean(headline) == pytest.approx(0.5, abs=0.06)
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.06)


def test_perfect_separation_has_an_honest_interval_and_fires_a_guard(world: World, out: Path) -> None:
    world.train_all(variants(1), lambda _, target: 0.2 + 0.6 * target)
    document = evaluated(world, out)
    area = document["headline"]["patient"]["auc"]
    assert (area["value"], area["upper"], area["method"]) == (1.0, 1.0, "newcombe")
    assert 0.8 < area["lower"] < 1
    for name in ("accuracy", "f1", "precision", "sensitivity", "specificity", "odds_ratio", "ppv", "npv"):
        assert document["headline"]["patient"][name]["lower"] < document["headline"]["patient"][name]["value"]
    assert all(fold["auc"]["lower"] < 1 for fold in document["headline"]["folds"])
    assert [guard["name"] for guard in document["guards"] if guard["fired"]] == ["auc_too_good"]


def test_constant_scores_are_worth_nothing(world: World, out: Path) -> None:
    world.train_all(variants(1), lambda *_: 0.5)
    document = evaluated(world, out)
    assert document["headline"]["patient"]["auc"]["value"] == 0.5
    assert document["headline"]["patient"]["log_loss"]["value"] == pytest.approx(math.log(2), abs=1e-6)


def test_a_fold_without_a_class_has_no_auc_and_says_so(tmp_path: Path, out: Path) -> None:
    class Lopsided(World):
        def fold(self, i: int) -> int:
            return i // 2 % 2 if i % 2 else i // 2 % 3  # no positive is tested in fold 2

    world = Lopsided(tmp_path / "world")
    world.train_all(variants(2), told_apart(1.5))
    document = evaluated(world, out)
    last = document["headline"]["folds"][2]
    assert last["patients"] == [10, 0]
    assert last["auc"] == {"value": None, "lower": None, "upper": None}
    assert "no AUC" in last["note"]
    assert document["headline"]["folds"][1]["threshold"] == 0.5
    assert document["headline"]["patient"]["auc"]["value"] > 0.5


def test_an_incomplete_variant_is_listed_and_cannot_win(world: World, out: Path) -> None:
    whole, partial = variants(2)
    for fold in range(3):
        world.train(whole, fold, told_apart(0.5))
    world.train(partial, 0, told_apart(4))
    document = evaluated(world, out)
    assert document["winner"]["variant"] == whole.id
    assert {(entry["variant"], entry["fold"]) for entry in document["missing"]} == {(partial.id, 1), (partial.id, 2)}
    lines = {line["variant"]: line for line in table(out / "leaderboard.csv")}
    assert (lines[partial.id]["complete"], lines[partial.id]["rank"], lines[partial.id]["folds"]) == ("no", "2", "1")
    assert {line["folds"] for line in table(out / "comparisons.csv")} == {"1"}


def test_if_all_are_incomplete_one_wins_anyway(world: World, out: Path) -> None:
    world.train(variants(1)[0], 1, told_apart(1))
    document = evaluated(world, out)
    assert document["winner"] | {"complete": False} == document["winner"]
    assert json.loads((out / "winner.json").read_text())["fold"] == [1]


def test_a_training_that_diverged_counts_as_missing(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    world.train(variants(1)[0], 2, lambda *_: math.nan)
    assert "diverged" in evaluated(world, out)["missing"][0]["why"]


def test_only_runs_that_diverged_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), lambda *_: math.nan)
    assert "none of 3 runs can be used" in refused(world, out, capsys)


def test_no_runs_at_all_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "manifest of runs is empty" in refused(world, out, capsys)


def test_runs_of_another_cohort_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    assert "got cccccccccccc" in refused(world, out, capsys, sha256="d" * 64)


def test_a_run_given_twice_is_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    world.runs.append(world.runs[0])
    assert "is a duplicate in the manifest" in refused(world, out, capsys)


def test_a_patient_in_two_folds_is_refused(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, other = World(tmp_path / "world"), World(tmp_path / "other", folds=4)
    world.train(variants(1)[0], 0, told_apart(1))
    world.runs.append(other.train(variants(1)[0], 1, told_apart(1)))
    assert "is tested in fold" in refused(world, out, capsys)


def test_runs_over_different_folds_are_refused(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, other = World(tmp_path / "world"), World(tmp_path / "other", folds=4)
    world.train(variants(2)[0], 0, told_apart(1))
    world.runs.append(other.train(variants(2)[1], 0, told_apart(1)))
    assert "predict different" in refused(world, out, capsys)


def test_a_patient_validated_and_tested_is_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("P0001", "S00010", None, "positive", (0.5, 0.5))
    rows = [PredictionRow("r", 0, split, "scan", *names) for split in ("validation", "test")]
    world.pack(variants(1)[0], 0, rows)
    assert "validates and tests patient P0001" in refused(world, out, capsys)


def test_the_same_pixels_in_two_folds_are_refused(world: World, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows[4] = rows[4].model_copy(update={"pixel_hash": rows[0].pixel_hash})
    assert "S00000 and S00040 have the same voxels" in refused(world, out, capsys, rows=rows)


def test_a_scan_that_contradicts_the_table_is_refused(
    world: World, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    assert "is not in the table" in refused(world, out, capsys, rows=rows[1:])
    rows[0] = rows[0].model_copy(update={"label": "positive"})
    assert "contradicts the table" in refused(world, out, capsys, rows=rows)


@pytest.mark.parametrize(
    "flags", [["--reference", "v0"], ["--seed", "-1"], ["--prevalence", "1"], ["--bootstrap", "9"]]
)
def test_wrong_flags_are_usage_errors(world: World, out: Path, flags: list[str]) -> None:
    world.train_all(variants(1), told_apart(1))
    assert run(world, out, *flags) == 2


def test_variants_are_compared_with_the_reference_and_the_winner(world: World, out: Path) -> None:
    world.train_all(variants(4), told_apart(1))
    reference = variants(4)[2].id
    document = evaluated(world, out, "--reference", reference)
    lines = table(out / "comparisons.csv")
    assert [line["against"] for line in lines] == ["reference"] * 3 + ["winner"] * 3
    assert {line["other"] for line in lines} == {reference, document["winner"]["variant"]}
    for line in lines:
        assert float(line["auc"]) - float(line["auc_other"]) == pytest.approx(float(line["difference"]), abs=2e-6)
        assert float(line["lower"]) <= float(line["difference"]) <= float(line["upper"])
        assert float(line["p"]) <= float(line["p_holm"]) <= 1


def test_a_clear_difference_is_found(world: World, out: Path) -> None:
    good, bad = variants(2)
    for fold in range(3):
        world.train(good, fold, told_apart(4), seed=1)
        world.train(bad, fold, told_apart(0), seed=2)
    evaluated(world, out)
    line = table(out / "comparisons.csv")[0]
    assert float(line["p_holm"]) < 0.001
    assert float(line["p_bootstrap"]) < 0.02


def test_an_axis_is_judged_between_variants_alike_in_all_else(world: World) -> None:
    fast, slow = {"learning_rate": 1e-3}, {"learning_rate": 1e-4}
    grid = [Variant(seed=0, **fast), Variant(seed=0, **slow), Variant(seed=1, **fast)]
    for variant in grid:
        for fold in range(3):
            world.train(variant, fold, told_apart(3 if variant.learning_rate == 1e-4 else 0.5), seed=variant.seed)
    world.tables()
    experiment = read_experiment(world.runs, world.folder / "scans.csv", world.folder / "cohort.json")
    effects = {axis.axis: axis.values for axis in axes(experiment, rank(experiment, np.ones((100, 60))))}
    assert set(effects) == {"learning_rate", "seed"}
    slow_rate, fast_rate = effects["learning_rate"]
    assert (slow_rate.value, fast_rate.value) == (1e-4, 1e-3)
    assert fast_rate.difference.value < -0.1
    assert (fast_rate.variants, fast_rate.matched) == (2, 1)


def test_subgroups_count_patients_and_hide_small_cells(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows[:3] = [row.model_copy(update={"sex": "O"}) for row in rows[:3]]
    document = evaluated(world, out, rows=rows)
    sexes = [row for row in document["subgroups"] if row["attribute"] == "sex" and row["predictor"] == "headline"]
    assert sum(row["n"] for row in sexes) == 60
    assert "O" not in {row["group"] for row in sexes}
    assert all(row["auc"] is None or row["auc"]["lower"] <= row["auc"]["value"] for row in sexes)
    assert {row["attribute"] for row in document["subgroups"]} == {
        "sex", "age_band", "vendor", "kernel", "thickness", "site"
    }  # fmt: skip


def test_merged_groups_cannot_be_subtracted() -> None:
    groups = {"a": set(range(2)), "b": set(range(2, 10)), "c": set(range(10, 40))}
    assert {name: len(of) for name, of in merge_small(groups).items()} == {"c": 30, "others (merged)": 10}
    assert merge_small({"c": groups["c"]}) == {"c": groups["c"]}


def test_a_site_with_one_label_fires_a_guard(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    rows = world.rows()
    rows = [row.model_copy(update={"site": "clinic" if row.label == "positive" else "screening"}) for row in rows]
    fired = [guard for guard in evaluated(world, out, rows=rows)["guards"] if guard["fired"]]
    assert [guard["name"] for guard in fired] == ["one_label_site"]
    assert {entry["what"] for entry in fired[0]["findings"]} == {"clinic", "screening"}


def test_slice_metrics_are_of_true_labels_or_marked(world: World, out: Path) -> None:
    world.train_all([Variant(labels="inherited")], told_apart(1), slices=4)
    document = evaluated(world, out)["headline"]
    assert document["slice"] is None
    assert document["slice_inherited"]["statement"] == "original's slice metrics (inherited labels)"
    assert document["slice_inherited"]["figures"]["auc"]["value"] > 0.5
    assert document["scan_by_slices"]["auc"]["value"] > 0.5


def test_labelled_slices_have_metrics_of_their_own(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1), slices=4, labelled=True)
    document = evaluated(world, out)["headline"]
    assert document["slice"]["auc"]["lower"] < document["slice"]["auc"]["value"]
    assert document["slice_inherited"] is None


def test_calibration_wants_fifty_patients_a_class(tmp_path: Path, out: Path) -> None:
    few, enough = World(tmp_path / "few"), World(tmp_path / "enough", patients=120)
    for world in (few, enough):
        world.train_all(variants(1), told_apart(1))
    assert evaluated(few, out)["headline"]["calibration"]["note"] == "too few (n=30, 30)"
    found = evaluated(enough, tmp_path / "more")["headline"]["calibration"]
    assert found["slope"]["lower"] < found["slope"]["value"] < found["slope"]["upper"]
    assert "calibration" in {line["curve"] for line in table(tmp_path / "more" / "curves.csv")}


def test_curves_stand_on_fixed_grids_within_their_bands(world: World, out: Path) -> None:
    world.train_all(variants(2), told_apart(1), slices=2)
    evaluated(world, out)
    lines = table(out / "curves.csv")
    roc = [line for line in lines if (line["variant"], line["level"], line["curve"]) == ("headline", "patient", "roc")]
    assert [float(line["x"]) for line in roc] == pytest.approx(np.linspace(0, 1, 101))
    assert all(float(line["lower"]) <= float(line["y"]) + 1e-6 for line in roc)
    assert {line["curve"] for line in lines} == {"roc", "pr", "decision", "roc_by_slices"}
    assert {line["fold"] for line in lines} == {"", "0", "1", "2"}
    assert "treat all" in {line["variant"] for line in lines}


def test_the_area_under_the_roc_is_the_reported_auc(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    area = evaluated(world, out)["headline"]["patient"]["auc"]["value"]
    roc = [line for line in table(out / "curves.csv") if line["variant"] == "headline" and line["curve"] == "roc"]
    x, y = (np.array([float(line[key]) for line in roc if line["level"] == "patient"]) for key in "xy")
    assert np.trapezoid(y, x) == pytest.approx(area, abs=0.02)


def test_the_prevalence_moves_the_predictive_values(world: World, out: Path, tmp_path: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    own, rare = evaluated(world, out), evaluated(world, tmp_path / "rare", "--prevalence", "0.01")
    assert (own["prevalence"], own["prevalence_from"]) == (0.5, "cohort")
    assert rare["prevalence_from"] == "stated"
    assert rare["headline"]["patient"]["ppv"]["value"] < own["headline"]["patient"]["ppv"]["value"]


def test_the_sensitive_operating_point_finds_more(world: World, out: Path) -> None:
    world.train_all(variants(1), told_apart(1))
    document = evaluated(world, out)["headline"]
    assert document["at_sensitivity_90"]["sensitivity"]["value"] >= document["patient"]["sensitivity"]["value"]
    assert "auc" not in document["at_sensitivity_90"]


def test_three_classes_are_a_case(tmp_path: Path, out: Path) -> None:
    world = World(tmp_path / "world", patients=90, classes=("normal", "covid", "other"))
    world.train_all(variants(2), told_apart(2))
    document = evaluated(world, out)
    assert document["positive_class"] is None
    assert 0.7 < document["headline"]["patient"]["auc"]["value"] < 1
    assert np.sum(document["headline"]["confusion"]["matrix"], axis=1).tolist() == [30, 30, 30]
    assert document["headline"]["at_sensitivity_90"] is None
    assert {line["label"] for line in table(out / "curves.csv")} == {"normal", "covid", "other"}
    assert table(out / "comparisons.csv")[0]["p"] == ""


class Fixed(World):
    """A cohort whose first patients are tested by every fold, or come from elsewhere."""

    split = "external"

    def rows(self) -> list[ScanRow]:
        splits = [self.split if i < 12 else "" for i in range(self.patients)]
        return [row.model_copy(update={"split": split}) for row, split in zip(super().rows(), splits, strict=True)]

    def fold(self, i: int) -> int:
        return -9 if i < 12 else super().fold(i)

    def train_fixed(self, variant: Variant) -> None:
        for fold in range(self.folds):
            rng = np.random.default_rng(fold)
            rows = []
            for i in range(self.patients):
                split = {-9: self.split, fold: "test", (fold + 1) % 3: "validation"}.get(self.fold(i))
                names = (f"P{i:04d}", f"S{i:04d}0", None, self.classes[i % 2])
                if split:
                    probability = self.probabilities(rng, i % 2, told_apart(1))
                    rows.append(PredictionRow(f"{variant.id}-f{fold}", fold, split, "scan", *names, probability))
            self.pack(variant, fold, rows)


class Decreed(Fixed):
    split = "test"


def test_external_patients_stand_apart(tmp_path: Path, out: Path) -> None:
    world = Fixed(tmp_path / "world")
    world.train_fixed(variants(1)[0])
    document = evaluated(world, out)
    assert document["headline"]["external"]["patients"] == 12
    assert document["headline"]["n"]["patients"] == 48
    assert document["n"]["by_fold"]["external"] == {"negative": 6, "positive": 6}


def test_patients_tested_in_every_fold_by_decree_are_no_leak(tmp_path: Path, out: Path) -> None:
    world = Decreed(tmp_path / "world")
    world.train_fixed(variants(1)[0])
    document = evaluated(world, out)
    assert document["headline"]["n"]["patients"] == 60
    assert "delong_lower" not in document["headline"]["patient"]["auc"]
