"""`claire init`: a project that the pipeline takes as it is, and refusals before anything is written."""

from __future__ import annotations

import csv
import os
import stat
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from claire.commands.init.calibrate import measured_rate
from claire.commands.init.cost import Machine, cost_text, estimate, guessed_rate, this_machine
from claire.commands.init.documents import fold_count_for, grid_text
from claire.commands.init.join import loosely
from claire.core.contracts.labels import read_labels, write_labels
from claire.core.contracts.variant import Variant
from claire.index.series import Series
from claire.plan.grid import expand, load_grid

from tests.support.command import claire
from tests.support.damage import require_told
from tests.support.dicom_maker import SeriesMaker, chest, edit

Capture = pytest.CaptureFixture[str]
CT = np.random.default_rng(0).normal(-500, 200, (12, 12, 24)).astype(np.int16)


def dicom(folder: Path, patient: str, number: int = 0, slices: int = 24, **tags: Any) -> Path:
    """Write a series of a patient under its own study."""
    uids = {"study": f"1.5.{number}", "series": f"1.6.{number}"}
    return SeriesMaker(chest(slices, 8), patient=patient, tags=tags, **uids).write(folder)


def nifti(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(CT, np.diag([-2.0, -2, 3, 1])), path)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients, one series each."""
    folder = tmp_path_factory.mktemp("site") / "in"
    for number in range(8):
        dicom(folder / f"f{number}", f"M-{number:04d}", number, SeriesDescription="Lunge", StudyDescription="Thorax")
    return folder


def init(source: Path, folder: Path, *flags: str | Path) -> int:
    return claire("init", [str(folder), "--source", str(source), *map(str, flags)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def labelled(folder: Path, labels: dict[str, str]) -> Path:
    """Fill in labels.csv as a user does, by the contract's writer."""
    filled = [{**row, "label": labels[next(iter(row.values()))]} for row in rows(folder / "labels.csv")]
    columns = [name for name in filled[0] if name != "label"]
    return write_labels(folder / "labels.csv", columns[0], filled, columns[1:])


def test_a_project_is_taken_by_check_plan_and_index(source: Path, tmp_path: Path, out: Path, capsys: Capture) -> None:
    folder = tmp_path / "project"
    assert init(source, folder) == 0
    told = capsys.readouterr().out
    assert "8 series, 8 chosen, of 8 patients" in told
    assert f"claire check {folder}/job.yml" in told
    assert claire("check", [str(folder / "job.yml")]) == 2
    assert "8 have a row in the labels table, with an empty label" in capsys.readouterr().err
    assert claire("plan", ["--grid", str(folder / "grid.yml"), "--fold-count", "3", "--list"]) == 0
    labelled(folder, {f"M-{number:04d}": ("normal", "covid")[number % 2] for number in range(8)})
    assert claire("check", [str(folder / "job.yml")]) == 0
    capsys.readouterr()
    flags = ["--source", str(source), "--labels", str(folder / "labels.csv"), "--fold-count", "3", "--out", str(out)]
    assert claire("index", flags) == 0
    assert "8 of 8 chosen series have a label" in capsys.readouterr().err


def test_the_files_are_for_their_owner_alone(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    assert init(source, folder) == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
        ("labels.csv", "patients.csv", "key", "grid.yml", "job.yml"), 0o600
    )
    assert len(bytes.fromhex((folder / "key").read_text())) == 32


def test_the_job_has_absolute_paths_and_asks_for_the_negative_class(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(Path(os.path.relpath(source, tmp_path)), Path("project")) == 0
    job = yaml.safe_load((tmp_path / "project/job.yml").read_text())
    assert job["source"]["path"] == str(source)
    assert {job[name] for name in ("private", "store")} == {str(tmp_path / "project" / n) for n in ("private", "store")}
    assert all(job[name]["path"] == str(tmp_path / "project" / file) for name, file in (
        ("labels", "labels.csv"), ("key", "key"), ("grid", "grid.yml"),
    ))  # fmt: skip
    assert "classes" not in job
    assert (job["images"], job["seed"]) == ("none", 1)
    assert "FILL IN" in (tmp_path / "project/job.yml").read_text()


def test_patients_csv_helps_to_fill_in_the_labels(tmp_path: Path, capsys: Capture) -> None:
    dicom(tmp_path / "in/a", "Meier", 1, SeriesDescription="Lunge\x1b[2J", StudyDescription="Thorax")
    dicom(tmp_path / "in/b", "Meier", 1, slices=3, Modality="SEG", SeriesInstanceUID="1.9")
    dicom(tmp_path / "in/c", "Kurz", 2, slices=6)
    dicom(tmp_path / "in/d", "Kern", 3, Modality="MR")
    assert init(tmp_path / "in", tmp_path / "p") == 0
    assert "1 of 2 chosen series have fewer than 20 slices and will be set aside" in capsys.readouterr().out
    kern, kurz, meier = rows(tmp_path / "p/patients.csv")
    assert (meier["patient"], meier["study_dates"], meier["study_descriptions"]) == ("Meier", "2020-03-15", "Thorax")
    assert (meier["series"], meier["chosen"], meier["chosen_series"], meier["slices"]) == ("2", "1", "1.6.1", "24")
    assert meier["chosen_descriptions"] == "Lunge?[2J"
    assert kurz["problems"] == "6 slices, fewer than 20"
    assert kern["problems"] == "no series chosen: modality MR"
    assert [row["patient_id"] for row in rows(tmp_path / "p/labels.csv")] == ["Kurz", "Meier"]


def test_a_scan_of_two_people_is_told(tmp_path: Path) -> None:
    dicom(tmp_path / "in/a", "A", 1, PatientSex="F")
    dicom(tmp_path / "in/b", "A", 2, PatientSex="M")
    for path in dicom(tmp_path / "in/c", "B", 3).iterdir():
        edit(path, StudyInstanceUID="1.5.1")
    assert init(tmp_path / "in", tmp_path / "p") == 0
    problems = [row["problems"] for row in rows(tmp_path / "p/patients.csv")]
    assert "several people?" in problems[0]
    assert problems[1] == "another PatientID has the same study: one person?"


def test_nifti_without_a_patient_is_keyed_by_path_and_named_by_file(tmp_path: Path, out: Path, capsys: Capture) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "x/c.nii", "y/c.nii", "a_mask.nii.gz"):
        nifti(tmp_path / "in" / name)
    assert init(tmp_path / "in", tmp_path / "p") == 0
    told = capsys.readouterr().out
    assert "4 NIfTI files without a patient: each is one of its own, named by its file" in told
    assert "passed over: 1 mask" in told
    assert "the key column of labels.csv is `path`" in told
    found = {row["path"]: row["patient"] for row in rows(tmp_path / "p/labels.csv")}
    assert found == {"a.nii.gz": "a", "b.nii.gz": "b", "x/c.nii": "x/c", "y/c.nii": "y/c"}
    labels = labelled(tmp_path / "p", dict(zip(found, ("normal", "covid") * 2, strict=True)))
    assert claire("index", ["--source", str(tmp_path / "in"), "--labels", str(labels), "--out", str(out)]) == 0
    assert "4 of 4 chosen series have a label" in capsys.readouterr().err


def test_bids_subjects_are_patients(tmp_path: Path, capsys: Capture) -> None:
    for subject in ("sub-01", "sub-02"):
        nifti(tmp_path / f"in/{subject}/ct/{subject}_ct.nii.gz")
    assert init(tmp_path / "in", tmp_path / "p") == 0
    assert "2 patients named by the BIDS subject" in capsys.readouterr().out
    assert [row["patient_id"] for row in rows(tmp_path / "p/labels.csv")] == ["sub-01", "sub-02"]


def test_generic_patient_ids_are_named_by_their_folder(tmp_path: Path, capsys: Capture) -> None:
    dicom(tmp_path / "in/one/s1", "anonymous", 1)
    dicom(tmp_path / "in/flat", "anonymous", 2)
    dicom(tmp_path / "in/flat2", "anonymous", 3)
    dicom(tmp_path / "in/known", "Meier", 4)
    for path in (tmp_path / "in/flat2").iterdir():
        path.rename(tmp_path / "in/flat" / f"other_{path.name}")
    assert init(tmp_path / "in", tmp_path / "p") == 0
    assert "3 studies without a usable PatientID" in capsys.readouterr().out
    found = {row["path"]: row["patient"] for row in rows(tmp_path / "p/labels.csv")}
    assert (found["one/s1"], found["known"]) == ("one/s1", "")
    assert sorted(found.values()) == ["", "1.5.2", "1.5.3", "one/s1"]
    assert sum((tmp_path / "in" / path).is_file() for path in found) == 2


def test_an_id_that_a_spreadsheet_would_run_is_found_again(tmp_path: Path) -> None:
    dicom(tmp_path / "in/a", "=1+1", 1)
    dicom(tmp_path / "in/b", "-abc", 2)
    assert init(tmp_path / "in", tmp_path / "p") == 0
    assert [row["patient_id"] for row in rows(tmp_path / "p/labels.csv")] == ["'-abc", "'=1+1"]
    assert set(read_labels(tmp_path / "p/labels.csv").rows) == {"=1+1", "-abc"}


def test_labels_are_joined_and_every_mismatch_is_told(source: Path, tmp_path: Path, capsys: Capture) -> None:
    theirs = table(
        tmp_path / "theirs.tsv",
        "Patient\tDiagnosis\tsite\nM-0000\tcovid\tnorth\nm-1\tnormal\t\nM-0002\tcovid\t\nM-0002\tnormal\t\n"
        "M-0003\t\t\nnobody\tcovid\t\nM-0004\tnormal\t\nM-0005\tcovid\t\n",
    )
    flags = ("--labels-from", theirs, "--key-column", "Patient", "--label-column", "Diagnosis")
    assert init(source, tmp_path / "p", *flags) == 0
    told = capsys.readouterr().out
    for line in (
        "4 of 8 patients got a label: covid 2, normal 2",
        "1 of them only without case and leading zeros: check `matched_row` of patients.csv",
        "1 patient with different labels got none: see `problems`",
        "1 of 8 rows of the table match no patient here",
        "1 of 8 rows of the table have no key or no label",
        "too few patients of covid, normal: a run needs at least 3 of each class",
    ):
        assert line in told.splitlines()
    joined = {row["patient_id"]: (row["label"], row["site"]) for row in rows(tmp_path / "p/labels.csv")}
    assert joined["M-0000"] == ("covid", "north")
    assert joined["M-0001"] == ("normal", "")
    assert joined["M-0002"] == joined["M-0003"] == ("", "")
    overview = {row["patient"]: row for row in rows(tmp_path / "p/patients.csv")}
    assert overview["M-0001"]["matched_row"] == "m-1 (case or leading zeros differ)"
    assert overview["M-0002"]["problems"] == "rows with different labels"
    assert '# classes: "covid,normal"' in (tmp_path / "p/job.yml").read_text()


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("study", "1.5.{}"), ("series", "1.6.{}"), ("folder", "f{}"), ("path", "f{}/IM0000_0.dcm"),
        ("number", "m-{}"), ("excel", "M-000{}"),
    ],
)  # fmt: skip
def test_rows_may_name_studies_series_folders_and_files(source: Path, tmp_path: Path, column: str, key: str) -> None:
    lines = [f"{key.format(number)};{('normal', 'covid')[number % 2]}\n" for number in range(8)]
    theirs = table(tmp_path / "theirs.csv", f"{column};label\n" + "".join(lines))
    assert init(source, tmp_path / "p", "--labels-from", theirs, "--key-column", column) == 0
    assert [row["label"] for row in rows(tmp_path / "p/labels.csv")] == ["normal", "covid"] * 4


def test_an_exact_row_comes_before_a_loose_one(tmp_path: Path) -> None:
    dicom(tmp_path / "in/a", "0007", 1)
    dicom(tmp_path / "in/b", "7", 2)
    dicom(tmp_path / "in/c", "08", 3)
    theirs = table(tmp_path / "theirs.csv", "patient_id,label\n7,covid\n8.0,normal\n007,other\n")
    assert init(tmp_path / "in", tmp_path / "p", "--labels-from", theirs) == 0
    found = {row["patient_id"]: row["label"] for row in rows(tmp_path / "p/labels.csv")}
    assert found == {"0007": "", "7": "covid", "08": "normal"}


def test_classes_and_folds_follow_the_labels(source: Path, tmp_path: Path, capsys: Capture) -> None:
    lines = [f"M-{number:04d},{('normal', 'covid')[number % 2]}\n" for number in range(8)]
    theirs = table(tmp_path / "theirs.csv", "patient_id,label\n" + "".join(lines))
    assert init(source, tmp_path / "p", "--labels-from", theirs, "--classes", "normal,covid", "--seed", "9") == 0
    job = yaml.safe_load((tmp_path / "p/job.yml").read_text())
    assert (job["classes"], job["fold_count"], job["seed"]) == ("normal,covid", 3, 9)
    assert "fill in" not in capsys.readouterr().out
    assert init(source, tmp_path / "q", "--labels-from", theirs, "--classes", "normal,Covid") == 2
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(("patients", "folds"), [(0, 3), (3, 3), (7, 3), (8, 4), (10, 5), (500, 5)])
def test_folds_fit_the_smallest_class(patients: int, folds: int) -> None:
    assert fold_count_for(patients) == folds


@pytest.mark.parametrize(("patients", "variants"), [(3, 2), (99, 2), (100, 4), (400, 4), (401, 8), (10_000, 8)])
def test_the_starter_grid_grows_with_the_cohort(tmp_path: Path, patients: int, variants: int) -> None:
    path = table(tmp_path / "grid.yml", grid_text(patients))
    assert len(expand(load_grid(path))) == variants


@pytest.mark.parametrize(
    ("names", "told"),
    [(["labels.csv", "job.yml"], "labels.csv, job.yml"), (["grid.yml"], "grid.yml"), (["patients.csv"], "patients")],
)
def test_nothing_is_overwritten(source: Path, tmp_path: Path, capsys: Capture, names: list[str], told: str) -> None:
    (tmp_path / "p").mkdir()
    for name in names:
        (tmp_path / "p" / name).write_text("mine")
    assert init(source, tmp_path / "p") == 2
    require_told(capsys.readouterr().err, "init", f"holds {told}", "nothing is overwritten")
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == sorted(names)
    assert {path.read_text() for path in (tmp_path / "p").iterdir()} == {"mine"}


def test_a_key_that_is_there_is_kept(source: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/key").write_text("0123456789abcdef0123")
    assert init(source, tmp_path / "p") == 0
    assert (tmp_path / "p/key").read_text() == "0123456789abcdef0123"
    assert "the key that was there is kept" in capsys.readouterr().out


def test_a_key_that_is_too_short_is_refused_first(source: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/key").write_text("short")
    assert init(source, tmp_path / "p") == 2
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["key"]


@pytest.mark.parametrize("inside", [".", "project", "f1/deep/project"])
def test_nothing_is_written_into_the_source(source: Path, capsys: Capture, inside: str) -> None:
    before = sorted(source.rglob("*"))
    assert init(source, source / inside) == 2
    require_told(capsys.readouterr().err, "init", "is inside --source")
    assert sorted(source.rglob("*")) == before


def test_a_link_into_the_source_is_no_way_in(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    assert init(source, tmp_path / "link/project") == 2
    assert not (source / "project").exists()


def test_a_source_without_series_is_refused(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/all.zip").write_bytes(b"PK" + bytes(300))
    assert init(tmp_path / "in", tmp_path / "p") == 1
    require_told(capsys.readouterr().err, "init", "holds no DICOM or NIfTI series", "1 archive not opened")
    assert not (tmp_path / "p").exists()


def test_a_source_of_other_modalities_is_refused(tmp_path: Path, capsys: Capture) -> None:
    dicom(tmp_path / "in", "Meier", Modality="MR")
    assert init(tmp_path / "in", tmp_path / "p") == 1
    require_told(capsys.readouterr().err, "init", "holds no CT series that could be chosen", "claire index")
    assert not (tmp_path / "p").exists()


def test_a_source_that_cannot_be_read_is_refused(
    source: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("claire.commands.init.work.os.scandir", denied)
    assert init(source, tmp_path / "p") == 2
    require_told(capsys.readouterr().err, "init", "cannot be read: Permission denied")


def test_a_path_that_engines_take_for_a_url_is_refused(source: Path, tmp_path: Path, capsys: Capture) -> None:
    assert init(source, tmp_path / "p#1") == 2
    require_told(capsys.readouterr().err, "init", "'#' or '%'")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--key-column", "pateint"), "has no column 'pateint' (did you mean Patient?)"),
        (("--key-column", "Patient", "--label-column", "diagnose"), "(did you mean Diagnosis?)"),
        (("--key-column", "Patient"), "has no column 'label'"),
        ((), "has no key column of patient_id, study_uid, series_uid, path"),
    ],
)
def test_a_wrong_column_is_refused_with_near_matches(
    source: Path, tmp_path: Path, capsys: Capture, flags: tuple[str, ...], told: str
) -> None:
    theirs = table(tmp_path / "theirs.csv", "Patient,Diagnosis\nM-0000,covid\n")
    assert init(source, tmp_path / "p", "--labels-from", theirs, *flags) == 2
    error = capsys.readouterr().err
    require_told(error, "init", told, "it has: Patient, Diagnosis")
    assert not (tmp_path / "p").exists()


def test_the_log_names_nobody(source: Path, tmp_path: Path, capsys: Capture) -> None:
    theirs = table(tmp_path / "theirs.csv", "patient_id,label\nM-0000,covid\nM-9999,covid\n")
    assert init(source, tmp_path / "p", "--labels-from", theirs) == 0
    told = capsys.readouterr()
    assert "M-" not in told.err + told.out
    assert "1.5." not in told.err + told.out


@pytest.mark.parametrize(
    ("one", "other"), [("0007", "7"), ("Abc-01", "ABC-1"), ("7.0", "007"), (" a b", "AB"), ("x001y002", "x1y2")]
)
def test_ids_are_the_same_without_case_and_leading_zeros(one: str, other: str) -> None:
    assert loosely(one) == loosely(other)


@pytest.mark.parametrize(("one", "other"), [("70", "7"), ("1.05", "1.5"), ("a10", "a1"), ("0", "")])
def test_other_ids_stay_apart(one: str, other: str) -> None:
    assert loosely(one) != loosely(other)


def machine(**values: Any) -> Machine:
    return Machine(**{"cores": 8, "memory": 32 * 2**30, "disk": 2**40, "bf16": True} | values)


def test_costs_grow_with_scans_variants_and_folds() -> None:
    series = [Series("nifti", None, Path(), instances=300, voxels=300 * 512**2)] * 10
    one = estimate(series, [Variant()], 5, 0.025)
    more = estimate(series * 2, [Variant(), Variant(seed=1)], 5, 0.025)
    assert (one.trainings, more.trainings) == (5, 10)
    assert more.cpu_seconds["training"] == pytest.approx(4 * one.cpu_seconds["training"])
    assert more.bytes["scans"] == pytest.approx(2 * one.bytes["scans"])
    assert one.bytes["scans"] == pytest.approx(10 * 300 * 512**2 * 1.3)


def test_too_little_disk_or_memory_is_told() -> None:
    series = [Series("nifti", None, Path(), instances=300, voxels=300 * 512**2)] * 1000
    cost = estimate(series, [Variant()], 5, 0.025)
    assert "NOT ENOUGH DISK" in cost_text(cost, machine(disk=2**30), 1, False)
    assert "LITTLE MEMORY" in cost_text(cost, machine(memory=2**30), 1, False)
    good = cost_text(cost, machine(), 2, True)
    assert "1000 scans, 1 variants x 5 folds = 5 trainings" in good
    assert "4 trainings side by side on 8 cores" in good
    assert "timed here" in good
    assert "NOT ENOUGH" not in good


def test_a_machine_without_bf16_is_guessed_slower(tmp_path: Path) -> None:
    assert guessed_rate(machine(bf16=False)) == 2 * guessed_rate(machine())
    here = this_machine(tmp_path / "not/there/yet")
    assert here.cores >= 1
    assert here.disk > 0


def test_calibration_times_a_training() -> None:
    rate = measured_rate(Variant(size=32, slices=4), 1)
    assert rate is not None
    assert rate > 0


def test_a_training_that_cannot_be_run_leaves_the_guess(
    source: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claire.commands.init.calibrate.sys.executable", str(tmp_path / "no python"))
    assert init(source, tmp_path / "p", "--calibrate") == 0
    told = capsys.readouterr()
    assert "training cannot be timed here" in told.err
    assert "a guess from the demo's rates" in told.out


def test_a_phantom_cohort_becomes_a_project(tmp_path: Path, capsys: Capture) -> None:
    flags = ["--preset", "tiny", "--patients", "6", "--size", "32", "--slices", "8", "--out", str(tmp_path / "site")]
    assert claire("phantom", flags) == 0
    site = tmp_path / "site"
    assert init(site / "source", tmp_path / "p", "--labels-from", site / "labels.csv") == 0
    told = capsys.readouterr().out
    assert "6 of 6 patients got a label" in told
    assert "columns of the table not taken along: sex, age" in told
    mine, theirs = read_labels(tmp_path / "p/labels.csv").rows, read_labels(site / "labels.csv").rows
    assert {key: (row.label, row.site) for key, row in mine.items()} == {
        key: (row.label, row.site) for key, row in theirs.items()
    }
