"""Scans that cannot be explained are left out and counted; a fold without any ends with a message."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from claire.core.contracts.cohort import open_cohort, write_cohort
from claire.core.contracts.lesions import read_lesions

from tests.support.command import claire
from tests.support.damage import require_told
from tests.support.explaining import FLAT, FOLD, train_tiny
from tests.support.synthetic import SIZE, CohortFiles

QUICK = ["--attribution-steps", "1", "--candidates", "1", "--refine", "none", "--insertions", "2"]


def without_lungs(files: CohortFiles, folder: Path, keep: int) -> CohortFiles:
    """Write the cohort with empty lung masks in all test scans of fold 0 but the first `keep`."""
    cohort = open_cohort(files.cohort)
    tested = [scan for i, scan in enumerate(cohort.scans) if i // 2 % 3 == FOLD][keep:]
    blocks = [
        (hu, np.zeros_like(lungs) if scan in tested else lungs)
        for scan, (hu, lungs) in ((scan, cohort.voxels(scan)) for scan in cohort.scans)
    ]
    folder.mkdir()
    sha256 = write_cohort(folder / "cohort.h5", cohort.scans, cohort.classes, SIZE, iter(blocks))
    return CohortFiles(folder / "cohort.h5", files.folds, sha256)


def explain(files: CohortFiles, folder: Path) -> int:
    trained = train_tiny(files, FLAT, folder, steps=1)
    inputs = {"weights": trained.weights, "run": trained.run, "cohort": files.cohort, "folds": files.folds}
    argv = [word for name, path in inputs.items() for word in (f"--{name}", str(path))]
    return claire("explain", [*argv, *QUICK, "--device", "cpu", "--out", str(folder / "out")])


def test_a_scan_without_lung_in_its_view_is_left_out_and_counted(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(without_lungs(cohort_files, tmp_path / "in", keep=2), tmp_path) == 0
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.explain.run.json"))
    assert (record["counts"]["scans"], record["counts"]["set_aside_no_lungs"]) == (2, 4)
    (document,) = map(read_lesions, (tmp_path / "out").glob("*.lesions.json"))
    assert len(document.scans) == 2
    assert capsys.readouterr().err.count("is left out: no_lungs") == 4


def test_a_fold_of_which_no_scan_can_be_explained_ends_with_a_message(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(without_lungs(cohort_files, tmp_path / "in", keep=0), tmp_path) == 1
    require_told(capsys.readouterr().err, f"explain {FLAT.id}-f0", "no test scan could be explained", "names the scans")
    assert [*(tmp_path / "out").glob("*.run.json")] == []
