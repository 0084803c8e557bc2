"""`cohort.json`: read as it was written, with two classes or more."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.cohort_summary import read_cohort_summary, write_cohort_summary

from tests.support.damage import DAMAGES
from tests.support.documents import summary


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_cohort_summary(tmp_path / "cohort.json", summary())
    assert read_cohort_summary(path) == summary()
    assert write_cohort_summary(tmp_path / "again.json", summary()).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("classes", [(), ("negative",)])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, classes: tuple[str, ...]) -> None:
    path = write_cohort_summary(tmp_path / "cohort.json", summary().model_copy(update={"classes": classes}))
    with pytest.raises(ClaireError, match=f"has {len(classes)} class: expected at least 2") as caught:
        read_cohort_summary(path)
    assert "claire cohort" in caught.value.remedy


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_summary_is_named(tmp_path: Path, how: str) -> None:
    path = write_cohort_summary(tmp_path / "cohort.json", summary())
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(ClaireError, match=r"cohort\.json is not a JSON document"):
        read_cohort_summary(path)
