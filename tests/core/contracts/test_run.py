"""`<run>.run.zip`: what train writes and evaluate, explain and report read."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import ArchiveReader, write_archive
from claire.core.contracts.run import PredictionRow, read_predictions, read_run
from hypothesis import given, settings

from tests.support.damage import DAMAGES, damaged
from tests.support.runs import SHA, World, told_apart, variants

CLASSES = ("negative", "positive")
ROW = PredictionRow("r", 0, "test", "scan", "P0001", "S00010", None, "positive", (0.25, 0.75))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, patients=12)


def one_row(world: World) -> Path:
    """Write a run with one prediction."""
    return world.pack(variants(1)[0], 0, [ROW])


def with_cells(world: World, *cells: str) -> Path:
    """Write a run with one prediction, then put `cells` in the place of its last ones, as damage would."""
    path = one_row(world)
    with ArchiveReader(path, "") as archive:
        members = {name: archive.read(name).decode() for name in archive.names()}
    head, row = members["predictions.csv"].splitlines()
    changed = [*row.split(",")[: -len(cells)], *cells]
    with write_archive(path) as archive:
        for name, content in members.items():
            archive.add(name, f"{head}\n{','.join(changed)}\n" if name == "predictions.csv" else content)
    return path


def test_a_run_names_variant_fold_and_cohort(world: World) -> None:
    run = read_run(world.train(variants(1)[0], 1, told_apart(1)), CLASSES)
    assert run.name == f"{variants(1)[0].id}-f1"
    assert (run.fold, run.facts.cohort_sha256, set(run.scans)) == (1, SHA, {"validation", "test"})
    assert run.scans["test"].probability.shape == (4, 2)
    assert run.scans["test"].probability.sum(axis=1) == pytest.approx(np.ones(4))


def test_slices_are_read_when_asked_for(world: World) -> None:
    path = world.train(variants(1)[0], 0, told_apart(1), slices=3, labelled=True)
    run = read_run(path, CLASSES)
    assert len(run.scans["test"]) == 4
    slices = run.slices(CLASSES)["test"]
    assert slices.slice.tolist() == [0, 1, 2] * 4
    assert set(slices.target.tolist()) == {0, 1}


def test_a_slice_without_a_label_has_none(world: World) -> None:
    path = world.train(variants(1)[0], 0, told_apart(1), slices=1)
    assert set(read_predictions(path, "slice", CLASSES)["test"].target.tolist()) == {-1}


@pytest.mark.parametrize(("cell", "finite"), [("0.5", True), ("", False), ("nan", False), ("1.5", False)])
def test_an_invalid_probability_is_noticed(world: World, cell: str, finite: bool) -> None:
    assert read_predictions(with_cells(world, "0.5", cell), "scan", CLASSES)["test"].finite == finite


@pytest.mark.parametrize(
    "cells", [("positive", "0.5", "half"), ("unheard", "0.5", "0.5"), ("x", "positive", "0.5", "0.5")]
)
def test_a_cell_that_cannot_be_read_names_the_file(world: World, cells: tuple[str, ...]) -> None:
    with pytest.raises(ClaireError, match=r"-f0\.run\.zip: predictions\.csv"):
        read_predictions(with_cells(world, *cells), "scan", CLASSES)


def test_other_classes_are_refused(world: World) -> None:
    with pytest.raises(ClaireError, match="predicts the classes negative, positive"):
        read_predictions(one_row(world), "scan", ("healthy", "ill"))


@pytest.mark.parametrize("member", ["predictions.csv", "variant.json", "train.json"])
def test_a_missing_member_is_named(world: World, tmp_path: Path, member: str) -> None:
    whole, cut = one_row(world), tmp_path / "cut.run.zip"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            if name != member:
                target.writestr(name, source.read(name))
    with pytest.raises(ClaireError, match=member):
        read_run(cut, CLASSES)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.run.zip").write_bytes(b"PK not a zip")
    with pytest.raises(ClaireError, match="not a complete archive"):
        read_run(tmp_path / "x.run.zip", CLASSES)


def test_a_variant_changed_by_hand_is_refused(world: World, tmp_path: Path) -> None:
    whole, forged = one_row(world), tmp_path / "forged.run.zip"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b'"epochs": 50', b'"epochs": 51'))
    with pytest.raises(ClaireError, match="has the id"):
        read_run(forged, CLASSES)


def with_predictions(world: World, content: bytes) -> Path:
    """Write a run with one prediction, then put `content` in the place of its table."""
    path = one_row(world)
    with ArchiveReader(path, "") as archive:
        members = {name: archive.read(name) for name in archive.names()}
    with write_archive(path) as archive:
        for name, kept in members.items():
            archive.add(name, content if name == "predictions.csv" else kept)
    return path


HEAD = b"run,fold,split,level,patient,scan,slice,target,probability_negative,probability_positive\n"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "has no column run, fold, split"),
        (HEAD.replace(b"split,", b""), "has no column split"),
        (HEAD.replace(b",probability_positive", b""), "predicts the classes negative: expected negative, positive"),
        (HEAD + b"r,0,train,scan,P1,S1,,positive,0.5,0.5\n", "has a cell that cannot be read"),
        (HEAD + b"r,0,test,scan,P1,S1,,positive,0.5\n", "has a cell that cannot be read"),
        (HEAD + b"r,0,test,scan,P1,S1,two,positive,0.5,0.5\n", "has a cell that cannot be read"),
        (HEAD + b"r,0,test,scan,P1,S1,,p\xf6sitiv,0.5,0.5\n", "has a cell that cannot be read"),
        (HEAD + b'r,0,test,scan,P1,S1,,"' + b"x" * 200_000, "has a cell that cannot be read"),
    ],
)
def test_a_faulty_table_of_predictions_names_the_file(world: World, content: bytes, fault: str) -> None:
    with pytest.raises(ClaireError, match=rf"-f0\.run\.zip.*{fault}") as caught:
        read_run(with_predictions(world, content), CLASSES)
    assert caught.value.remedy


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_run_names_the_step_to_run_again(world: World, how: str) -> None:
    path = one_row(world)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(ClaireError, match=r"-f0\.run\.zip is not a complete archive") as caught:
        read_run(path, CLASSES)
    assert "claire train" in caught.value.remedy


@cache
def whole() -> bytes:
    with TemporaryDirectory() as folder:
        return one_row(World(Path(folder), patients=4)).read_bytes()


@settings(max_examples=300)
@given(damaged(whole()))
def test_damage_never_ends_in_an_unforeseen_error(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v1-f0.run.zip"
        path.write_bytes(content)
        with suppress(ClaireError):
            assert set(read_run(path, CLASSES).scans) <= {"test"}


def test_patients_are_the_means_of_their_scans_in_the_order_of_their_names(tmp_path: Path) -> None:
    world = World(tmp_path, patients=1)
    told = [("P2", "Sb", "positive", 0.4), ("P1", "Sa", "negative", 0.2), ("P2", "Sc", "positive", 0.8)]
    rows = [PredictionRow("r", 0, "test", "scan", p, s, None, label, (1 - x, x)) for p, s, label, x in told]
    patients = read_predictions(world.pack(variants(1)[0], 0, rows), "scan", CLASSES)["test"].by_patient()
    assert patients.patient.tolist() == ["P1", "P2"]
    assert patients.target.tolist() == [0, 1]
    np.testing.assert_allclose(patients.probability[:, 1], [0.2, 0.6])
