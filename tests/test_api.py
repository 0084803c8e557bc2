"""`claire.load`: the page docs/python.md, as it stands, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import claire
import nibabel as nib
import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.predictions import read_predictions

from tests.support.predicting import Predicted

PAGE = Path(__file__).parents[1] / "docs/python.md"


def test_the_example_of_the_page_runs(
    predicted: Predicted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v12345678.model.zip").symlink_to(predicted.model)
    (tmp_path / "series").symlink_to(predicted.source)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102 (the documented example)
    printed = capsys.readouterr().out
    assert printed.count("cannot tell:") == len(read_predictions(predicted.out / "predictions.json").scans)


def test_a_directory_is_predicted_as_by_the_workflow(predicted: Predicted) -> None:
    own = claire.load(predicted.model).predict(predicted.source)
    workflow = read_predictions(predicted.out / "predictions.json")
    assert sorted(str(scan.verdict) for scan in own.scans) == sorted(str(scan.verdict) for scan in workflow.scans)


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "no HU: expected"), (40_000.0, "no HU: expected"), ("soft", "holds no HU")]
)
def test_an_array_of_other_than_hu_is_refused(predicted: Predicted, value: float | str, problem: str) -> None:
    with pytest.raises(ClaireError, match=problem):
        claire.load(predicted.model).predict(np.full((30, 8, 8), value), np.eye(4))


def test_a_file_and_its_array_are_the_same_scan(predicted: Predicted) -> None:
    model, path = claire.load(predicted.model), predicted.source / "sub-northwind/ct.nii.gz"
    image = nib.load(path)
    of_file = model.predict(path)
    of_array = model.predict(np.asarray(image.dataobj).T, image.affine)
    assert of_file.scans[0].verdict == of_array.scans[0].verdict


def test_what_is_no_scan_is_refused(predicted: Predicted, tmp_path: Path) -> None:
    model = claire.load(predicted.model)
    with pytest.raises(ClaireError, match="neither a file nor a directory"):
        model.predict(tmp_path / "nothing")
    with pytest.raises(ClaireError, match="three axes"):
        model.predict(np.zeros((3, 3)))
    with pytest.raises(AttributeError):
        claire.nothing  # noqa: B018
