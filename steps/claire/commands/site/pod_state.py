"""The objects of a namespace: the site's Deployment, its pods, claims and volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from claire.commands.site.file import Pods


@dataclass(frozen=True)
class State:
    """The objects of a namespace. `deployment`, `container`: those of the site; `ready`: names of its ready pods."""

    deployment: Mapping[str, Any] | None
    container: Mapping[str, Any] | None
    ready: tuple[str, ...]
    waiting: tuple[str, ...]
    strangers: tuple[str, ...]
    claims: Mapping[str, str]

    @classmethod
    def read(cls, pods: Pods, items: Sequence[Mapping[str, Any]]) -> State:
        """Read the objects that kubectl gave."""
        named = {(each["kind"], each["metadata"]["name"]): each for each in items}
        deployment = named.get(("Deployment", pods.name))
        containers = deployment["spec"]["template"]["spec"]["containers"] if deployment else []
        labels = deployment["spec"]["selector"].get("matchLabels", {}) if deployment else {}
        own: list[Mapping[str, Any]] = []
        strangers: list[Mapping[str, Any]] = []
        for each in items:
            if each["kind"] == "Pod" and pods.name in [part["name"] for part in each["spec"]["containers"]]:
                mine = labels and labels.items() <= each["metadata"].get("labels", {}).items()
                (own if mine else strangers).append(each)
        return cls(
            deployment,
            next((each for each in containers if each["name"] == pods.name), None),
            tuple(each["metadata"]["name"] for each in own if is_ready(each)),
            tuple(sorted({reason_of(each) for each in own if not is_ready(each)})),
            tuple(each["metadata"]["name"] for each in strangers),
            {
                name: each["status"].get("phase", "")
                for (kind, name), each in named.items()
                if kind == "PersistentVolumeClaim"
            },
        )

    @property
    def volumes(self) -> dict[str, Mapping[str, Any]]:
        """The volumes of the pods by name."""
        spec = self.deployment["spec"]["template"]["spec"] if self.deployment else {}
        return {each["name"]: each for each in spec.get("volumes", [])}

    def mount(self, path: str) -> Mapping[str, Any] | None:
        """Return the mount that a path lies in, None for the image's own file system."""
        mounts = self.container.get("volumeMounts", []) if self.container else []
        inside = [each for each in mounts if PurePosixPath(path).is_relative_to(each["mountPath"])]
        return max(inside, key=lambda each: len(each["mountPath"]), default=None)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is ready and not on its way out."""
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def reason_of(pod: Mapping[str, Any]) -> str:
    """Return why a pod is not ready."""
    for each in pod["status"].get("containerStatuses", []):
        waiting = each.get("state", {}).get("waiting", {})
        if waiting:
            return f"{waiting.get('reason')}: {waiting.get('message', '')}".rstrip(": ")
    for each in pod["status"].get("conditions", []):
        if each["status"] == "False" and each.get("message"):
            return str(each["message"])
    return str(pod["status"].get("phase", "unknown"))
