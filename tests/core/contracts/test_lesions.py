"""`<run>.lesions.json` and `.csv`: one document, and the same lesions as rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError
from claire.core.command.tables import read_rows
from claire.core.contracts.lesions import LesionRow, LesionsDocument, read_lesions, write_lesion_table, write_lesions
from pydantic import ValidationError

from tests.support.damage import DAMAGES
from tests.support.documents import lesions


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_lesions(tmp_path / "v1-f0.lesions.json", lesions())
    assert read_lesions(path) == lesions()


def test_the_table_has_a_row_per_lesion_with_its_scan(tmp_path: Path) -> None:
    document = lesions()
    rows = read_rows(write_lesion_table(tmp_path / "v1-f0.lesions.csv", document), LesionRow, "")
    (scan,) = document.scans
    assert [row.rank for row in rows] == [lesion.rank for lesion in scan.lesions]
    for row, lesion in zip(rows, scan.lesions, strict=True):
        assert (row.run, row.scan, row.patient, row.label) == (document.run, scan.scan, scan.patient, scan.label)
        assert (row.outcome, row.probability, row.crucial) == (scan.outcome, scan.probability, lesion.crucial)
        assert (row.x_mm, row.y_mm, row.z_mm) == lesion.centroid_lps_mm
        assert (row.delta, row.volume_ml, row.side, row.zone) == (
            lesion.delta, lesion.volume_ml, lesion.side, lesion.zone
        )  # fmt: skip


def test_a_fold_without_lesions_has_a_table_of_no_rows(tmp_path: Path) -> None:
    document = lesions().model_copy(update={"scans": ()})
    assert read_rows(write_lesion_table(tmp_path / "x.lesions.csv", document), LesionRow, "") == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"outcome": "TP"', '"outcome": "hit"', "methods.0.outcome"),
        ('"infills_agree": true', '"infills_agree": "no way"', "scans.0.lesions.0.infills_agree"),
        ('"rank_low"', '"rank_min"', "scans.0.lesions.0"),
        ('"taken": false', '"taken": "perhaps"', "network.refinement.taken"),
    ],
)
def test_a_changed_document_names_the_place(tmp_path: Path, old: str, new: str, place: str) -> None:
    path = write_lesions(tmp_path / "v1-f0.lesions.json", lesions())
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ClaireError, match=rf"v1-f0\.lesions\.json is not valid: {place}") as caught:
        read_lesions(path)
    assert "claire explain" in caught.value.remedy


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_document_is_named(tmp_path: Path, how: str) -> None:
    path = write_lesions(tmp_path / "v1-f0.lesions.json", lesions())
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(ClaireError, match=r"v1-f0\.lesions\.json is not a JSON document"):
        read_lesions(path)


def test_a_delta_that_is_no_number_cannot_be_written() -> None:
    values = lesions().model_dump()
    values["scans"][0]["lesions"][0]["delta"] = float("nan")
    with pytest.raises(ValidationError, match=r"scans\.0\.lesions\.0\.delta"):
        LesionsDocument.model_validate(values)


def test_no_label_is_a_formula_in_the_table(tmp_path: Path) -> None:
    (scan,) = lesions().scans
    document = lesions().model_copy(update={"scans": (scan.model_copy(update={"label": "=1+1"}),)})
    path = write_lesion_table(tmp_path / "x.lesions.csv", document)
    assert ",'=1+1," in path.read_text()
    assert {row.label for row in read_rows(path, LesionRow, "")} == {"=1+1"}
