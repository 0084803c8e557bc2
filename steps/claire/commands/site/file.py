"""What a site's StreamFlow file says: the pods of the data site, the login node, the queue."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.core.command.errors import UsageError
from claire.core.command.yaml_files import read_yaml_mapping

REMEDY = "Give a StreamFlow file of a site, as streamflow.yml or one of deployments/sites (`claire site template`)."


@dataclass(frozen=True)
class Pods:
    """A deployment of pods. `name`: that of the Kubernetes Deployment and of its container."""

    deployment: str
    namespace: str
    name: str
    kubeconfig: str = ""
    context: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """Where the namespace is: its name, kubeconfig and context."""
        return self.namespace, self.kubeconfig, self.context


@dataclass(frozen=True)
class Login:
    """A login node. `key`: the private key's file, "" for OpenSSH's own choice; `jump`: the host on the way."""

    deployment: str
    host: str
    port: int
    user: str
    key: str
    check_host_key: bool = True
    jump: Login | None = None


@dataclass(frozen=True)
class Queue:
    """A SLURM deployment. `login` None: this machine submits. `exports`: by service, the variables that jobs get."""

    deployment: str
    workdir: str
    login: Login | None
    services: Mapping[str, Mapping[str, Any]]
    exports: Mapping[str, Mapping[str, str]]

    @property
    def folders(self) -> list[str]:
        """The folders that jobs see: CLAIRE_BIND of the services."""
        return sorted({values["CLAIRE_BIND"] for values in self.exports.values() if "CLAIRE_BIND" in values})

    @property
    def images(self) -> list[str]:
        """The SIF files of jobs: CLAIRE_IMAGE of the services."""
        return sorted({values["CLAIRE_IMAGE"] for values in self.exports.values() if "CLAIRE_IMAGE" in values})


@dataclass(frozen=True)
class Site:
    """A site. `document`: the file's content; `bindings`: of its workflow."""

    path: Path
    document: Mapping[str, Any]
    bindings: tuple[Mapping[str, Any], ...]
    pods: tuple[Pods, ...]
    logins: tuple[Login, ...]
    queues: tuple[Queue, ...]


def read_site(path: Path) -> Site:
    """Read a StreamFlow file. Raises UsageError if it describes no site with one workflow."""
    document = read_yaml_mapping(path, REMEDY)
    workflows, deployments = document.get("workflows"), document.get("deployments")
    if not isinstance(workflows, dict) or len(workflows) != 1:
        raise UsageError(f"{path.name} has not one workflow", REMEDY)
    if not isinstance(deployments, dict) or not all(isinstance(each, dict) for each in deployments.values()):
        raise UsageError(f"{path.name} has no mapping of deployments", REMEDY)
    (workflow,) = workflows.values()
    bindings = tuple(workflow.get("bindings") or ())
    by_type: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, described in deployments.items():
        by_type.setdefault(str(described.get("type")), {})[name] = described
    try:
        logins = {name: _login(name, each) for name, each in by_type.get("ssh", {}).items()}
        return Site(
            path,
            document,
            bindings,
            tuple(_pods(name, each, bindings) for name, each in by_type.get("kubernetes", {}).items()),
            tuple(logins.values()),
            tuple(_queue(name, each, logins) for name, each in by_type.get("slurm", {}).items()),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UsageError(f"{path.name} describes a deployment that cannot be understood: {error!r}", REMEDY) from error


def fit_bindings(bindings: Sequence[Mapping[str, Any]], steps: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the bindings of a site that a workflow with these steps has; `apply` runs where `explain` does.

    So a site is described once, for main.cwl, and predict.cwl runs there too.
    """
    fitting = [each for each in bindings if each["step"] == "/" or each["step"].split("/")[1] in steps]
    named = {each["step"] for each in fitting}
    if "apply" in steps and "/apply" not in named:
        fitting += [{**each, "step": "/apply"} for each in fitting if each["step"] == "/explain"]
    return fitting


def template_path(site: Site, service: Mapping[str, Any]) -> Path | None:
    """Return the job template of a SLURM service; None if it names none."""
    return site.path.resolve().parent / service["file"] if service.get("file") else None


def _pods(name: str, described: Mapping[str, Any], bindings: tuple[Mapping[str, Any], ...]) -> Pods:
    config = described["config"]
    targets = [each["target"] for each in bindings if each["target"]["deployment"] == name]
    service = next((target["service"] for target in targets if "service" in target), "")
    kubeconfig = config.get("kubeconfig", "")
    return Pods(
        name,
        config.get("namespace", "default"),
        service,
        str(Path(kubeconfig).expanduser()) if kubeconfig else "",
        config.get("kubeContext", ""),
    )


def _login(name: str, described: Mapping[str, Any]) -> Login:
    config = described["config"]
    node = config["nodes"][0]
    given = {"hostname": node} if isinstance(node, str) else node
    tunnel = {**config, **given}.get("tunnel")
    return _connection(name, {**config, **given}, _connection(name, tunnel, None) if tunnel else None)


def _connection(name: str, given: Mapping[str, Any], jump: Login | None) -> Login:
    host, _, port = given["hostname"].partition(":")
    key = given.get("sshKey", "")
    return Login(
        name,
        host,
        int(port or 22),
        given.get("username", ""),
        str(Path(key).expanduser()) if key else "",
        given.get("checkHostKey", True),
        jump,
    )


def _queue(name: str, described: Mapping[str, Any], logins: Mapping[str, Login]) -> Queue:
    wraps = described.get("wraps")
    deployment = wraps["deployment"] if isinstance(wraps, dict) else wraps
    services = described["config"].get("services") or {}
    exports = {
        service: dict(item.split("=", 1) for item in str(values.get("export", "")).split(",") if "=" in item)
        for service, values in services.items()
    }
    return Queue(name, str(described["workdir"]), logins[deployment] if deployment else None, services, exports)
