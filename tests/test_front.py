"""The front door: `claire` itself, its version, its completion and its advice on slips."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from claire import __main__ as front
from claire import __version__
from claire.commands import completion
from claire.core.command.cli import parser

from tests.support.command import claire
from tests.workflow.test_contract import COMMANDS, STEPS, module

HEAVY = ("pydantic", "yaml", "numpy", "shtab", "difflib", "argparse")


@pytest.mark.parametrize(
    ("slip", "meant"), [("tran", "train"), ("chek", "check"), ("Index", "index"), ("fantom", "phantom")]
)
def test_a_misspelt_step_is_answered_with_the_near_one(
    slip: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main([slip]) == 2
    assert f"there is no step '{slip}' (did you mean {meant}?)" in capsys.readouterr().err


def test_a_word_that_is_near_to_nothing_is_answered_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["xyzzy"]) == 2
    assert capsys.readouterr().err == "claire: there is no step 'xyzzy'. `claire --help` lists them.\n"


def test_help_and_version_need_no_library() -> None:
    for flag in ("--help", "--version"):
        code = f"import sys; from claire.__main__ import main; main(['{flag}']); print([*sys.modules], file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert [name for name in HEAVY if f"'{name}'" in done.stderr] == []


def test_the_version_is_said_with_what_faults_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    assert claire("version", []) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f"claire {__version__} (source ")
    assert others[0].startswith("Python 3.")
    assert {"numpy", "torch"} <= {line.split()[0] for line in others}


@pytest.mark.parametrize("name", STEPS + COMMANDS)
def test_help_shows_no_empty_default(name: str) -> None:
    text = parser(name, "", module(name).Parameters).format_help()
    assert "None" not in text
    assert "(default: )" not in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_knows_every_step_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="requirements/learn.txt has it: run `make setup` again")
    assert claire("completion", [shell]) == 0
    script = capsys.readouterr().out
    words = [*front.STEPS, *front.COMMANDS, "fold-count", "log-level", "lungs"]
    assert [word for word in words if word not in script] == []


def test_the_completion_of_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="requirements/learn.txt has it: run `make setup` again")
    assert claire("completion", ["bash"]) == 0
    (tmp_path / "claire.bash").write_text(capsys.readouterr().out)
    ask = 'COMP_WORDS=({}); COMP_CWORD={}; _shtab_claire claire "{}"; echo "${{COMPREPLY[@]}}"'
    asked = [ask.format("claire seg", 1, "seg"), ask.format("claire train --device cu", 3, "cu")]
    script = "\n".join(["source claire.bash", *asked])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["segment", "cuda"]


def test_without_the_library_the_completion_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(completion, "shtab", None)
    assert claire("completion", ["bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err
