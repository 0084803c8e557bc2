"""Job files checked before anything is run: every fault at once, with near matches."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from claire.commands.check.job import WORKFLOW, _fits, check_job, read_ports
from claire.core.command.errors import UsageError
from claire.core.command.yaml_files import read_yaml_mapping
from hypothesis import HealthCheck, given, settings

from tests.support.command import claire
from tests.support.damage import damaged

ROOT = Path(__file__).parents[2]
PORTS = read_ports(WORKFLOW)


@pytest.fixture
def job(tmp_path: Path) -> dict:
    """The smoke job, whose files exist."""
    (tmp_path / "source").mkdir()
    values = yaml.safe_load((ROOT / "configs/smoke.yml").read_text())
    for name in ("labels", "key", "grid"):
        (tmp_path / name).write_text("")
        values[name] = {"class": "File", "path": name}
    return {**values, "source": {"class": "Directory", "path": "source"}}


def check(job: object, folder: Path) -> int:
    path = folder / "job.yml"
    path.write_text(job if isinstance(job, str) else yaml.safe_dump(job))
    return claire("check", [str(path)])


def test_a_good_job_is_said_to_be_one(job: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(job, tmp_path) == 0
    assert "job.yml: all 12 keys are inputs of main.cwl" in capsys.readouterr().out


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
    (tmp_path / "key").write_text("")
    assert check({**job, "key": {"class": "File", "location": f"file://{tmp_path}/key"}}, tmp_path) == 0


def test_an_installation_without_a_checkout_asks_for_the_workflow(
    job: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("claire.commands.check.work.WORKFLOW", tmp_path / "main.cwl")
    assert check(job, tmp_path) == 2
    assert "--workflow is missing" in capsys.readouterr().err
