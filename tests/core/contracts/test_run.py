"""Reading what train packs into a run."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.run import read_predictions, read_run

from tests.support.runs import SHA, World, told_apart, variants

CLASSES = ("negative", "positive")
LINE = ["r", 0, "test", "scan", "P0001", "S00010", "", "positive", 0.25, 0.75]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, patients=12)


def one(world: World, *cells: object) -> Path:
    return world.pack(variants(1)[0], 0, [[*LINE[: 10 - len(cells)], *cells]])


def test_a_run_tells_who_it_is(world: World) -> None:
    run = read_run(world.train(variants(1)[0], 1, told_apart(1)), CLASSES)
    assert run.name == f"{variants(1)[0].id}-f1"
    assert (run.fold, run.cohort, set(run.scans)) == (1, SHA, {"validation", "test"})
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
def test_probabilities_that_are_none_are_noticed(world: World, cell: str, finite: bool) -> None:
    assert read_predictions(one(world, 0.5, cell), "scan", CLASSES)["test"].finite == finite


@pytest.mark.parametrize("cells", [("positive", 0.5, "half"), ("unheard", 0.5, 0.5), ("x", "positive", 0.5, 0.5)])
def test_a_cell_that_cannot_be_read_names_the_file(world: World, cells: tuple[object, ...]) -> None:
    with pytest.raises(ClaireError, match=r"-f0\.run\.zip: predictions\.csv"):
        read_predictions(one(world, *cells), "scan", CLASSES)


def test_other_classes_are_refused(world: World) -> None:
    with pytest.raises(ClaireError, match="predicts the classes negative, positive"):
        read_predictions(one(world), "scan", ("healthy", "ill"))


@pytest.mark.parametrize("member", ["predictions.csv", "variant.json", "train.json"])
def test_a_member_that_lacks_is_named(world: World, tmp_path: Path, member: str) -> None:
    whole, cut = one(world), tmp_path / "cut.run.zip"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            if name != member:
                target.writestr(name, source.read(name))
    with pytest.raises(ClaireError, match=member):
        read_run(cut, CLASSES)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.run.zip").write_bytes(b"PK no zip")
    with pytest.raises(ClaireError, match="no complete archive"):
        read_run(tmp_path / "x.run.zip", CLASSES)


def test_a_variant_changed_by_hand_is_refused(world: World, tmp_path: Path) -> None:
    whole, forged = one(world), tmp_path / "forged.run.zip"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b'"epochs": 50', b'"epochs": 51'))
    with pytest.raises(ClaireError, match="has the id"):
        read_run(forged, CLASSES)
