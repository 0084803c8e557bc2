"""Who a series is of: one pseudonym a person, and nothing where that is not sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ingest.helpers import go, make
from tests.support.dicom_maker import chest

TWO = "patient_id,label\nA,x\nB,x\n"


def two_people_of_one_study(folder: Path) -> None:
    for number, patient in enumerate("AB"):
        make(folder, name=patient, patient=patient, study="1.5", series=f"1.6.{number}", hu=chest(20))


def test_two_patient_ids_of_one_study_are_set_aside(tmp_path: Path) -> None:
    two_people_of_one_study(tmp_path)
    done = go(tmp_path, labels=TWO)
    assert (done.code, done.reasons, done.scans()) == (0, ["ambiguous_patient"] * 2, [])
    assert {row["detail"] for row in done.rejects} == {
        "another PatientID has the same study; give `patient` in the table"
    }


def test_the_table_says_that_two_patient_ids_are_one_person(tmp_path: Path) -> None:
    two_people_of_one_study(tmp_path)
    done = go(tmp_path, labels="patient_id,label,patient\nA,x,one\nB,x,one\n")
    assert done.reasons == []
    assert len({facts.patient for _, facts in done.scans()}) == 1
    assert len({facts.scan for _, facts in done.scans()}) == 2


def test_a_shared_study_does_not_touch_the_other_studies_of_its_patients(tmp_path: Path) -> None:
    two_people_of_one_study(tmp_path)
    make(tmp_path, name="C", patient="A", study="1.7", series="1.7.1", hu=chest(20))
    done = go(tmp_path, labels=TWO)
    assert done.reasons == ["ambiguous_patient"] * 2
    assert len(done.scans()) == 1


def test_a_study_without_patient_ids_is_no_second_identity(tmp_path: Path) -> None:
    make(tmp_path, name="a", patient="A", study="1.5", series="1.6.1", hu=chest(20))
    make(tmp_path, name="b", patient="", study="1.5", series="1.6.2", hu=chest(20))
    done = go(tmp_path, labels="path,label\na,x\nb,x\n")
    assert done.reasons == ["ambiguous_patient"]
    assert done.rejects[0]["detail"] == "the PatientID is empty or generic; give `patient` in the table"
    assert len(done.scans()) == 1


@pytest.mark.parametrize(
    ("first", "second", "ambiguous"),
    [
        ({"PatientSex": "F"}, {"PatientSex": "M"}, True),
        ({"PatientSex": "F"}, {"PatientSex": "O"}, False),
        ({"PatientSex": "F"}, {"PatientSex": ""}, False),
        ({"PatientBirthDate": "19570101"}, {"PatientBirthDate": ""}, False),
        ({"PatientBirthDate": "19570101"}, {"PatientBirthDate": "19570102"}, True),
    ],
)
def test_one_patient_id_of_two_people_is_set_aside(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], ambiguous: bool
) -> None:
    for number, tags in enumerate((first, second)):
        make(tmp_path, name=str(number), study=f"1.5.{number}", series=f"1.6.{number}", hu=chest(20), tags=tags)
    done = go(tmp_path)
    assert done.reasons == ["ambiguous_patient"] * (2 * ambiguous)
    assert len({facts.patient for _, facts in done.scans()}) == (not ambiguous)


@pytest.mark.parametrize("patient", ["Anonymous", "0000", "n/a", "DE-IDENTIFIED"])
def test_a_generic_patient_id_joins_nobody(tmp_path: Path, patient: str) -> None:
    make(tmp_path, patient=patient, hu=chest(20))
    assert go(tmp_path, labels="path,label\na,x\n").reasons == ["ambiguous_patient"]


def test_an_unlabelled_series_is_no_label_before_it_is_ambiguous(tmp_path: Path) -> None:
    make(tmp_path, patient="", hu=chest(20))
    assert go(tmp_path).reasons == ["no_label"]
