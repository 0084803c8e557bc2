"""Every step called from Python, one on what the other wrote: from made-up series of three classes to the report."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claire.commands.run.watch import PIPELINE
from claire.core.command.documents import read_document
from claire.core.command.files import sha256_file
from claire.core.command.tables import write_rows
from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.cohort_summary import read_cohort_summary
from claire.core.contracts.folds import read_folds
from claire.core.contracts.lesions import LesionsDocument, read_lesions
from claire.core.contracts.metrics import read_metrics
from claire.core.contracts.model import read_model
from claire.core.contracts.plan import read_plan
from claire.core.contracts.prepared import read_prepared
from claire.core.contracts.rejects import read_rejects
from claire.core.contracts.run import Run, read_run
from claire.core.contracts.scan_table import read_scan_table
from claire.core.contracts.shard_list import read_shard_list
from claire.core.contracts.trainings import Collected, TrainingRow
from claire.core.contracts.variant import read_variant
from claire.core.contracts.weights import read_weights
from claire.core.contracts.winner import read_winner
from claire.core.statistics.decisions import decide

from tests.support.dicom_maker import SeriesMaker, chest

CLASSES = ("normal", "covid", "flu")
PATIENTS = 12
SHARDS = ("0000", "0001")
GRID = """
name: chain
base: {architecture: "python:tests.support.explaining:tiny", view: whole, size: 32, slices: 8, pooling: topk, epochs: 2}
axes: {seed: [0, 1]}
"""


def call(step: str, **parameters: Any) -> None:
    """Call a step as people do from Python."""
    module = importlib.import_module(f"claire.{step}")
    module.run(module.Parameters(**parameters))


def write_source(folder: Path) -> None:
    """Write twelve patients of three classes, one without lungs and one with a short scan, with their tables."""
    rng = np.random.default_rng(0)
    people = [f"Meier-{number}" for number in range(PATIENTS + 2)]
    for number, patient in enumerate(people):
        hu = chest(24 if number <= PATIENTS else 10)
        hu = hu + rng.normal(0, 8, hu.shape).astype(np.int16)
        if number % 3 and number < PATIENTS:
            hu[6:18, 18:26, slice(10, 17) if number % 3 == 1 else slice(31, 38)] = -150
        if number == PATIENTS:
            hu[hu < -500] = np.where(np.arange(24) % 2, -1000, 30)[:, None, None].repeat(48, 1).repeat(48, 2)[hu < -500]
        tags = {"QualityControlImage": "YES", "InstitutionName": "Klinikum Waldfrieden"}
        made = SeriesMaker(hu, patient, f"1.5.{number}", f"1.6.{number}", pixel=7.0, spacing=9.0, tags=tags)
        made.write(folder / f"source/{patient}")
    rows = [f"{patient},{CLASSES[number % 3]},north\n" for number, patient in enumerate(people)]
    (folder / "labels.csv").write_text("patient_id,label,site\n" + "".join(rows))
    (folder / "key").write_text("0123456789abcdef")
    (folder / "grid.yml").write_text(GRID)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all steps in one folder."""
    folder = tmp_path_factory.mktemp("steps")
    write_source(folder)
    out = folder / "out"
    out.mkdir()
    prepare(folder, out)
    learn(folder, out)
    return out


def prepare(folder: Path, out: Path) -> None:
    site = {"source": folder / "source", "labels": folder / "labels.csv", "min_slices": 8, "out": out}
    call("index", **site, fold_count=3, shards=len(SHARDS))
    for shard in SHARDS:
        call("ingest", **site, shard=out / f"{shard}.shard.jsonl", key=folder / "key")
        call("segment", scans=out / f"{shard}.scans.zip", out=out)
        scans = {"scans": out / f"{shard}.scans.zip", "lungs": out / f"{shard}.lungs.zip"}
        call("preprocess", **scans, size=48, min_lung_slices=11, out=out)
    shards = {"prepared": sorted(out.glob("*.prepared.h5")), "reject_tables": sorted(out.glob("*.rejects.csv"))}
    call("cohort", **shards, fold_count=3, out=out)


def learn(folder: Path, out: Path) -> None:
    call("plan", grid=folder / "grid.yml", fold_count=3, out=out)
    cohort = {"cohort": out / "cohort.h5", "folds": out / "folds.csv"}
    variants = sorted(out.glob("*.variant.json"))
    rows = [
        TrainingRow(variant=path.name.split(".")[0], fold=fold, pretrained=None)
        for path in variants
        for fold in range(3)
    ]
    table = write_rows(folder / "trainings.csv", TrainingRow, rows)
    call("collect", trainings=table, variants=out / "variants.zip", **cohort, out=out)
    missing = read_document(out / "collected.json", Collected, "").missing
    for row in (rows[position] for position in missing):
        call("train", variant=out / f"{row.variant}.variant.json", **cohort, fold=row.fold, device="cpu", out=out)
    tables = {"scans": out / "scans.csv", "cohort_summary": out / "cohort.json"}
    runs = sorted(out.glob("*.run.zip"))
    call("evaluate", runs=runs, **tables, bootstrap=100, explain_folds=[0], out=out)
    stem = runs[read_winner(out / "winner.json").explained[0]].name.split(".")[0]
    files = {"weights": out / f"{stem}.safetensors", "run": out / f"{stem}.run.zip"}
    quick = {"heal_steps": 2, "attribution_steps": 2, "candidates": 3, "shapley": 0}
    call("explain", **files, **cohort, **quick, device="cpu", keep_weights=True, out=out)
    won = [runs[position].name.split(".")[0] for position in read_winner(out / "winner.json").winner]
    call(
        "bundle", **tables, **cohort, winner=out / "winner.json", metrics=out / "metrics.json",
        weights=[out / f"{name}.safetensors" for name in won], runs=[out / f"{name}.run.zip" for name in won],
        lesions=sorted(out.glob("*.lesions.json")), records=sorted(out.glob("*.run.json")), out=out,
    )  # fmt: skip
    results = {name: out / f"{name}.csv" for name in ("leaderboard", "comparisons", "curves", "folds", "rejects")}
    results["metrics"] = out / "metrics.json"
    lists = {"lesions": "*.lesions.json", "overlays": "*.overlays.zip", "records": "*.run.json"}
    call("report", **tables, **results, **{name: sorted(out.glob(each)) for name, each in lists.items()}, out=out)


def explained(out: Path) -> LesionsDocument:
    (path,) = out.glob("*.lesions.json")
    return read_lesions(path)


def run_of(out: Path, name: str) -> Run:
    return read_run(out / f"{name}.run.zip", CLASSES)


def test_every_step_left_its_record_and_the_outputs_that_it_names(out: Path) -> None:
    records = [json.loads(path.read_text()) for path in out.glob("*.run.json")]
    assert {record["step"] for record in records} == set(PIPELINE)
    for record in records:
        assert record["outputs"], record["step"]
        # cohort.h5 is named by the hash of its content, which stands in the file.
        named = {name: sha256 for name, sha256 in record["outputs"].items() if name != "cohort.h5"}
        assert {name: sha256_file(out / name) for name in named} == named, record["step"]


def test_what_one_step_records_as_output_is_the_input_of_the_next(out: Path) -> None:
    records = [json.loads(path.read_text()) for path in out.glob("*.run.json")]
    written = {sha256 for record in records for sha256 in record["outputs"].values()}
    chained = {
        "segment": ["scans"], "preprocess": ["scans", "lungs"], "train": ["cohort", "folds", "variant"],
        "explain": ["weights", "run", "cohort", "folds"], "evaluate": ["scans", "cohort_summary"],
        "bundle": ["winner", "metrics", "cohort", "cohort_summary", "scans", "folds"],
        "report": ["leaderboard", "metrics", "curves", "comparisons", "rejects", "scans", "folds"],
    }  # fmt: skip
    for record in records:
        lost = [name for name in chained.get(record["step"], []) if record["inputs"][name] not in written]
        assert lost == [], record["step"]


def test_every_file_is_read_by_its_contract(out: Path) -> None:
    cohort, summary = open_cohort(out / "cohort.h5"), read_cohort_summary(out / "cohort.json")
    assert (cohort.sha256, cohort.classes) == (summary.sha256, CLASSES) == (summary.sha256, summary.classes)
    scans = read_scan_table(out / "scans.csv")
    assert [*scans] == [scan.scan for scan in cohort.scans] == sorted(scans)
    assert {row.patient for row in scans.values()} == set(read_folds(out / "folds.csv").fold)
    plan = read_plan(out / "plan.json")
    assert [read_variant(out / f"{name}.variant.json").id for name in plan.variants] == [*plan.variants]
    assert len([*out.glob("*.run.zip")]) == plan.trainings == 6
    for path in out.glob("*-f?.safetensors"):
        assert read_weights(path)[1].cohort_sha256 == cohort.sha256
    assert read_metrics(out / "metrics.json").cohort_sha256 == cohort.sha256


def test_every_series_is_a_scan_of_the_cohort_or_a_reject_with_its_line(out: Path) -> None:
    listed = {(shard, line.line) for shard in SHARDS for line in read_shard_list(out / f"{shard}.shard.jsonl")}
    rejects = read_rejects([out / "rejects.csv"])
    prepared = [scan.facts for shard in SHARDS for scan in read_prepared(out / f"{shard}.prepared.h5")[1]]
    assert {(row.shard, row.line) for row in rejects} | {(facts.shard, facts.line) for facts in prepared} == listed
    assert sorted((row.step, row.reason) for row in rejects) == [
        ("preprocess", "too_few_lung_slices"), ("segment", "no_lungs"),
    ]  # fmt: skip
    assert len(prepared) + len(rejects) == len(listed) == PATIENTS + 2


def test_a_model_holds_the_winner_as_it_was_measured_and_how_its_scans_were_prepared(out: Path) -> None:
    (path,) = out.glob("*.model.zip")
    document, metrics = read_model(path).document, read_metrics(out / "metrics.json")
    assert document.variant_id == metrics.winner.variant
    assert [fold.operating_points for fold in document.folds] == [None] * 3
    assert document.preparation.size == 48
    assert document.preparation.index is not None
    assert document.preparation.ingest is not None
    assert document.preparation.preprocess is not None
    assert (document.preparation.index.min_slices, document.preparation.preprocess.min_lung_slices) == (8, 11)
    assert document.fingerprint.scans == len(read_scan_table(out / "scans.csv"))
    assert "north" not in document.to_json()
    assert [export.member is not None for export in document.exports.onnx] == [True] * 3


def test_three_classes_are_decided_by_one_rule_in_evaluate_and_explain(out: Path) -> None:
    metrics, document = read_metrics(out / "metrics.json"), explained(out)
    assert document.network.operating_point is None
    tested = [run_of(out, f"{metrics.winner.variant}-f{fold}").scans["test"] for fold in range(3)]
    counted = np.zeros((3, 3), int)
    for predictions in tested:
        np.add.at(counted, (predictions.target, decide(predictions.probability, None)), 1)
    assert metrics.variants[metrics.winner.variant].confusion.matrix == tuple(map(tuple, counted.tolist()))
    predictions = run_of(out, document.run).scans["test"]
    decided = dict(zip(predictions.scan.tolist(), decide(predictions.probability, None).tolist(), strict=True))
    assert {scan.scan: CLASSES.index(scan.decision) for scan in document.scans} == decided
    for scan in document.scans:
        truth, decision = scan.label != CLASSES[0], scan.decision != CLASSES[0]
        assert scan.outcome == {(1, 1): "TP", (0, 1): "FP", (1, 0): "FN", (0, 0): "TN"}[truth, decision]


def test_explained_weights_are_those_of_the_run_where_nothing_was_refined(out: Path) -> None:
    document = explained(out)
    assert not document.network.refined
    first, second = (read_weights(out / f"{document.run}.{end}safetensors") for end in ("", "explained."))
    assert first[1] == second[1]
    assert all(np.array_equal(first[0][name], value) for name, value in second[0].items())
    assert (out / f"{document.run}.explained.safetensors").read_bytes() == (
        out / f"{document.run}.safetensors"
    ).read_bytes()


def test_nobody_is_named_in_what_leaves_the_site(out: Path) -> None:
    secrets = (b"Meier", b"Klinikum", b"Waldfrieden", b"20200315", b"2020-03-15", b"Jane")
    kinds = (".csv", ".json", ".html", ".h5", ".safetensors")
    leaving = [path for path in out.iterdir() if path.suffix in kinds]
    assert len(leaving) > 30
    assert [(path.name, secret) for path in leaving for secret in secrets if secret in path.read_bytes()] == []


def test_every_table_for_people_has_a_header_and_whole_rows(out: Path) -> None:
    for path in out.glob("*.csv"):
        with path.open(newline="") as stream:
            header, *rows = csv.reader(stream)
        assert len(set(header)) == len(header) > 3, path.name
        assert all(len(row) == len(header) for row in rows), path.name


def test_the_report_shows_the_winner_the_lesions_and_the_rejects(out: Path) -> None:
    page = (out / "report.html").read_text()
    winner = read_winner(out / "winner.json")
    words = [winner.variant, "no lungs found", "too few slices with enough lung", *CLASSES]
    assert [word for word in words if word not in page] == []
    assert all(scan.scan in page for scan in explained(out).scans)
