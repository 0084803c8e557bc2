"""The same names everywhere: modules, flags, CWL tools, outputs and documents."""

from __future__ import annotations

import html
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from claire import __main__ as front
from claire.core.command.parameters import Parameter, describe

from docs import generate

ROOT = Path(__file__).parents[2]
STEPS = sorted(front.STEPS)
COMMANDS = sorted(front.COMMANDS)
WORKFLOWS = ("main", "data", "experiment", "predict")
#: Types of a CWL port by kind of parameter: `source`, `labels` and `key` may be places that only the pods see;
#: a manifest is written by the tool from its files.
CWL_TYPES = {
    "file": {"File", "string"}, "directory": {"Directory", "string"}, "path": {"string"}, "text": {"string"},
    "integer": {"int"}, "number": {"float"}, "flag": {"boolean"}, "integers": {"int[]"}, "manifest": set(),
}  # fmt: skip
HEAVY = ("torch", "monai", "SimpleITK", "sklearn", "matplotlib", "captum", "skimage", "h5py", "pydicom", "scipy")


def load(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text())


def tool(step: str) -> dict:
    return load(f"cwl/tools/{step}.cwl")


def module(name: str):
    return importlib.import_module(f"claire.{name}" if name in front.STEPS else f"claire.commands.{name}")


def flags(step: str) -> dict[str, Parameter]:
    """Return the parameters of a step by flag, without those that the engine's job folder decides."""
    return {each.flag: each for each in describe(module(step).Parameters) if each.name not in ("out", "log_level")}


def alternatives(kind: object) -> list[object]:
    return kind if isinstance(kind, list) else [kind]


def test_every_step_has_a_tool_and_every_tool_a_step() -> None:
    assert sorted(path.stem for path in (ROOT / "cwl/tools").glob("*.cwl")) == STEPS


@pytest.mark.parametrize("name", STEPS + COMMANDS)
def test_help_is_complete(name: str) -> None:
    listing = {**front.STEPS, **front.COMMANDS}
    assert (module(name).__doc__ or "").splitlines()[0] == listing[name]
    assert all(parameter.help for parameter in flags(name).values())


@pytest.mark.parametrize("name", STEPS + COMMANDS)
def test_every_flag_stands_in_the_usage_document(name: str) -> None:
    section = (ROOT / "docs/usage.md").read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert [flag for flag in flags(name) if f"`{flag}" not in section and flag != "--threads"] == []


@pytest.mark.parametrize("step", STEPS)
def test_every_flag_is_bound_once_by_its_name(step: str) -> None:
    document, bound = tool(step), bindings(step)
    expected = [flag for flag, parameter in flags(step).items() if not parameter.for_people]
    given = [word for word in document["arguments"] if isinstance(word, str) and word.startswith("--")]
    assert sorted([*bound, *given]) == sorted(expected)
    assert all(prefix == "--" + name.replace("_", "-") for prefix, (name, _) in bound.items())


def bindings(step: str) -> dict[str, tuple[str, dict]]:
    """Return (name, port) by prefix: the ports of a tool and the fields of its parameter record."""
    ports = [(name, port) for name, port in tool(step)["inputs"].items() if "prefix" in port.get("inputBinding", {})]
    path = ROOT / f"cwl/types/{step}.yml"
    if path.is_file():
        assert tool(step)["inputs"]["parameters"]["type"] == ["null", f"../types/{step}.yml#{step}_parameters"]
        ports += yaml.safe_load(path.read_text())["fields"].items()
    assert len({port["inputBinding"]["prefix"] for _, port in ports}) == len(ports)
    return {port["inputBinding"]["prefix"]: (name, port) for name, port in ports}


@pytest.mark.parametrize("step", STEPS)
def test_types_and_defaults_of_ports_are_those_of_the_flags(step: str) -> None:
    for prefix, (name, port) in bindings(step).items():
        parameter = flags(step)[prefix]
        kinds = {str(kind).removesuffix("?") for kind in alternatives(port["type"]) if not isinstance(kind, dict)}
        symbols = [kind["symbols"] for kind in alternatives(port["type"]) if isinstance(kind, dict)]
        if parameter.kind == "choice":
            assert symbols == [list(parameter.choices)] or kinds == {f"../types/{name}.yml#{name}"}, name
        else:
            assert kinds - {"null"} <= CWL_TYPES[parameter.kind], name
        if "default" in port:
            assert port["default"] == parameter.default, name


def test_files_that_follow_from_the_code_are_current() -> None:
    assert generate.stale(generate.generated()) == []


def test_the_pictures_show_every_box_of_the_workflows() -> None:
    pictures = ROOT / "docs/pictures"
    drawn = set()
    for name in generate.PICTURES:
        boxes = re.findall(r'^ +"([^"]+)" \[label=', (pictures / f"{name}.dot").read_text(), re.MULTILINE)
        titles = re.findall(r"<title>(.+?)</title>", html.unescape((pictures / f"{name}.svg").read_text()))
        assert set(boxes) <= set(titles), "run `make generated`"
        drawn |= set(boxes)
    assert set(STEPS) <= drawn


@pytest.mark.parametrize("step", STEPS)
def test_required_flags_are_required_inputs(step: str) -> None:
    for name, port in tool(step)["inputs"].items():
        if "prefix" not in port.get("inputBinding", {}):
            continue
        parameter = flags(step)[port["inputBinding"]["prefix"]]
        optional = str(port["type"]).endswith("?") or "null" in alternatives(port["type"]) or "default" in port
        replaced = parameter.unless in tool(step)["inputs"]
        assert optional == (replaced or not parameter.required), name


@pytest.mark.parametrize("step", STEPS)
def test_only_files_cross_between_steps(step: str) -> None:
    document = tool(step)
    for name, port in document["inputs"].items():
        assert "Directory" not in str(port["type"]) or name == "source"
        assert "format" not in port
    for port in document["outputs"].values():
        assert all(
            kind in ("File", "File?", "File[]", "int", "int[]", "string[]", "null")
            for kind in alternatives(port["type"])
        )


@pytest.mark.parametrize("step", STEPS)
def test_an_unbounded_list_of_files_stands_on_no_command_line(step: str) -> None:
    ports = tool(step)["inputs"].values()
    assert not any(str(port["type"]).startswith("File[]") and "inputBinding" in port for port in ports)


@pytest.mark.parametrize("step", STEPS)
def test_a_tool_runs_its_step_with_little_and_leaves_a_record(step: str) -> None:
    document = tool(step)
    assert document["baseCommand"] == ["claire", step]
    assert document["arguments"][:2] == ["--threads", "$(runtime.cores)"]
    assert document["requirements"]["NetworkAccess"] == {"networkAccess": False}
    assert document["requirements"]["ResourceRequirement"]["coresMin"] in (1, "$(inputs.cores)")
    assert document["requirements"]["ResourceRequirement"]["ramMin"] <= 4096
    assert "DockerRequirement" in document["hints"]
    assert document["outputs"]["record"]["type"] == "File"
    assert document["outputs"]["record"]["outputBinding"]["glob"].endswith(f"{step}.run.json")


@pytest.mark.parametrize(
    "path", [f"cwl/tools/{step}.cwl" for step in STEPS] + [f"cwl/{name}.cwl" for name in WORKFLOWS]
)
def test_everything_has_a_label_and_a_doc(path: str) -> None:
    document = load(path)
    parts = {"": document, **document["inputs"], **document["outputs"]}
    assert [name for name, part in parts.items() if not (part.get("label") and part.get("doc"))] == []


@pytest.mark.parametrize("step", STEPS)
def test_files_of_a_tool_have_a_format_or_stay_inside(step: str) -> None:
    ports = tool(step)["outputs"]
    bare = [name for name, port in ports.items() if "File" in str(port["type"]) and "format" not in port]
    assert [name for name in bare if name not in ("shard_lists", "weights", "explained_weights")] == []


def test_the_workflows_use_every_tool_and_none_twice() -> None:
    used = {name: re.findall(r"run: tools/(\w+)\.cwl", (ROOT / f"cwl/{name}.cwl").read_text()) for name in WORKFLOWS}
    predicting = used.pop("predict")
    training = [step for steps in used.values() for step in steps]
    assert len({*training}) == len(training)
    assert len({*predicting}) == len(predicting)
    assert sorted({*training, *predicting}) == STEPS


def test_job_files_name_inputs_of_the_workflow() -> None:
    known = set(load("cwl/main.cwl")["inputs"])
    for job in (path for path in (ROOT / "configs").glob("*.yml")):
        assert set(yaml.safe_load(job.read_text())) <= known, job.name


def test_the_hybrid_binds_steps_that_exist() -> None:
    bindings = load("streamflow.yml")["workflows"]["claire"]["bindings"]
    assert {binding["step"] for binding in bindings} == {"/", "/experiment/collect", "/experiment/train", "/explain"}
    assert {"collect", "train"} <= set(load("cwl/experiment.cwl")["steps"])
    assert "explain" in load("cwl/main.cwl")["steps"]


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in STEPS + COMMANDS)])
def test_help_imports_no_heavy_library(words: list[str]) -> None:
    code = (
        f"import sys; from claire.__main__ import main; main({words!r});"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_step_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["ingets"]) == 2
    assert "claire --help" in capsys.readouterr().err
