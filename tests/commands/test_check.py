"""Job files checked before anything is run: every fault at once, with near matches."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from claire.commands.check.job import _fits, check_job, read_ports
from claire.commands.check.needs import training_memory
from claire.core.command.errors import UsageError
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping
from claire.core.contracts.variant import Variant
from hypothesis import HealthCheck, given, settings

from tests.support.command import claire
from tests.support.damage import damaged, require_told
from tests.support.dicom_maker import SeriesMaker, chest, edit

ROOT = Path(__file__).parents[2]
PORTS = read_ports(shipped("cwl/main.cwl"))


PATIENTS = 9
LABELS = {f"Meier-{number}": ("normal", "covid", "flu")[number % 3] for number in range(PATIENTS)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine patients, one series each."""
    folder = tmp_path_factory.mktemp("check") / "source"
    for number, patient in enumerate(LABELS):
        SeriesMaker(chest(20, 8), patient, f"1.5.{number}", f"1.6.{number}").write(folder / f"p{number}")
    return folder


def write_labels(folder: Path, labels: dict[str, str], name: str = "labels.csv", key: str = "patient_id") -> None:
    (folder / name).write_text(f"{key},label\n" + "".join(f"{row},{label}\n" for row, label in labels.items()))


@pytest.fixture
def job(source: Path, tmp_path: Path) -> dict:
    """The smoke job on nine patients of three classes: nothing is wrong with it."""
    write_labels(tmp_path, LABELS)
    (tmp_path / "key").write_text("0123456789abcdef")
    (tmp_path / "key").chmod(0o600)
    files = {"labels": "labels.csv", "key": "key", "grid": str(ROOT / "configs/grids/smoke.yml")}
    return {
        **yaml.safe_load((ROOT / "configs/smoke.yml").read_text()),
        **{name: {"class": "File", "path": path} for name, path in files.items()},
        "source": {"class": "Directory", "path": str(source)},
    }


def check(job: object, folder: Path, *flags: str) -> int:
    path = folder / "job.yml"
    path.write_text(job if isinstance(job, str) else yaml.safe_dump(job))
    return claire("check", [str(path), *flags])


def test_a_good_job_is_said_to_be_one_and_what_it_will_be(
    job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(job, tmp_path) == 0
    told = capsys.readouterr()
    assert "job.yml: all 12 keys are inputs of main.cwl; no fault was found" in told.out
    for words in (
        "series     9 found, 9 chosen, 9 with a label, 9 can enter",
        "patients   9: 3 normal, 3 covid, 3 flu",
        "folds      3, each tests 1 normal, 1 covid, 1 flu",
        "trainings  smoke: 2 variants x 3 folds = 6 trainings",
        "0 faults, 0 warnings",
    ):
        assert words in told.out
    assert "Meier" not in told.out + told.err


@pytest.mark.parametrize("name", ["smoke", "site", "sample"])
def test_the_configurations_of_the_project_have_no_unknown_key(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    claire("check", [str(ROOT / f"configs/{name}.yml")])
    assert "unknown key" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fold_cuont": 5}, "unknown key 'fold_cuont' (did you mean fold_count?)"),
        ({"size": 320}, "unknown key 'size' (did you mean preprocess_options: {size: …}?)"),
        ({"index_options": {"shard": 4}}, "unknown key 'index_options.shard' (did you mean shards?)"),
        ({"index_options": {"shards": "four"}}, "index_options: 'shards' is \"four\": expected int"),
        ({"index_options": 4}, "'index_options' is not a mapping"),
        ({"fold_count": True}, "'fold_count' is true: expected int"),
        ({"images": "some"}, "'images' is 'some': expected one of none, phantom, all"),
        ({"source": None}, "'source' is missing"),
        ({"grid": {"class": "File", "path": "grd"}}, "'grid': there is no file grd"),
        ({"labels": {"class": "Directory", "path": "source"}}, "'labels' is a Directory: expected File"),
        ({"pretrained": [{"class": "File", "path": "gone.pt"}]}, "'pretrained': there is no file gone.pt"),
        ({"folds": 5}, "unknown key 'folds' (it was renamed: it is `fold_count` now)"),
        ({"preprocess_options": {"size": -3}}, "preprocess_options: 'size': expected an integer of at least 1"),
        ({"ingest_options": {"gantry_tilt": "keep"}}, "'gantry_tilt' is 'keep': expected one of reject, resample"),
        ({"cohort_options": {"max_reject_fraction": 2}}, "'max_reject_fraction': expected a number of at least 0"),
        ({"evaluate_options": {"reference": "v0"}}, "'reference' is no variant of the grid: expected one of v"),
        ({"seed": -1}, "'seed': expected an integer of at least 0, got '-1'"),
        ({"seed": 2**31}, "'seed': expected an integer"),
        ({"cores": 0}, "'cores': expected an integer of at least 1, got '0'"),
        ({"fold_count": 2}, "--fold-count 2 leaves nothing to train on"),
        ({"explain_folds": [3]}, "--explain-folds names a fold that does not exist: expected 0 to 2, got 3"),
        ({"min_slices": 21}, "9 of 9 labelled series will be set aside: fewer slices than --min-slices 21"),
        ({"classes": "normal,covid"}, "--classes names normal, covid: expected the labels of the scans, covid, flu"),
        ({"fold_count": 4}, "class 'covid' has 3 patients to draw into 4 folds"),
        ({"key": {"class": "File", "path": "key#1"}}, "which engines take for a URL"),
        ({"store": "store"}, "'store' is the relative path 'store': expected an absolute path"),
    ],
)
def test_a_fault_is_named(
    change: dict, told: str, job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = {name: value for name, value in {**job, **change}.items() if value is not None}
    assert check(faulty, tmp_path) == 2
    assert told in capsys.readouterr().err


def test_all_faults_are_told_at_once(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check({**job, "fold_cuont": 5, "seeds": 1, "store": "x"}, tmp_path) == 2
    assert "job.yml has 3 faults" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\nseed: 2\n", "duplicate"),
        ("", "not a mapping"),
        ("a: [", "job.yml, line"),
        ("- 1", "not a mapping"),
        ("seed: 2020-13-45", "is not YAML text"),
        ("seed: !!int x", "is not YAML text"),
        ("a: " * 2000, "job.yml"),
        ("[" * 1200, "nested too deeply"),
    ],
)
def test_what_is_no_job_is_refused(text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(text, tmp_path) == 2
    assert told in capsys.readouterr().err


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged((ROOT / "configs/smoke.yml").read_bytes()))
def test_a_damaged_job_is_one_or_one_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "job.yml").write_bytes(content)
    with suppress(UsageError):
        job = read_yaml_mapping(tmp_path / "job.yml", "Give a job.")
        assert all(isinstance(fault, str) for fault in check_job(job, PORTS, tmp_path))


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (1, "int", True), (1.5, "int", False), (True, "int", False), (1, "float", True), (True, "boolean", True),
        (1, "boolean", False), ("a", "string", True), ([1, 2], "int[]", True), ([1, "a"], "int[]", False),
        (1, "int[]", False), ({"class": "File"}, "File", True), ({"class": "Directory"}, "File", False),
        ("path", "File", False), ([{"class": "File"}], "File[]", True), (1, "unheard", False),
    ],
)  # fmt: skip
def test_values_fit_types_as_cwl_reads_them(value: object, kind: str, fits: bool) -> None:
    assert _fits(value, kind) == fits


def test_a_directory_with_a_listing_is_refused(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check({**job, "source": {"class": "Directory", "listing": []}}, tmp_path) == 2
    assert "'source' is a Directory with a listing" in capsys.readouterr().err


@pytest.mark.parametrize("location", ["https://example.org/key", "s3://bucket/key", ""])
def test_a_file_that_is_not_here_is_refused(
    job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str], location: str
) -> None:
    assert check({**job, "key": {"class": "File", "location": location}}, tmp_path) == 2
    assert "'key' has no local path" in capsys.readouterr().err


def test_a_local_url_is_a_path(job: dict, tmp_path: Path) -> None:
    assert check({**job, "key": {"class": "File", "location": f"file://{tmp_path}/key"}}, tmp_path) == 0


def write_grid(folder: Path, **base: object) -> dict[str, str]:
    (folder / "grid.yml").write_text(yaml.safe_dump({"name": "mine", "base": base}))
    return {"class": "File", "path": "grid.yml"}


def wrong_key_and_grid(job: dict, folder: Path) -> list[str]:
    (folder / "key").write_text("short")
    job["grid"] = write_grid(folder, architecture="torchvision:resnet19", pretraining="weights:lungs.pt")
    return [
        "3 faults",
        "the key has 5 bytes",
        "torchvision has no 2D classification network 'resnet19'",
        "pretraining 'weights:lungs.pt' names an unknown weights file",
    ]


def wrong_keys_and_values(job: dict, folder: Path) -> list[str]:
    job.update({"fold_cuont": 3, "seed": -1, "preprocess_options": {"size": 0, "min_lung_box": 3.0}, "store": "here"})
    return ["5 faults", "'fold_cuont'", "'seed': expected", "'size': expected", "'min_lung_box': expected", "'store'"]


def labels_of_other_patients(job: dict, folder: Path) -> list[str]:
    write_labels(folder, {f"X{number}": label for number, label in enumerate(LABELS.values())})
    return ["1 fault:", "none of the 9 chosen series has a label"]


def unknown_negative_class_and_too_few_patients(job: dict, folder: Path) -> list[str]:
    job["fold_count"] = 4
    write_labels(folder, {patient: label.replace("normal", "other") for patient, label in LABELS.items()})
    return ["4 faults", "none of them is known to mean negative", *(f"class '{n}' has 3" for n in ("other", "flu"))]


def a_patient_of_two_labels(job: dict, folder: Path) -> list[str]:
    rows = [f"1.6.{number},{label},{'one' if number < 2 else ''}\n" for number, label in enumerate(LABELS.values())]
    (folder / "labels.csv").write_text("series_uid,label,patient\n" + "".join(rows))
    return ["2 faults", "1 patient has scans with different labels (lines 2, 3 of the labels table)", "'covid' has 2"]


def a_table_that_contradicts_itself(job: dict, folder: Path) -> list[str]:
    (folder / "labels.csv").write_text("patient_id,label\nMeier-0,normal\nMeier-0,covid\n")
    return ["1 fault:", "line 3 of the table of labels labels.csv contradicts an earlier line"]


def classes_that_differ_in_case(job: dict, folder: Path) -> list[str]:
    write_labels(folder, {**LABELS, "Meier-0": "Normal"})
    return ["labels differ in case only: Normal, normal", "class 'Normal' has 1", "class 'normal' has 2"]


def slices_of_no_class(job: dict, folder: Path) -> list[str]:
    (folder / "slices.csv").write_text("patient_id,slice,label\nMeier-0,3,normal\nMeier-1,4,cavity\n")
    job["slice_labels"] = {"class": "File", "path": "slices.csv"}
    job["explain_folds"] = [7]
    return ["2 faults", "slices are labelled 'cavity', but the classes are covid, flu, normal", "got 7"]


def too_few_slices_everywhere(job: dict, folder: Path) -> list[str]:
    job["min_slices"] = 50
    return ["9 of 9 labelled series will be set aside: fewer slices than --min-slices 50", "Nothing is left"]


def a_source_without_series(job: dict, folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    job["source"] = {"class": "Directory", "path": "empty"}
    job["private"] = str(folder / "empty/private")
    return ["2 faults", "'private' is inside 'source'", "--source holds no DICOM or NIfTI series"]


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_key_and_grid,
        wrong_keys_and_values,
        labels_of_other_patients,
        unknown_negative_class_and_too_few_patients,
        a_patient_of_two_labels,
        a_table_that_contradicts_itself,
        classes_that_differ_in_case,
        slices_of_no_class,
        too_few_slices_everywhere,
        a_source_without_series,
    ],
)
def test_ten_wrong_jobs_are_refused_with_everything_that_is_wrong(
    spoil: Callable[[dict, Path], list[str]], job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = spoil(job, tmp_path)
    assert check(job, tmp_path) == 2
    told = capsys.readouterr()
    assert [words for words in expected if words not in told.err] == [], told.err
    require_told(told.err, "check")
    assert "Meier" not in told.out + told.err


def test_one_job_with_faults_of_every_kind(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = [*wrong_key_and_grid(job, tmp_path)[1:], *wrong_keys_and_values(job, tmp_path)[1:]]
    expected += classes_that_differ_in_case(job, tmp_path) + slices_of_no_class(job, tmp_path)[2:]
    assert check(job, tmp_path) == 2
    told = capsys.readouterr().err
    assert [words for words in expected if words not in told] == [], told
    assert "job.yml has 13 faults" in told


def test_what_is_odd_is_a_warning(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").chmod(0o644)
    write_labels(tmp_path, {**LABELS, "meier-00": "flu", "Schulz": "flu", "Weber": ""})
    (tmp_path / "slices.csv").write_text("patient_id,slice,label\nMeier-0,20,normal\nNobody,1,flu\n")
    (tmp_path / "extra.pt").write_text("x")
    job["slice_labels"] = {"class": "File", "path": "slices.csv"}
    job["pretrained"] = [{"class": "File", "path": "extra.pt"}]
    job["grid"] = write_grid(tmp_path, architecture="monai:MyNet", batch_size=64, size=1024, slices=1024)
    assert check(job, tmp_path) == 0
    told = capsys.readouterr()
    for words in (
        "(mode 0644)",
        "2 of 11 labels match no series by patient_id (lines 11, 12)",
        "slice labels of 1 of 2 values of patient_id match no series (line 3)",
        "1 labelled series will be set aside: a slice label names a slice that they do not have",
        "weights files that no variant names: extra.pt",
        "'monai:MyNet' is none of the networks of MONAI that are known here",
        "of memory are available",
    ):
        assert words in told.out, told.out
    assert "Schulz" not in told.out + told.err
    assert check(job, tmp_path, "--list") == 0
    assert "Schulz" in capsys.readouterr().out


def test_labels_that_a_spreadsheet_changed_are_recognised(
    tmp_path: Path, job: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, patient in enumerate(("0017", "0018", "0019")):
        SeriesMaker(chest(20, 8), patient, f"1.5.{number}", f"1.6.{number}").write(tmp_path / f"in/{patient}")
    write_labels(tmp_path, {"0017": "normal", "18": "covid", "19": "covid"})
    job["source"] = {"class": "Directory", "path": "in"}
    check(job, tmp_path)
    assert "2 would match without leading zeros, blanks or case" in capsys.readouterr().out


def test_half_of_the_archive_without_a_label_is_no_fault(
    job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(tmp_path, {patient: label for patient, label in LABELS.items() if label != "flu"})
    assert check(job, tmp_path) == 0
    told = capsys.readouterr().out
    assert "6 of 9 chosen series have a label; the other 3 are set aside" in told
    assert "0 warnings" in told


def test_many_scans_set_aside_for_their_headers_are_a_fault(
    job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, patient in enumerate(LABELS):
        folder = SeriesMaker(chest(20, 8), patient, f"1.5.{number}", f"1.6.{number}").write(tmp_path / f"in/{number}")
        for path in folder.iterdir():
            if number < 6:
                edit(path, BurnedInAnnotation="YES")
    job["source"] = {"class": "Directory", "path": "in"}
    assert check(job, tmp_path) == 2
    told = capsys.readouterr()
    assert "6 of 9 labelled series will be set aside: annotation is burned into the pixels" in told.out
    assert "6 of 9 labelled series will be set aside, more than cohort_options" in told.err


def test_it_is_said_by_what_the_patients_of_nifti_files_are_told_apart(
    job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (8, 8, 24)).astype(np.int16)
    names = [f"sub-{number}/ct.nii" for number in range(6)] + ["other/a.nii", "other/b.nii", "other/c.nii"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(hu, np.diag([4.0, 4.0, 4.0, 1.0])).to_filename(tmp_path / "in" / name)
    (tmp_path / "in/other/c.json").write_text('{"PatientID": "4711"}')
    write_labels(tmp_path, dict(zip(names, ("normal", "covid") * 5, strict=False)), key="path")
    job["source"] = {"class": "Directory", "path": "in"}
    assert check(job, tmp_path) == 0
    told = capsys.readouterr().out
    assert "6 NIfTI files: the patient is the BIDS subject (sub-<label>) of the path" in told
    assert "1 NIfTI files: the patient is named by the JSON of the same stem" in told
    assert "2 of 9 labelled series will be set aside: the NIfTI file names no patient" in told


def test_paths_at_the_site_are_not_looked_at(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check({**job, "source": "/data/source", "labels": "/data/labels.csv", "key": "/data/key"}, tmp_path) == 0
    assert "not checked here: source, labels, key (paths at the site)" in capsys.readouterr().out


def test_headers_can_be_left_out(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_labels(tmp_path, {"Nobody": "flu"})
    assert check(job, tmp_path, "--no-headers") == 0
    assert "not checked: the headers of the series" in capsys.readouterr().out
    (tmp_path / "labels.csv").write_text("patient_id\nMeier-0\n")
    assert check(job, tmp_path, "--no-headers") == 2
    assert "has no column label" in capsys.readouterr().err


@pytest.mark.parametrize(("free", "code", "channel"), [(0, 2, "err"), (2**40, 0, "")])
def test_a_disk_that_is_clearly_too_small_is_a_fault(
    job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    free: int, code: int, channel: str,
) -> None:  # fmt: skip
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr("claire.commands.check.needs.shutil.disk_usage", lambda path: usage)
    assert check(job, tmp_path) == code
    assert ("are free on the disk of" in capsys.readouterr().err) == (channel == "err")


def test_memory_follows_batch_and_network() -> None:
    small = training_memory(Variant(architecture="torchvision:resnet18", batch_size=2, slices=12, size=96))
    large = training_memory(Variant(architecture="torchvision:densenet121", batch_size=2, slices=12, size=96))
    slices = training_memory(Variant(labels="inherited", batch_size=2, slices=64, size=96))
    assert slices < small < large


def test_it_imports_no_torch() -> None:
    code = "import sys, claire.commands.check.work; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
