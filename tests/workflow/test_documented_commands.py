"""Every command in README and docs is one that works: its step, its flags, its files and its targets are there.

Indented blocks and fences without a language (or with `sh`) are commands; whatever else is shown (YAML, CSV, messages)
stands in a fence with its language. Commands within a sentence are checked too, as far as they are written out.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from claire import __main__ as front
from claire.core.command.cli import parser
from claire.core.command.parameters import describe

from tests.workflow.test_contract import module

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Folders of the checkout: a path that begins with one of them must be there. Other paths are the reader's own.
OURS = (
    "benchmarks/",
    "configs/",
    "cwl/",
    "deployments/",
    "docs/",
    "requirements/",
    "steps/",
    "tests/",
    "streamflow.yml",
)
#: Commands that are not checked any further, each with the reason why it may stand there.
OTHERS = {
    "export": "sets the PATH of the shell", "mkdir": "makes a folder", "openssl": "makes a key; on every Linux",
    "ls": "writes a list of files", "unzip": "opens an archive of results", "pipx": "optional: installs pre-commit",
    "pre-commit": "optional: a hook of git", "ssh-keyscan": "asks a host for its key",
}  # fmt: skip
#: Commands of `claire` that need nothing but the checkout and a second: they are run as they stand.
CHEAP = ("plan", "version", "completion")


@dataclass(frozen=True)
class Command:
    """A command as documented: where, its words, and the commands before it in the same block."""

    document: str
    line: int
    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    inline: bool = False

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {' '.join(self.words)}"


def blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (number of the first line, language, lines) of every fence and indented block (`sh`)."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line, previous = lines[number], lines[number - 1] if number else ""
        if fence := re.match(r"( *)```(\w*)", line):
            end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == "```")
            yield number + 2, fence[2] or "sh", lines[number + 1 : end]
            number = end + 1
        elif line.startswith("    ") and not previous.strip():
            end = next(
                (i for i in range(number, len(lines)) if lines[i] and not lines[i].startswith("    ")), len(lines)
            )
            yield number + 1, "sh", lines[number:end]
            number = end
        else:
            number += 1


def split(lines: Sequence[str], first: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, words) of every command of a block, without redirections; pipes and && divide commands."""
    joined, start = "", first
    for number, line in enumerate(lines, first):
        joined, start = (f"{joined} {line.strip()}", start) if joined else (line.strip(), number)
        if joined.endswith(("\\", "&&", "|", "||")):
            joined = joined.removesuffix("\\")
            continue
        lexer = shlex.shlex(joined, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        tokens = iter([*lexer, ";"])
        for token in tokens:
            if token in (";", "&&", "||", "|", "&"):
                if words:
                    yield start, tuple(words)
                words = []
            elif token in (">", "<", ">>", ">&"):
                next(tokens)
            else:
                words.append(token)
        joined = ""


def documented() -> Iterator[Command]:
    """Yield every command of every document."""
    for path in DOCUMENTS:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        for first, language, lines in blocks(text):
            if language not in ("sh", "bash"):
                continue
            before: list[tuple[str, ...]] = []
            for line, words in split(lines, first):
                yield Command(name, line, words, tuple(before))
                before.append(words)
        for span in re.finditer(r"(?<!`)`((?:claire|cwltool|streamflow|make) [^`]+)`", text):
            line = text.count("\n", 0, span.start()) + 1
            words = tuple(re.sub(r"[…\[\]]|\.\.\.", " ", span[1]).split())
            yield Command(name, line, words, inline=True)


COMMANDS = list(documented())


def missing(words: Sequence[str]) -> list[str]:
    """Return the paths of the checkout among the words that are not there."""
    return [word for word in words if word.startswith(OURS) and not (ROOT / word).exists()]


def check_claire(command: Command) -> None:
    name, *argv = command.words[1:]
    if name in ("--help", "--version", "STEP", "<step>"):
        return
    assert name in front.STEPS or name in front.COMMANDS, f"there is no step {name}"
    model = module(name).Parameters
    if command.inline:
        known = {each.flag for each in describe(model)} | {"--help"}
        assert [word for word in argv if word.startswith("--") and word.split("=")[0] not in known] == []
        return
    parser(name, "", model).parse_args(argv)
    if name in CHEAP and "--out" not in argv:  # nothing is written into the checkout
        subprocess.run(["claire", *command.words[1:]], cwd=ROOT, check=True, capture_output=True)


@cache
def cwltool_flags() -> set[str]:
    """Return the flags that the installed cwltool knows."""
    help_text = subprocess.run(["cwltool", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", help_text))


def check_cwltool(command: Command) -> None:
    if not shutil.which("cwltool"):
        pytest.skip("cwltool is in the other environment of `make setup`: put it on the PATH")
    assert [word for word in command.words if word.startswith("--") and word not in cwltool_flags()] == []
    assert command.inline or any(word.endswith(".cwl") for word in command.words)


def check_streamflow(command: Command) -> None:
    assert command.words[1] in ("run", "list", "report"), "an unknown command of streamflow"
    for file in (word for word in command.words if word.endswith(".yml") and (ROOT / word).is_file()):
        (workflow,) = yaml.safe_load((ROOT / file).read_text())["workflows"].values()
        home = (ROOT / file).parent
        assert (home / workflow["config"]["file"]).is_file()
        job = (home / workflow["config"]["settings"]).resolve()
        if not command.inline:
            assert missing_inputs(job, made_by(command.before)) == [], "make them by a command before this one"


def made_by(commands: Sequence[Sequence[str]]) -> list[Path]:
    """Return the folders that `claire phantom --out` of the commands makes."""
    return [ROOT / words[words.index("--out") + 1] for words in commands if [*words[:2]] == ["claire", "phantom"]]


def missing_inputs(job: Path, made: Sequence[Path]) -> list[str]:
    """Return the files of a job that neither the checkout has nor a command makes; absolute paths are a site's own."""
    values = yaml.safe_load(job.read_text()).values()
    paths = [value["path"] for value in values if isinstance(value, dict) and "class" in value]
    resolved = {path: (job.parent / path).resolve() for path in paths if not path.startswith("/")}
    return [
        path
        for path, place in resolved.items()
        if not any(folder in place.parents for folder in made)
        and (not place.exists() or "demo" in place.relative_to(ROOT).parts)
    ]


def check_make(command: Command) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    given = [word for word in command.words[1:] if "=" not in word and word != "..."]
    assert [word for word in given if word not in targets] == []


def check_files(command: Command) -> None:
    """Files of the checkout are checked for every command; a tool of others needs no more."""


CHECKS: dict[str, Callable[[Command], None]] = {
    "claire": check_claire, "cwltool": check_cwltool, "streamflow": check_streamflow, "make": check_make,
    "docker": check_files, "podman": check_files, "kubectl": check_files, "pytest": check_files,
    "python": check_files, "configs/demo": check_files,
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_documented_command_works(command: Command) -> None:
    check(command)


def check(command: Command) -> None:
    """Fail on a command that is unknown, or names a step, flag, file or target that is not there."""
    assert missing(command.words) == []
    name = next(word for word in command.words if not re.match(r"\w+=", word))
    assert name in CHECKS or name in OTHERS, (
        "an unknown command: check it, or list it with a reason; fence what is none"
    )
    if name in CHECKS:
        CHECKS[name](command)


def test_the_documents_have_commands_of_every_kind() -> None:
    assert {"claire", "cwltool", "streamflow", "make"} <= {command.words[0] for command in COMMANDS}
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("claire index --sorce x", SystemExit), ("claire index", SystemExit),
        ("claire indx --source x", AssertionError),
        ("claire train --variant v --cohort c --folds f --fold 0 --device tpu", SystemExit),
        ("cwltool --no-containers cwl/main.cwl", AssertionError), ("cwltool cwl/mian.cwl job.yml", AssertionError),
        ("make demmo", AssertionError), ("frobnicate --now", AssertionError),
        ("streamflow run deployments/sites/local.yml", AssertionError),
        ("kubectl apply -k deployments/kubernetes/none", AssertionError),
    ],
)  # fmt: skip
def test_a_wrong_command_would_be_noticed(line: str, fault: type[BaseException]) -> None:
    command = Command("a document", 1, tuple(line.split()))
    with pytest.raises(fault):
        check(command)


def test_the_list_of_unchecked_commands_holds_no_other() -> None:
    assert sorted(OTHERS) == sorted({command.words[0] for command in COMMANDS} & set(OTHERS))


def test_blocks_and_commands_are_found() -> None:
    text = "Text\n\n    a --b c \\\n      d && e >f\n\n```yaml\nx: 1\n```\n1. item\n\n       g | h  # why\n"
    found = [(language, [*split(lines, first)]) for first, language, lines in blocks(text)]
    assert found[0] == ("sh", [(3, ("a", "--b", "c", "d")), (3, ("e",))])
    assert found[1][0] == "yaml"
    assert found[2] == ("sh", [(11, ("g",)), (11, ("h",))])


@pytest.mark.parametrize("name", [*front.STEPS, *front.COMMANDS])
def test_every_step_and_command_is_shown_at_work(name: str) -> None:
    assert any(command.words[:2] == ("claire", name) for command in COMMANDS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_of_a_document_are_there(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_pictures_are_small() -> None:
    assert [path.name for path in (ROOT / "docs/pictures").glob("*.png") if path.stat().st_size > 150_000] == []
