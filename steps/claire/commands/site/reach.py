"""Commands at a site: on its login node by OpenSSH, in its namespace by kubectl."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.commands.site.file import Login, Pods
from claire.core.command.errors import ClaireError, UsageError

#: Seconds until a connection counts as failed.
CONNECT = 15


class Unreachable(ClaireError):
    """A command at the site could not be run, or failed; its problem has the last words of what failed.

    `words`: all that it printed as errors.
    """

    def __init__(self, problem: str, words: str = "") -> None:
        super().__init__(problem)
        self.words = words or problem


@dataclass(frozen=True)
class Answer:
    """What a question printed, and whether its exit code was 0."""

    done: bool
    text: str


def at_login(login: Login | None, script: str, timeout: float = 60.0) -> str:
    """Run a shell script on a login node, or on this machine without one; return what it printed.

    Raises Unreachable if the node is not reached, the script fails or takes more than `timeout` seconds.
    """
    command = ["bash", "-s"] if login is None else [*ssh(login), "bash", "-s"]
    return _run(command, script, timeout, f"login node {login.host}" if login else "this machine")


def kubectl(pods: Pods, arguments: Sequence[str], given: str | None = None, timeout: float = 60.0) -> str:
    """Run kubectl in the namespace of the pods, with `given` as its input; return what it printed.

    Raises Unreachable as `at_login`.
    """
    return _run([*kubectl_command(pods), *arguments], given, timeout, f"namespace {pods.namespace}")


def ask(questions: Mapping[str, str], run: Callable[[str], str]) -> dict[str, Answer]:
    """Run the shell commands of `questions` as one script by `run`, each for itself; return the answers by name."""
    mark = "claire-site-answer"
    lines = [f"echo {mark}\n( {command}\n) 2>&1 </dev/null\necho {mark} $?" for command in questions.values()]
    parts = re.findall(rf"(?ms)^{mark}\n(.*?)^{mark} (\d+)$", run("\n".join(lines)))
    answers = [Answer(code == "0", text.strip()) for text, code in parts]
    if len(answers) != len(questions):
        raise Unreachable("the shell at the site ended before it had answered everything")
    return dict(zip(questions, answers, strict=True))


def meaning(causes: Sequence[tuple[str, str, str]], words: str, fields: Mapping[str, object]) -> tuple[str, str] | None:
    """Return what the words of a program mean and what to do, None if no pattern of `causes` is in them.

    `causes`: pattern, meaning and remedy, in which `fields` are filled in.
    """
    for pattern, problem, remedy in causes:
        if re.search(pattern, words):
            return problem.format(**fields), remedy.format(**fields)
    return None


def ssh(login: Login) -> list[str]:
    """Return the OpenSSH command that reaches a login node, with the host keys that StreamFlow reads."""
    _require("ssh", "OpenSSH's client")
    keys = Path.home() / ".ssh/known_hosts"
    options = ["BatchMode=yes", f"ConnectTimeout={CONNECT}", f"UserKnownHostsFile={keys}", "LogLevel=ERROR"]
    options += [f"StrictHostKeyChecking={'yes' if login.check_host_key else 'no'}", "ServerAliveInterval=15"]
    command = ["ssh", "-T", "-p", str(login.port)]
    for option in options:
        command += ["-o", option]
    if login.key:
        command += ["-i", login.key, "-o", "IdentitiesOnly=yes"]
    if login.jump:
        command += ["-o", "ProxyCommand=" + shlex.join([*ssh(login.jump)[:-1], "-W", "%h:%p", _address(login.jump)])]
    return [*command, _address(login)]


def kubectl_command(pods: Pods) -> list[str]:
    """Return the kubectl command for the namespace of the pods."""
    _require("kubectl", "the Kubernetes client")
    places = [f"--kubeconfig={pods.kubeconfig}"] if pods.kubeconfig else []
    places += [f"--context={pods.context}"] if pods.context else []
    return ["kubectl", *places, f"--namespace={pods.namespace}"]


def _address(login: Login) -> str:
    return f"{login.user}@{login.host}" if login.user else login.host


def _require(program: str, title: str) -> None:
    if shutil.which(program) is None:
        raise UsageError(f"{program} is not on the PATH", f"Install {title}.")


def _run(command: Sequence[str], given: str | None, timeout: float, place: str) -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout, errors="replace")  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{place}: no answer within {timeout:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise Unreachable(f"{place}: {last}", done.stderr)
    return done.stdout
